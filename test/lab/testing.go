//go:build linux

package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// failureLogLines is how much of each log a failed test shows.
const failureLogLines = 40

// TB is what the lab needs of a testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Failed() bool
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
}

// ForTest starts a lab for a test and stops it at the test's end. A test that
// fails shows the ends of all logs. It fails, rather than skips, the test on a
// machine that cannot run the lab.
func ForTest(t TB, options Options) *Lab {
	t.Helper()
	if options.Log == nil {
		options.Log = t.Logf
	}
	l, err := Start(t.Context(), options)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() {
		if t.Failed() {
			l.DumpLogs(failureLogLines, t.Logf)
		}
		if err := l.Stop(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return l
}

// DumpLogs prints the last lines of every log: of all processes, of QEMU, and of
// the guests' consoles.
func (l *Lab) DumpLogs(lines int, show func(format string, args ...any)) {
	hosts := l.Hosts()
	patterns := append(make([]string, 0, 1+2*len(hosts)), filepath.Join(l.logDir, "*.log"))
	for _, h := range hosts {
		patterns = append(patterns,
			filepath.Join(h.Path("/var/log/libvirt/qemu"), "*.log"), filepath.Join(h.Path(consoleDir), "*.log"))
	}
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			show("listing logs: %v", err)
			continue
		}
		for _, file := range files {
			if info, err := os.Stat(file); err == nil && info.Size() > 0 {
				show("--- %s\n%s", strings.TrimPrefix(file, l.dir+"/"), tailFile(file, lines))
			}
		}
	}
}
