package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestSample makes all mutants of a package, and tries them.
func TestSample(t *testing.T) {
	t.Chdir("../..")
	dir := t.TempDir()
	u, err := build("hack/mutate/testdata/sample", func(string) bool { return true }, "", dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.try(dir, func(mutant) {}); err != nil {
		t.Fatal(err)
	}
	tests, err := u.tests(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range tests {
		for id := range one.reaches {
			if code := u.mutants[id-1].code; strings.HasPrefix(code, "func deadline") != (one.name == "TestDeadline") {
				t.Errorf("%s reaches %s", one.name, code)
			}
		}
	}
	got := map[string]int{}
	for _, m := range u.mutants {
		got[fmt.Sprintf("%s %s: %s", m.status, m.kind, m.code)]++
	}
	want := map[string]int{
		"LIVED CONDITIONALS_BOUNDARY: if a < b {":                                                                      1,
		"KILLED CONDITIONALS_NEGATION: if a < b {":                                                                     1,
		"LIVED INVERT_LOGICAL: func both(a, b bool) bool { return a && b }":                                            1,
		"KILLED INVERT_LOGICAL: return a ||":                                                                           1,
		"LIVED CONDITIONALS_BOUNDARY: for i := 0; i < len(numbers); i++ {":                                             1,
		"KILLED CONDITIONALS_NEGATION: for i := 0; i < len(numbers); i++ {":                                            1,
		"KILLED INCREMENT_DECREMENT: for i := 0; i < len(numbers); i++ {":                                              1,
		"KILLED CONDITIONALS_NEGATION: if numbers[i] == stop {":                                                        1,
		"KILLED INVERT_LOOPCTRL: break":                                                                                1,
		"KILLED INVERT_ASSIGNMENTS: sum += -numbers[i]":                                                                1,
		"KILLED INVERT_NEGATIVES: sum += -numbers[i]":                                                                  1,
		"KILLED INCREMENT_DECREMENT: n++":                                                                              1,
		"KILLED INVERT_NEGATIVES: return -sum, n":                                                                      1,
		"KILLED ARITHMETIC_BASE: func deadline(d time.Duration) time.Duration { return d + 2*time.Minute - patience }": 3,
		"NOT COVERED CONDITIONALS_BOUNDARY: func unused(a int) bool { return a >= 3 }":                                 1,
		"NOT COVERED CONDITIONALS_NEGATION: func unused(a int) bool { return a >= 3 }":                                 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("the mutants are\n%s", strings.Join(slices.Sorted(maps.Keys(got)), "\n"))
	}
}

// TestOnlyNamedFiles: a file that is not named has no mutants.
func TestOnlyNamedFiles(t *testing.T) {
	t.Chdir("../..")
	u, err := build("hack/mutate/testdata/sample", func(string) bool { return false }, "", t.TempDir())
	if err != nil || len(u.mutants) != 0 {
		t.Errorf("got %d mutants and %v", len(u.mutants), err)
	}
}
