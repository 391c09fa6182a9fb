package simulation

import (
	"slices"
	"testing"
	"time"
)

// shrink returns the shortest plan that breaks the same promise: all acts are left out
// without which it is broken as well, first many at a time, then one by one, and what is
// left is made as short as can be.
func shrink(p plan, breaks func(plan) bool) plan {
	for size := max(1, len(p.Acts)/2); ; size = max(1, size/2) {
		shorter := false
		for from := 0; from < len(p.Acts); {
			without := p
			without.Acts = slices.Delete(slices.Clone(p.Acts), from, min(from+size, len(p.Acts)))
			if breaks(without) {
				p, shorter = without, true
				continue
			}
			from += size
		}
		if size == 1 && !shorter {
			return shorten(p, breaks)
		}
	}
}

// shorten makes faults end sooner, where the promise is broken all the same.
func shorten(p plan, breaks func(plan) bool) plan {
	for i := range p.Acts {
		for _, length := range []time.Duration{10 * time.Millisecond, time.Second, 10 * time.Second} {
			if p.Acts[i].Length <= length {
				break
			}
			sooner := p
			sooner.Acts = slices.Clone(p.Acts)
			sooner.Acts[i].Length = length
			if breaks(sooner) {
				p = sooner
				break
			}
		}
	}
	return p
}

func TestShrink(t *testing.T) {
	t.Parallel()
	p := plan{}
	for i := range 40 {
		p.Acts = append(p.Acts, act{Verb: "noise", Move: i, Length: time.Minute})
	}
	p.Acts[7] = act{Verb: "first", Length: time.Minute}
	p.Acts[31] = act{Verb: "second", Length: time.Minute}
	// It takes both, in their order, and the second for longer than a second.
	breaks := func(p plan) bool {
		first := slices.IndexFunc(p.Acts, func(a act) bool { return a.Verb == "first" })
		second := slices.IndexFunc(p.Acts, func(a act) bool { return a.Verb == "second" && a.Length > time.Second })
		return first >= 0 && first < second
	}
	want := []act{{Verb: "first", Length: 10 * time.Millisecond}, {Verb: "second", Length: 10 * time.Second}}
	if least := shrink(p, breaks); !slices.Equal(least.Acts, want) {
		t.Errorf("of 40 acts are left %v, want %v", least.Acts, want)
	}
	if p.Acts[7].Length != time.Minute || len(p.Acts) != 40 {
		t.Error("the plan itself has changed")
	}
}
