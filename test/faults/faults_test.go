//go:build linux

package main

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/virtferry/virtferry/test/lab"
)

// leastCases is how many distinct cases the table has to have.
const leastCases = 60

func TestTheTableIsLargeAndWithoutRepetition(t *testing.T) {
	names := map[string]bool{}
	for _, s := range table() {
		if names[s.name()] {
			t.Errorf("%q is there twice", s.name())
		}
		names[s.name()] = true
		if len(s.allowed) == 0 {
			t.Errorf("%q may come to nothing", s.name())
		}
	}
	if len(names) < leastCases {
		t.Errorf("there are %d cases", len(names))
	}
}

func TestNoEndingContradictsItself(t *testing.T) {
	places := map[verdict][]place{
		succeeded: {onTarget, pausedTarget, nowhere},
		failed:    {onSource, pausedSource},
		ended:     {nowhere},
		cancelled: {onSource, pausedSource},
		unknown:   {nowhere, pausedSource, pausedTarget, onTarget, heldSource, twice},
	}
	for e, name := range endingNames {
		if !slices.Contains(places[e.verdict], e.place) {
			t.Errorf("%s is %s, but the guest %s", name, e.verdict, e.place)
		}
	}
}

// shape shows of cases what can be compared.
func shape(cases []scenario) []string {
	out := make([]string, 0, len(cases))
	for _, s := range cases {
		out = append(out, fmt.Sprint(s.name(), s.phase.brisk, s.allowed))
	}
	return out
}

func TestASeedRepeatsRandomCases(t *testing.T) {
	const seed, n = 7, 50
	first, second := shape(randomCases(seed, n)), shape(randomCases(seed, n))
	if !reflect.DeepEqual(first, second) {
		t.Error("the same seed gives other cases")
	}
	if reflect.DeepEqual(first, shape(randomCases(seed+1, n))) {
		t.Error("another seed gives the same cases")
	}
	if more := shape(randomCases(seed, 2*n)); !reflect.DeepEqual(first, more[:n]) {
		t.Error("more cases begin otherwise")
	}
}

func TestRandomFaultsMayComeToSomething(t *testing.T) {
	for _, s := range randomCases(1, 500) {
		if len(s.allowed) == 0 {
			t.Errorf("%q may come to nothing", s.name())
		}
	}
}

func TestPlace(t *testing.T) {
	state := func(s string) lab.DomainState { return lab.DomainState{State: s} }
	for _, c := range []struct {
		source, target string
		want           place
	}{
		{lab.StateRunning, lab.StateAbsent, onSource},
		{lab.StateRunning, lab.StateShutOff, onSource},
		{lab.StatePaused, lab.StateAbsent, pausedSource},
		{lab.StateShutOff, lab.StateRunning, onTarget},
		{lab.StateAbsent, lab.StatePaused, pausedTarget},
		{lab.StateShutOff, lab.StateAbsent, nowhere},
		{lab.StateRunning, lab.StatePaused, heldTarget},
		{lab.StatePaused, lab.StateRunning, heldSource},
		{lab.StatePaused, lab.StatePaused, heldBoth},
		{lab.StateRunning, lab.StateRunning, twice},
	} {
		if got := (truth{source: state(c.source), target: state(c.target)}).place(); got != c.want {
			t.Errorf("%s on the source and %s on the target: the guest is %s, want %s", c.source, c.target, got, c.want)
		}
	}
	unreachable := truth{source: lab.DomainState{State: lab.StateUnknown, Err: lab.ErrNotRunning}, target: state(lab.StateRunning)}
	if got := unreachable.place(); got != unseen {
		t.Errorf("with a source that cannot be asked the guest is %s", got)
	}
}

func TestPercentile(t *testing.T) {
	times := make([]time.Duration, 0, 200)
	for i := range 200 {
		times = append(times, time.Duration(200-i)*time.Second)
	}
	for _, c := range []struct {
		times []time.Duration
		want  time.Duration
	}{
		{nil, 0},
		{times[:1], 200 * time.Second},
		{times[:100], 199 * time.Second},
		{times, 198 * time.Second},
	} {
		if got := percentile(c.times, 99); got != c.want {
			t.Errorf("of %d times: %v, want %v", len(c.times), got, c.want)
		}
	}
}
