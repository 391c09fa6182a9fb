package monitor

import (
	"fmt"
	"math"
)

const (
	// reachMargin and reachExtra are added to the downtime that a switch-over
	// would cost: the guest goes on writing until the hypervisor looks again, and
	// it measures the bandwidth over a tenth of a second only.
	reachPercent = 110
	reachExtra   = 20
	// heavyShare of the bandwidth is what a guest has to write at least, in its
	// first pass, for the whole maximum to be allowed at once. Later passes are
	// shorter, in which it can but write faster.
	heavyShare = 0.9
	// slowShrink is what remains at least after a pass, of what remained before it,
	// for the passes to be called slow.
	slowShrink = 0.7
	// firstPass has no pass before it to be compared with.
	firstPass = 1
)

// adapt is the strategy Adaptive. It is asked at the beginning of each pass.
//
// The limit starts at the hypervisor's own, so that Adaptive is never slower than
// that, and is raised for one of two reasons. A switch-over within the maximum
// has become possible: then to what it takes, which makes the hypervisor do it.
// Or the passes hardly become smaller: then to the maximum, so that the
// hypervisor, which looks at every chance, takes the first one.
func adapt(c Config, s State) (State, []Action) {
	cost, limit := s.cost(), s.facts.MaxDowntimeMilliseconds
	if cost == 0 || s.passes.mark.iteration <= firstPass || limit >= c.MaxDowntimeMilliseconds {
		return s, nil
	}
	switch {
	case cost <= c.MaxDowntimeMilliseconds:
		want := min(cost*reachPercent/100+reachExtra, c.MaxDowntimeMilliseconds)
		return raise(s, want, ReasonWithinReach, fmt.Sprintf(
			"%s remain, which take %s of downtime where %s are allowed",
			formatBytes(s.passes.mark.remaining), formatMillis(cost), formatMillis(c.MaxDowntimeMilliseconds)))
	case s.passes.slow():
		return raise(s, c.MaxDowntimeMilliseconds, ReasonSlow, fmt.Sprintf(
			"%s remain, which would take %s of downtime, and the passes hardly become shorter: the first chance within %s is to be taken",
			formatBytes(s.passes.mark.remaining), formatMillis(cost), formatMillis(c.MaxDowntimeMilliseconds)))
	}
	return s, nil
}

// slow reports whether the last pass left nearly as much as there was before it.
func (p passes) slow() bool {
	if p.kept == 0 {
		return false
	}
	last := p.all[p.kept-1]
	if last.first {
		return float64(last.dirtied()) >= heavyShare*float64(last.sent)
	}
	return float64(last.after) >= slowShrink*float64(last.before)
}

const (
	// provedPasses is how many passes after the first it takes to foresee where
	// they lead, and flatPasses how many where they shrink so little that it may
	// be chance.
	provedPasses = 3
	flatPasses   = 6
	// topPasses is how many of them the maximum must have been allowed for.
	topPasses = 2
	// passError is by how much what a pass left may be off: that much is taken off the
	// later of two passes and put on the earlier before they are fitted.
	passError = 0.015
	// fitTolerance is how far a pass may be from what the others foretell.
	fitTolerance = 0.12
	// level is what three passes must leave of what there was for them not to have
	// come closer, and flat what six must.
	level = 0.99
	flat  = 0.97
	// burst is by how much a single pass may have shrunk nevertheless.
	burst = 0.9
	// overMaximum is by how much the downtime has to be out of reach.
	overMaximum = 1.05
)

// hopeless reports whether the passes will never lead to a switch-over within the
// maximum, and says why. It takes the best case that what was seen allows for.
//
// Let y be what a pass has to send: what remains, less what the maximum leaves for
// the switch-over. During the pass the guest dirties f(y), which is what the next
// has to send. f grows ever more slowly, as a guest that writes to a page twice
// dirties it once. So the passes come to an end if, and only if, f(y) < y for the
// smallest y: if f begins with a slope below one. No f that fits two passes begins
// flatter than that of a guest which writes evenly to one set of pages,
// f(y) = a(1-exp(-ky)), so its slope is the best case.
func hopeless(c Config, s State) (string, bool) {
	rate := float64(s.link.rate())
	reach := rate * float64(c.MaxDowntimeMilliseconds) / 1000
	if !s.mayDespair(c, rate) || float64(s.passes.mark.remaining) <= reach*overMaximum {
		return "", false
	}
	if !neverEnds(s.passes.latest(provedPasses), reach) && !isLevel(s.passes.latest(provedPasses), level) &&
		!isLevel(s.passes.latest(flatPasses), flat) {
		return "", false
	}
	cost := s.cost()
	message := fmt.Sprintf("the guest writes %s and the link carries %s; after %d passes %s remain, which would take %s of downtime where %s are allowed",
		formatRate(s.passes.dirtyRate()), formatRate(int64(rate)), s.passes.mark.iteration-1,
		formatBytes(s.passes.mark.remaining), formatMillis(cost), formatMillis(c.MaxDowntimeMilliseconds))
	if s.passes.throttle > 0 {
		message += fmt.Sprintf(", even slowed down by %d %%", s.passes.throttle)
	}
	return message, true
}

// mayDespair reports whether all else has been tried: the maximum has been
// allowed, and the guest has been slowed down as far as the hypervisor means to.
func (s State) mayDespair(c Config, rate float64) bool {
	iteration := s.passes.mark.iteration
	if rate <= 0 || !s.passes.marked || s.last.GuestPaused || s.topSince == 0 || iteration-s.topSince < topPasses {
		return false
	}
	if !c.AutoConverge || s.passes.throttle >= fullThrottle {
		return true
	}
	return s.passes.kept >= throttlePasses
}

const (
	// fullThrottle is as far as QEMU goes.
	fullThrottle = 99
	// throttlePasses is how many passes QEMU may let go by before it slows the
	// guest down further. It takes two in which it finds a reason, each of a
	// second at least.
	throttlePasses = 5
)

// isLevel reports whether the passes, together, came no closer to the end, and
// none of them by itself.
func isLevel(passes []pass, share float64) bool {
	if len(passes) == 0 {
		return false
	}
	for _, p := range passes {
		if float64(p.after) < burst*float64(p.before) {
			return false
		}
	}
	return float64(passes[len(passes)-1].after) >= share*float64(passes[0].before)
}

// neverEnds reports whether passes that still become smaller will stop to do so.
func neverEnds(passes []pass, reach float64) bool {
	if len(passes) == 0 {
		return false
	}
	first, last := passes[0], passes[len(passes)-1]
	curve, ok := fit(float64(first.before)-reach, (float64(first.after)-reach)*(1+passError),
		float64(last.before)-reach, (float64(last.after)-reach)*(1-passError))
	if !ok || curve.slope() < 1 {
		return false
	}
	for _, p := range passes[1 : len(passes)-1] {
		foretold := curve.at(float64(p.before)-reach) + reach
		if math.Abs(float64(p.after)-foretold) > fitTolerance*foretold {
			return false
		}
	}
	return true
}

// saturation is f(y) = a(1-exp(-ky)).
type saturation struct{ a, k float64 }

func (f saturation) at(y float64) float64 { return f.a * (1 - math.Exp(-f.k*y)) }
func (f saturation) slope() float64       { return f.a * f.k }

// fit finds the curve through (y1, f1) and (y2, f2). It fails where the passes do
// not become smaller, and where they do so evenly, as without saturation.
func fit(y1, f1, y2, f2 float64) (saturation, bool) {
	if y2 <= 0 || f2 <= 0 || y1 <= y2 || f1 <= f2 || f2/f1 <= y2/y1 {
		return saturation{}, false
	}
	// (1-exp(-k*y2)) / (1-exp(-k*y1)) grows from y2/y1 to 1 with k.
	low, high := 0.0, 1000/y2
	for range 64 {
		k := (low + high) / 2
		if math.Expm1(-k*y2)/math.Expm1(-k*y1) < f2/f1 {
			low = k
		} else {
			high = k
		}
	}
	k := (low + high) / 2
	return saturation{a: f1 / -math.Expm1(-k*y1), k: k}, true
}
