package monitor

import "fmt"

const (
	// reachPercent and reachExtra make of the downtime that a switch-over would cost
	// what is allowed for it: the guest goes on writing until the hypervisor looks
	// again, and it measures the bandwidth over a tenth of a second only.
	reachPercent = 110
	reachExtra   = 20
	// withinPercent of the limit is what the hypervisor takes for within it, however
	// it measures.
	withinPercent = 90
	// heavyShare of the bandwidth is what a guest has to write at least, in its
	// first pass, to be called slow. Later passes are shorter, in which it can but
	// write faster.
	heavyShare = 0.9
	// slowShrink is what remains at least after a pass, of what remained before it,
	// for the passes to be called slow.
	slowShrink = 0.7
	// approachPercent of the ceiling is allowed when they are. With less, more has
	// to be sent in each pass, and more is written to meanwhile. With all of it,
	// passes would begin just above the ceiling: nothing could be allowed any more
	// that lets the hypervisor end one there.
	approachPercent = 80
	// reserveShare of the maximum, and mostReserve at most, is left for what the
	// hypervisor does not count: what is in the sockets, the devices' state, and
	// what the guest writes while it looks for the last time.
	reserveShare = 10
	mostReserve  = 100
	// firstPass has no pass before it to be compared with.
	firstPass = 1
)

// adapt is the strategy Adaptive. It is asked at the beginning of each pass.
//
// The limit starts at the hypervisor's own, so that Adaptive is never slower than
// that. It is raised when a switch-over within the ceiling has become possible: to
// what it takes, which makes the hypervisor do it. Before, it is raised where the
// passes hardly become smaller: nearly to the ceiling, so that less is written to
// while a pass lasts. And where chance alone may help, to the maximum.
func adapt(c Config, s State) (State, []Action) {
	cost, limit := s.cost(), s.facts.MaxDowntimeMilliseconds
	if cost == 0 || s.passes.mark.iteration <= firstPass || limit >= c.MaxDowntimeMilliseconds {
		return s, nil
	}
	remain := fmt.Sprintf("%s; %s are allowed", s.remains(), formatMillis(c.MaxDowntimeMilliseconds))
	switch {
	case cost <= limit*withinPercent/100:
		return s, nil // The hypervisor does it by itself.
	case cost <= c.ceiling():
		return raise(s, min(cost*reachPercent/100+reachExtra, c.ceiling()), ReasonWithinReach, remain)
	case s.mayDespair(c) && s.passes.standStill(false):
		s.passes.kept = 0 // From here on it is another matter.
		return raise(s, c.MaxDowntimeMilliseconds, ReasonSlow, remain+", and the passes are not getting shorter")
	case s.passes.slow():
		return raise(s, approach(c), ReasonSlow, remain+", and the passes are hardly getting shorter")
	}
	return s, nil
}

// ceiling is the most that Adaptive sets the limit to where prediction helps: what the
// user allows, but for the reserve.
func (c Config) ceiling() int64 {
	maximum := c.MaxDowntimeMilliseconds
	return maximum - min(maximum/reserveShare, mostReserve)
}

// approach is the limit that nearly is the ceiling.
func approach(c Config) int64 { return max(1, c.ceiling()*approachPercent/100) }

// slow reports whether the last pass left nearly as much as there was before it.
func (p passes) slow() bool {
	if p.kept == 0 {
		return false
	}
	last := p.all[p.kept-1]
	if last.first {
		return last.ratio() >= heavyShare
	}
	return float64(last.after) >= slowShrink*float64(last.before)
}
