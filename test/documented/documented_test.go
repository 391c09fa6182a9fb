package documented

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestCommands(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.md")
	text := "# Page\n\n$ no block\n\n## First\n\n```console\n$ one --flag \\\n    --other\nwhat it prints\n# two\n```\n\n" +
		"```yaml\n# no command\n```\n\n## Second\n\n```console\n$ three <<END\n# of the document\nEND\n$ four\n```\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []Command{
		{Heading: "First", Text: "one --flag \\\n    --other\n"},
		{Heading: "First", Text: "two\n", AsRoot: true},
		{Heading: "Second", Text: "three <<END\n# of the document\nEND\n"},
		{Heading: "Second", Text: "four\n"},
	}
	got, err := Commands(page)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the commands are\n%+v, %v, not\n%+v", got, err, want)
	}
	if script := Script(got[1:3]); script != "two\nthree <<END\n# of the document\nEND\n" {
		t.Errorf("the script is %q", script)
	}
	if _, err := Commands(page + "x"); err == nil {
		t.Error("a page that is not there has commands")
	}
}
