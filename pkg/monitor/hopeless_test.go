package monitor

import (
	"testing"
	"time"
)

// chain is a row of passes that take a second each: what is left after one is what the next
// begins with.
func chain(remaining ...int64) []pass {
	var out []pass
	for i := 1; i < len(remaining); i++ {
		out = append(out, pass{before: remaining[i-1], after: remaining[i], took: time.Second})
	}
	return out
}

// TestPassesThatStandStill: only passes that have come no closer, for as long as it takes,
// are a reason to give up.
func TestPassesThatStandStill(t *testing.T) {
	t.Parallel()
	const span = 3 * time.Second
	for _, c := range []struct {
		name   string
		passes []pass
		want   bool
	}{
		{"there are none", nil, false},
		{"always the same", chain(100, 100, 100, 100), true},
		{"longer and longer", chain(100, 120, 150, 200), true},
		{"not for long enough", chain(100, 100, 100), false},
		{"hardly closer", chain(100, 99, 98, 97), true},
		{"closer", chain(100, 99, 98, 96), false},
		{"a rest in between", chain(100, 89, 100, 100), false},
		{"hardly a rest in between", chain(100, 90, 100, 100), true},
		{"closer at last", chain(200, 200, 200, 190), false},
	} {
		if got := stillOver(c.passes, span); got != c.want {
			t.Errorf("%s: passes stand still: %t", c.name, got)
		}
	}
}

// TestASawTooth is judged by its lows.
func TestASawTooth(t *testing.T) {
	t.Parallel()
	const span = 4 * time.Second
	for _, c := range []struct {
		name   string
		passes []pass
		want   bool
	}{
		{"there are none", nil, false},
		{"the lows are the same", chain(100, 50, 100, 50, 100), true},
		{"the lows become higher", chain(100, 50, 100, 60, 100), true},
		{"the lows are hardly lower", chain(200, 100, 200, 97, 200), true},
		{"the lows become lower", chain(200, 100, 200, 96, 200), false},
		{"the low is at the end of each half", chain(100, 100, 50, 100, 48), false},
		{"the low is at the beginning of the first half only", chain(100, 50, 100, 100, 100), true},
		{"not for long enough", chain(100, 50, 100, 50)[:2], false},
	} {
		if got := sawOver(c.passes, span); got != c.want {
			t.Errorf("%s: a saw-tooth comes no closer: %t", c.name, got)
		}
	}
}

// TestPassesThatAreSlow leave more than seven tenths of what there was.
func TestPassesThatAreSlow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after int64
		want          bool
	}{{1000, 700, true}, {1000, 699, false}, {1000, 1000, true}, {1000, 0, false}} {
		p := passes{kept: 1}
		p.all[0] = pass{before: c.before, after: c.after}
		if got := p.slow(); got != c.want {
			t.Errorf("from %d to %d is slow: %t", c.before, c.after, got)
		}
	}
	if (passes{}).slow() {
		t.Error("no pass is slow")
	}
}
