package monitor

import "time"

// passesKept is how many passes are looked back on.
const passesKept = 16

// boundary is the beginning of a pass, when the hypervisor has just looked which
// pages are to be sent again. Only there is what remains comparable: in between
// it falls, whatever the guest does.
type boundary struct {
	iteration int64
	at        time.Duration
	remaining int64
	processed int64
}

// pass is one pass over the memory, or a few very short ones in a row.
type pass struct {
	took time.Duration
	// before and after are what remained at its beginning and at its end.
	before, after int64
	sent          int64
	// first says that it went through all of the memory, and merged that it was
	// several.
	first, merged bool
}

// bandwidth is how fast it went, in bytes per second.
func (p pass) bandwidth() float64 { return float64(p.sent) / p.took.Seconds() }

// dirtied is how much the guest wrote to meanwhile that was clean. It is exact,
// however late the looks at the beginning and at the end were.
func (p pass) dirtied() int64 { return max(0, p.after-p.before+p.sent) }

// ratio is how much had to be sent again, of what was sent.
func (p pass) ratio() float64 { return float64(p.dirtied()) / float64(max(p.sent, 1)) }

// passes are the passes watched so far.
type passes struct {
	// iteration is the latest seen.
	iteration int64
	// mark is the latest beginning of a pass; marked is whether there is one.
	mark   boundary
	marked bool
	// start is where what is counted as one pass began; watching is whether there
	// is one.
	start    boundary
	watching bool
	all      [passesKept]pass
	// kept is how many of them count, the latest last at index kept-1.
	kept     int
	ended    int64
	throttle int64
	// throttleAt is the pass at which the throttle changed last.
	throttleAt int64
}

const (
	// minPass is how long a pass must have taken to count by itself: shorter ones
	// are counted together, as QEMU sends in bursts.
	minPass = time.Second
	// bandwidthChange is by which share the bandwidth has to change for what was
	// seen before to say nothing about what will come.
	bandwidthChange = 0.25
)

// observe takes a sample in. It reports whether a pass has begun with it.
func (p passes) observe(s Sample) (passes, bool) {
	if !s.copiesMemory() {
		return p, false
	}
	if s.ThrottlePercent != p.throttle {
		// A guest that is slowed down is another guest.
		p.throttle, p.throttleAt = s.ThrottlePercent, s.Iteration
		p.kept, p.watching = 0, false
	}
	if s.Iteration <= p.iteration {
		return p, false
	}
	before := p.iteration
	p.iteration = s.Iteration
	now := boundary{s.Iteration, s.Elapsed, s.Memory.RemainingBytes, s.Memory.ProcessedBytes}
	if before == 0 && s.Iteration > 1 {
		// Taken over in the middle of a pass, whose beginning nobody saw.
		return p, false
	}
	p.mark, p.marked = now, true
	switch {
	case p.watching && now.processed >= p.start.processed && now.at > p.start.at:
		p = p.end(now)
	default:
		p.start, p.watching = now, true
	}
	return p, true
}

// end ends the pass under way and begins the next.
func (p passes) end(now boundary) passes {
	done := pass{
		took: now.at - p.start.at, before: p.start.remaining, after: now.remaining,
		sent: now.processed - p.start.processed, first: p.start.iteration == 1, merged: now.iteration > p.start.iteration+1,
	}
	if done.took < minPass && !done.first {
		return p // It goes on as part of the next.
	}
	if p.kept > 0 && !p.all[p.kept-1].first {
		if was := p.all[p.kept-1].bandwidth(); was > 0 {
			if change := done.bandwidth()/was - 1; change > bandwidthChange || change < -bandwidthChange {
				p.kept = 0
			}
		}
	}
	if p.kept == passesKept {
		copy(p.all[:], p.all[1:])
		p.kept--
	}
	p.all[p.kept] = done
	p.kept++
	p.ended++
	p.start, p.watching = now, true
	return p
}

// later returns all passes kept after the first one.
func (p passes) later() []pass {
	for i := range p.kept {
		if !p.all[i].first {
			return append([]pass(nil), p.all[i:p.kept]...)
		}
	}
	return nil
}

// latest returns the last n passes after the first one, or nil if there are not
// as many.
func (p passes) latest(n int) []pass {
	later := p.later()
	if len(later) < n {
		return nil
	}
	return later[len(later)-n:]
}

// rates are how much was sent, and how much was written to meanwhile, per second
// of the latest passes.
func (p passes) rates() (sent, dirtied float64) {
	var took float64
	for _, one := range p.all[max(0, p.kept-fitPasses):p.kept] {
		sent += float64(one.sent)
		dirtied += float64(one.dirtied())
		took += one.took.Seconds()
	}
	if took == 0 {
		return 0, 0
	}
	return sent / took, dirtied / took
}

// dirtyRate is how fast the guest wrote to clean memory in the last pass, in
// bytes per second.
func (p passes) dirtyRate() int64 {
	if p.kept == 0 {
		return 0
	}
	last := p.all[p.kept-1]
	return int64(float64(last.dirtied()) / last.took.Seconds())
}
