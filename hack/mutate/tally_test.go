package main

import (
	"go/token"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	t.Parallel()
	line := func(_ string, number int) (string, bool, error) { return "if a | b < 1 {", number < 6, nil }
	found, err := parseReport([]byte(`{"files": [{"file_name": "a.go", "mutations": [
		{"line": 1, "column": 2, "type": "CONDITIONALS_BOUNDARY", "status": "LIVED"},
		{"line": 1, "column": 2, "type": "CONDITIONALS_NEGATION", "status": "LIVED"},
		{"line": 2, "column": 2, "type": "CONDITIONALS_NEGATION", "status": "KILLED"},
		{"line": 3, "column": 2, "type": "ARITHMETIC_BASE", "status": "TIMED OUT"},
		{"line": 4, "column": 2, "type": "ARITHMETIC_BASE", "status": "NOT COVERED"},
		{"line": 5, "column": 2, "type": "ARITHMETIC_BASE", "status": "NOT VIABLE"},
		{"line": 6, "column": 2, "type": "ARITHMETIC_BASE", "status": "NOT COVERED"}]}]}`), "pkg/x", line)
	if err != nil {
		t.Fatal(err)
	}
	same, err := parseEquivalent("# A comment.\n\npkg/x/a.go | CONDITIONALS_BOUNDARY | if a | b < 1 { | it is never one\n")
	if err != nil {
		t.Fatal(err)
	}
	got := count(found, same)
	if got.mutants != 4 || got.equivalent != 1 || got.percent() != 50 || got.notCovered != 1 || len(got.survivors) != 2 {
		t.Errorf("got %+v", got)
	}
	if want := "pkg/x/a.go:1:2 CONDITIONALS_NEGATION: if a | b < 1 {"; got.survivors[0].String() != want {
		t.Errorf("the first survivor is %q, not %q", got.survivors[0], want)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	if _, err := parseEquivalent("pkg/x/a.go | CONDITIONALS_BOUNDARY | if a {"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("an entry without a reason gives %v", err)
	}
	if _, err := parseReport([]byte(`{}`), "pkg/x", nil); err == nil {
		t.Error("a report without mutants is taken for a good one")
	}
}

// TestWiden: what a test runs of a function counts for its conditions as well.
func TestWiden(t *testing.T) {
	t.Parallel()
	ran, err := parseProfile("mode: set\n" + modulePath + "hack/mutate/cover.go:20.30,22.3 2 1\n" + modulePath + "hack/mutate/cover.go:90.1,91.3 2 0\n")
	if err != nil || len(ran) != 1 {
		t.Fatalf("got %v and %v", ran, err)
	}
	f := span{from: token.Position{Line: 18}, to: token.Position{Line: 30}}
	other := span{from: token.Position{Line: 80}, to: token.Position{Line: 95}}
	if lines := ran[modulePath+"hack/mutate/cover.go"]; !f.holdsAny(lines) || other.holdsAny(lines) {
		t.Errorf("the lines are %v", lines)
	}
	if _, err := parseProfile("mode: set\nx.go:nonsense\n"); err == nil {
		t.Error("a profile that is none is read")
	}
}
