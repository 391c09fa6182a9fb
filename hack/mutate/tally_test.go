package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	t.Parallel()
	found := []mutant{
		{path: "pkg/x/a.go", line: 1, column: 2, kind: kindBoundary, status: statusLived, code: "if a | b < 1 {"},
		{path: "pkg/x/a.go", line: 4, column: 2, kind: kindArithmetic, status: statusNotCovered},
		{path: "pkg/x/a.go", line: 1, column: 2, kind: kindNegation, status: statusLived, code: "if a | b < 1 {"},
		{path: "pkg/x/a.go", line: 2, column: 2, kind: kindNegation, status: statusKilled},
		{path: "pkg/x/a.go", line: 3, column: 2, kind: kindArithmetic, status: statusTimedOut},
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
}

// TestTheListOfEquivalentsFits: each is a line of the code as it is.
func TestTheListOfEquivalentsFits(t *testing.T) {
	t.Parallel()
	same, err := parseEquivalent(equivalentList)
	if err != nil {
		t.Fatal(err)
	}
	for key := range same {
		path, rest, _ := strings.Cut(key, " | ")
		_, code, _ := strings.Cut(rest, " | ")
		text, err := os.ReadFile(filepath.Join("..", "..", path))
		if err != nil {
			t.Error(err)
			continue
		}
		if !slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool { return strings.TrimSpace(line) == code }) {
			t.Errorf("%s has no such line any more, so take it out of equivalent.txt, or make it fit: %s", path, code)
		}
	}
}
