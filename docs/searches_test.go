package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/test/documented"
)

// searched is a text that a command looks for in what was written.
var searched = regexp.MustCompile(`(?:grep|-e) '([^']+)'`)

// TestWhatRunbooksLookForIsWritten: somebody who is woken by an alert types these, and finds
// nothing if no message has the text any more.
func TestWhatRunbooksLookForIsWritten(t *testing.T) {
	t.Parallel()
	var code strings.Builder
	for _, dir := range []string{"cmd", "controllers", "internal", "pkg"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for line := range strings.Lines(string(text)) {
				if !strings.HasPrefix(strings.TrimSpace(line), "//") {
					code.WriteString(line)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	runbooks, err := filepath.Glob("runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, page := range runbooks {
		commands, err := documented.Commands(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commands {
			for _, m := range searched.FindAllStringSubmatch(c.Text, -1) {
				looked++
				if !strings.Contains(code.String(), m[1]) {
					t.Errorf("%s looks for %q, which nothing writes", page, m[1])
				}
			}
		}
	}
	if looked == 0 {
		t.Error("no runbook looks for anything")
	}
}
