//go:build linux

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestRemoveStaleRemovesDeadLabsOnly(t *testing.T) {
	base := t.TempDir()
	mine, err := newStateDir(base)
	if err != nil {
		t.Fatal(err)
	}
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	mkdir := func(name string) string {
		dir := filepath.Join(base, name, "deep")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return filepath.Dir(dir)
	}
	pid, start, ok := parseStateDir(filepath.Base(mine))
	if !ok || pid != os.Getpid() || start == 0 {
		t.Fatalf("the owner of %s is read as %d, %d, %t", mine, pid, start, ok)
	}
	dead := mkdir(strings.Replace(filepath.Base(mine), "lab-"+itoa(pid)+"-", "lab-"+itoa(ended.Process.Pid)+"-", 1))
	reused := mkdir(strings.Replace(filepath.Base(mine), "-"+utoa(start)+"-", "-"+utoa(start-1)+"-", 1))
	kept := []string{mine, mkdir("virtferry-lab-words"), mkdir("virtferry-lab-1-x-2"), mkdir("virtferry-lab.1-2-3"), mkdir("other")}

	if err := removeStale(base, t.Logf); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dead, reused} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	for _, dir := range kept {
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%s was removed: %v", dir, err)
		}
	}
}

func TestParseStartTime(t *testing.T) {
	tail := " 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2"
	for _, c := range []struct {
		name, stat string
		want       uint64
		wantErr    bool
	}{
		{"a plain name", "12 (cat) S" + tail, 4711, false},
		{"a name with spaces and parentheses", "12 (a) S (b) R" + tail, 4711, false},
		{"a zombie", "12 (cat) Z" + tail, 0, true},
		{"no name", "12 cat S" + tail, 0, true},
		{"too short", "12 (cat) S 1 1", 0, true},
		{"no number", "12 (cat) S" + strings.Replace(tail, "4711", "x", 1), 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseStartTime([]byte(c.stat))
			if got != c.want || (err != nil) != c.wantErr {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}
