package monitor

import (
	"fmt"
	"math"
	"time"
)

const (
	// topPasses is how many passes the maximum, or nearly that, must have been
	// allowed for before anything is given up.
	topPasses = 2
	// overMaximum is by how much the downtime has to be out of reach for a migration to be
	// given up, which has to begin anew then, and farOff is when it is far out of reach.
	overMaximum = 1.05
	farOff      = 4
	// nearBy is up to where chance may help.
	nearBy = 2
)

// hopeless reports whether the passes will never lead to a switch-over within the
// maximum, and says why.
func hopeless(c Config, s State) (string, bool) {
	cost := s.cost()
	over, sure := 1.0, float64(sureToSwitch)
	if (!c.AllowPause || s.facts.Pause.Ordered) && (!c.AllowPostCopy || s.facts.PostCopy.Ordered) {
		over, sure = overMaximum, sureToAbort
	}
	if float64(cost) <= over*float64(c.MaxDowntimeMilliseconds) || !s.mayDespair(c) {
		return "", false
	}
	far := cost >= farOff*c.MaxDowntimeMilliseconds
	if cost < nearBy*c.MaxDowntimeMilliseconds && s.facts.MaxDowntimeMilliseconds < c.MaxDowntimeMilliseconds {
		return "", false // There is a chance left.
	}
	carries, writes := s.passes.rates()
	if ratio, never := s.passes.leadNowhere(sure); never {
		writes = ratio * carries
	} else if !s.passes.standStill(far) {
		return "", false
	}
	message := fmt.Sprintf("the guest writes %s, and the link carries %s; after %d passes %s, but only %s are allowed",
		formatRate(int64(writes)), formatRate(int64(carries)), s.passes.mark.iteration-1, s.remains(), formatMillis(c.MaxDowntimeMilliseconds))
	if s.passes.throttle > 0 {
		message += fmt.Sprintf(", although its CPUs are already slowed down by %d %%", s.passes.throttle)
	}
	return message, true
}

const (
	// fullThrottle is as far as QEMU slows a guest down.
	fullThrottle = 99
	// throttlePasses is how many passes QEMU may let go by before it slows the
	// guest down further. It takes two in which it finds a reason.
	throttlePasses = 5
)

// mayDespair reports whether all else has been tried: the maximum has been
// allowed, and the guest has been slowed down as far as the hypervisor means to.
func (s State) mayDespair(c Config) bool {
	if s.last.GuestPaused || s.topSince == 0 || s.passes.mark.iteration-s.topSince < topPasses {
		return false
	}
	return !c.AutoConverge || s.passes.throttle >= fullThrottle || s.passes.kept >= throttlePasses
}

const (
	// stillPasses are few passes that are enough where the downtime is far out of
	// reach, and stillPassesNear more where it is not: there, passes are short, and
	// chance may help.
	stillPasses     = 3
	stillPassesNear = 8
	stillSpanNear   = 8 * time.Second
	// sawPasses show a saw-tooth that is no better at its best than before.
	sawPasses = passesKept
	sawSpan   = 15 * time.Second
	// stillShare is what these passes must leave, together, of what there was, for
	// them to have come no closer.
	stillShare = 0.97
	// steadyShare is what each of them must leave: a guest that rests in between comes
	// to its end some time.
	steadyShare = 0.9
)

// standStill reports whether the passes do not become smaller.
func (p passes) standStill(far bool) bool {
	return far && stillOver(p.latest(stillPasses), 0) || stillOver(p.latest(stillPassesNear), stillSpanNear) ||
		sawOver(p.latest(sawPasses), sawSpan)
}

// sawOver reports whether the later half of the passes has left no less, at its
// best, than the earlier.
func sawOver(passes []pass, span time.Duration) bool {
	if len(passes) == 0 {
		return false
	}
	half := len(passes) / 2
	best := [2]int64{passes[0].after, passes[half].after}
	for i, p := range passes {
		best[i/half] = min(best[i/half], p.after)
		span -= p.took
	}
	return span <= 0 && float64(best[1]) >= stillShare*float64(best[0])
}

func stillOver(passes []pass, span time.Duration) bool {
	if len(passes) == 0 {
		return false
	}
	for _, p := range passes {
		if float64(p.after) < steadyShare*float64(p.before) {
			return false
		}
		span -= p.took
	}
	return span <= 0 && float64(passes[len(passes)-1].after) >= stillShare*float64(passes[0].before)
}

const (
	// fitPasses is how many passes it takes to foresee where they lead.
	fitPasses = 3
	// fitError is by how much a ratio is off at least: writes are not even, nor is
	// the link.
	fitError = 0.015
	// fitBend is how much of its growth the ratio must keep.
	fitBend = 0.3
	// sureToAbort and sureToSwitch are how many standard errors away the opposite
	// has to be. A migration that was given up has to begin anew; a guest that was
	// switched to post-copy, or paused, arrives.
	sureToAbort  = 1.5
	sureToSwitch = 1
)

// leadNowhere reports whether passes that still become smaller will stop to do so
// before the switch-over.
//
// Sending y, a pass finds f(y) written to meanwhile, which is what the next has to
// send, on top of what the maximum leaves for the switch-over. f grows ever more
// slowly, as a page that is written to twice is sent once. So passes come to an end
// if, and only if, f(y) < y for the smallest y: if the ratio f(y)/y, which grows as
// passes become shorter, stays below one to the end. It is taken to grow evenly,
// which is the least that is to be expected: where writes spread at random, it
// grows faster and faster. The ratio of the shortest passes is returned.
func (p passes) leadNowhere(sure float64) (shortest float64, never bool) {
	some := p.later()
	if len(some) < fitPasses || !bends(some) {
		return 0, false
	}
	n := float64(len(some))
	var meanSent, meanRatio float64
	for _, one := range some {
		if one.merged {
			return 0, false
		}
		meanSent += float64(one.sent) / n
		meanRatio += one.ratio() / n
	}
	var squares, products float64
	for _, one := range some {
		squares += (float64(one.sent) - meanSent) * (float64(one.sent) - meanSent)
		products += (float64(one.sent) - meanSent) * (one.ratio() - meanRatio)
	}
	if products >= 0 {
		return 0, false // The ratio does not grow, or all passes are as long: they will not shrink less.
	}
	growth := products / squares
	shortest = meanRatio - growth*meanSent
	var residuals float64
	for _, one := range some {
		residual := one.ratio() - shortest - growth*float64(one.sent)
		residuals += residual * residual
	}
	deviation := max(fitError, math.Sqrt(residuals/(n-2)))
	return shortest, shortest-sure*deviation*math.Sqrt(1/n+meanSent*meanSent/squares) >= 1
}

// bends reports whether the ratio still grows as passes become shorter. That of a
// guest that goes through its memory from end to end, and round again, does so as
// long as a pass takes more than a round, and no longer.
func bends(passes []pass) bool {
	growth := func(a, b pass) float64 { return (b.ratio() - a.ratio()) / float64(max(a.sent-b.sent, 1)) }
	first, middle, last := passes[0], passes[len(passes)/2], passes[len(passes)-1]
	return growth(middle, last) >= fitBend*growth(first, middle)
}
