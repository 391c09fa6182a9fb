package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// mutant is the code with one thing about it changed.
type mutant struct {
	// id is its number in its package.
	id           int
	path         string
	line, column int
	// kind is what was changed, and status what became of it.
	kind, status string
	// code is the line that was changed.
	code string
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d:%d %s: %s", m.path, m.line, m.column, m.kind, m.code)
}

// key is what a mutant is known by, wherever its line is by now.
func (m mutant) key() string { return m.path + " | " + m.kind + " | " + m.code }

// parseEquivalent reads the list of mutants that are none: path, kind, code and why, with
// bars between them.
func parseEquivalent(text string) (map[string]bool, error) {
	out := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// The code may have bars of its own.
		end := strings.LastIndex(line, " | ")
		if strings.Count(line, " | ") < 3 || strings.TrimSpace(line[end+3:]) == "" {
			return nil, fmt.Errorf("equivalent.txt: %q is not `path | kind | code | why`", line)
		}
		out[line[:end]] = true
	}
	return out, nil
}

// tally counts mutants.
type tally struct {
	mutants, killed, timedOut, notCovered, equivalent int
	// unfit are places that were left alone, as their mutants do not compile.
	unfit     int
	survivors []mutant
}

// count counts the mutants of a package. A test that hangs has noticed as well as one that
// fails; code that no test runs has none.
func count(found []mutant, same map[string]bool) tally {
	var t tally
	for _, m := range found {
		if same[m.key()] && m.status != statusKilled {
			t.equivalent++
			continue
		}
		switch m.status {
		case statusKilled:
			t.killed++
		case statusTimedOut:
			t.timedOut++
		case statusNotCovered:
			t.notCovered++
			t.survivors = append(t.survivors, m)
		default:
			t.survivors = append(t.survivors, m)
		}
		t.mutants++
	}
	slices.SortFunc(t.survivors, func(a, b mutant) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	return t
}

func (t *tally) add(other tally) {
	t.mutants += other.mutants
	t.killed += other.killed
	t.timedOut += other.timedOut
	t.notCovered += other.notCovered
	t.equivalent += other.equivalent
	t.unfit += other.unfit
}

// percent is how many of 100 mutants were killed.
func (t tally) percent() int {
	if t.mutants == 0 {
		return 0
	}
	return 100 * (t.killed + t.timedOut) / t.mutants
}

func (t tally) String() string {
	return fmt.Sprintf("%d mutants, %d%% killed, %d not covered by any test, %d equivalent", t.mutants, t.percent(), t.notCovered, t.equivalent)
}
