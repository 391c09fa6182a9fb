package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNotYet: what is known to be missed is one of them.
func TestNotYet(t *testing.T) {
	t.Parallel()
	for name := range notYet() {
		if !slices.ContainsFunc(sabotages(), func(s sabotage) bool { return s.name == name }) {
			t.Errorf("there is no sabotage %q", name)
		}
	}
}

// TestFits: each sabotage fits to the product as it is.
func TestFits(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, s := range sabotages() {
		if names[s.name] || s.breaks == "" {
			t.Errorf("%q needs a name of its own, and says what it breaks", s.name)
		}
		names[s.name] = true
		if _, err := s.texts(func(file string) ([]byte, error) { return os.ReadFile(filepath.Join("..", "..", file)) }); err != nil {
			t.Error(err)
		}
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	read := func(string) ([]byte, error) { return []byte("one two two"), nil }
	twice := sabotage{name: "x", changes: []change{{"a.go", "one", "1"}, {"a.go", "1 two", "1 2"}}}
	texts, err := twice.texts(read)
	if err != nil || texts["a.go"] != "1 2 two" {
		t.Errorf("%q, %v", texts, err)
	}
	for _, old := range []string{"three", "two"} {
		_, err := sabotage{name: "x", changes: []change{{"a.go", old, ""}}}.texts(read)
		if err == nil || !strings.Contains(err.Error(), "no longer fits") {
			t.Errorf("%s: %v", old, err)
		}
	}
}

func TestNoticed(t *testing.T) {
	t.Parallel()
	by, err := noticed([]byte("x\n    simulation_test.go:201: seed 7:    1.000  BROKEN: a: b\n"))
	if err != nil || by != "seed 7:    1.000  BROKEN: a: b" {
		t.Errorf("%q, %v", by, err)
	}
	if _, err := noticed([]byte("panic: x\n")); err == nil {
		t.Error("a simulation that breaks down has noticed something")
	}
}
