package migration

import (
	"os"
	"strings"
	"testing"
)

// TestOutcomeTableIsDocumented: the page about the architecture has the same rows.
func TestOutcomeTableIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(sides []Side) string {
		var out []string
		for _, s := range sides {
			out = append(out, string(s))
		}
		return strings.Join(out, ", ")
	}
	for _, row := range outcomeTable {
		begin, end := "| "+names(row.source)+" | "+names(row.target)+" | ", " | "+row.meaning+" |"
		found := false
		for line := range strings.Lines(string(page)) {
			line = strings.TrimSpace(line)
			found = found || strings.HasPrefix(line, begin) && strings.HasSuffix(line, end)
		}
		if !found {
			t.Errorf("the page has no row %q … %q", begin, end)
		}
	}
}
