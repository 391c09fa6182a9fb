//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestExceptionsAreHeldInBothDirections(t *testing.T) {
	t.Parallel()
	excused := exceptions{"a": "why", "b": "why"}
	if wrong := excused.hold("nobody sees", []string{"b", "a"}); len(wrong) != 0 {
		t.Errorf("what may lack is wrong: %v", wrong)
	}
	wrong := excused.hold("nobody sees", []string{"a", "c"})
	if len(wrong) != 2 || wrong[0] != "nobody sees: c" || !strings.HasSuffix(wrong[1], "must not say any more that nobody sees: b") {
		t.Errorf("this is wrong: %q", wrong)
	}
}

func TestCountersAreCountedAcrossRestarts(t *testing.T) {
	t.Parallel()
	s := series{points: []point{{1, 2}, {2, 2}, {3, 5}, {4, 0}, {5, 1}, {6, 1}}}
	if got := s.counted(); got != 6 {
		t.Errorf("it has counted %v, not 6", got)
	}
}

func TestQueriesWithoutDataAreFound(t *testing.T) {
	t.Parallel()
	two := func(first, second int) []answer {
		return []answer{{name: "first", expr: "f", series: first, largest: 1}, {name: "second", expr: "s", series: second, largest: 1}}
	}
	r := report{acts: []act{{stage: scripted, answers: two(1, 0)}, {stage: "another", answers: two(0, 0)}}}
	if count, without, _ := r.queries(); count != 2 || len(without) != 1 || without[0] != "second: s" {
		t.Errorf("%d queries, without data: %v", count, without)
	}
}

func TestDifferencesFromTheTruthAreTold(t *testing.T) {
	t.Parallel()
	want := map[string]float64{"same": 1, "sum": 0.3, "more": 1, "missing": 1}
	got := map[string]float64{"same": 1, "sum": 0.1 + 0.2, "more": 2, "extra": 1, "zero": 0}
	if wrong := differences(want, got); len(wrong) != 3 {
		t.Errorf("this is wrong: %q", wrong)
	}
}
