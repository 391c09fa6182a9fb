package simulation

import (
	"slices"
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
