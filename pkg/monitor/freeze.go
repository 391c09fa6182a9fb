package monitor

import (
	"fmt"
	"time"
)

// FreezeStage is how far freezing the guest's file systems has come.
type FreezeStage int

// The stages of a freeze.
const (
	// NoFreeze: none is wanted, it is done, or it will not be done.
	NoFreeze FreezeStage = iota
	// FreezeWanted: it is to be done before the switch-over.
	FreezeWanted
	// FreezeUnderWay: it has begun, and it is not known yet what comes of it.
	FreezeUnderWay
)

const (
	// heldMilliseconds is what the hypervisor is allowed until the guest is frozen. It is not
	// zero, by which some versions of QEMU end a pass without a look at what has been written meanwhile.
	heldMilliseconds = 1
	// freezeReach is how long before its switch-over a guest is frozen at most. An agent answers
	// within tenths of a second; its hooks, and writing caches back, take a second or two. The last passes over
	// a guest that writes little take no longer than that together, and then QEMU
	// switches over, whatever the limit. More would keep the guest's programs waiting for nothing.
	freezeReach = 2 * time.Second
)

// freeze sees to it that the guest is frozen before it switches over: as long as that is to come, the hypervisor is
// allowed next to nothing, and it is asked for as soon as the switch-over is forced, or near.
func (s State) freeze(c Config, forced bool, actions []Action) (State, []Action) {
	if c.Freeze == NoFreeze {
		return s.release(actions)
	}
	if s.last.GuestPaused {
		return s, actions // Its agent cannot answer, and it has nothing to write.
	}
	kept := actions[:0]
	for _, action := range actions {
		if action.Kind != SetMaxDowntime {
			kept = append(kept, action)
		}
	}
	if s.facts.Abort.Ordered {
		return s, kept
	}
	if !s.held && s.now >= s.retryAt {
		s.held = true
		kept = append(kept, Action{
			Kind: SetMaxDowntime, MaxDowntimeMilliseconds: heldMilliseconds, Reason: ReasonFreeze,
			Message: "the guest is not to switch over before it is frozen",
		})
	}
	if c.Freeze == FreezeUnderWay {
		return s, kept
	}
	switch message, due := s.freezeDue(c); {
	case forced:
		kept = append(kept, Action{Kind: Freeze, Reason: ReasonFreeze, Message: "the switch-over is about to be forced"})
	case due:
		kept = append(kept, Action{Kind: Freeze, Reason: ReasonFreeze, Message: message})
	}
	return s, kept
}

// release allows what the strategy has come to meanwhile.
func (s State) release(actions []Action) (State, []Action) {
	if !s.held || s.now < s.retryAt {
		return s, actions
	}
	s.held, s.topSince = false, 0
	limit := s.facts.MaxDowntimeMilliseconds
	for _, action := range actions {
		if action.Kind == SetMaxDowntime {
			return s, actions
		}
	}
	if limit == 0 {
		return s, actions // The strategy sets its first one yet.
	}
	release := Action{
		Kind: SetMaxDowntime, MaxDowntimeMilliseconds: limit, Reason: ReasonFreezeOver,
		Message: fmt.Sprintf("%s of downtime are allowed from now on", formatMillis(limit)),
	}
	return s, append([]Action{release}, actions...)
}

// forces reports whether actions force the switch-over.
func forces(actions []Action) bool {
	for _, action := range actions {
		if action.Kind == StartPostCopy || action.Kind == Pause {
			return true
		}
	}
	return false
}

// freezeDue reports whether the switch-over is near, and why.
//
// Of the first pass, what it leaves is foreseen by what the guest wrote before: a guest that writes little is
// switched over right after it. Later, what remains at the beginning of a pass counts, where that is what the
// strategy may allow, or little while the passes become smaller. Where these do not, and all that may be allowed
// is, chance may bring the end.
func (s State) freezeDue(c Config) (string, bool) {
	rate := s.link.rate()
	if rate <= 0 || !s.last.copiesMemory() {
		return "", false
	}
	allowed, top := s.facts.MaxDowntimeMilliseconds, c.MaxDowntimeMilliseconds
	if c.Strategy == StrategyAdaptive {
		allowed, top = max(allowed, c.ceiling()), approach(c)
	}
	if s.last.Iteration <= firstPass {
		return s.freezeInFirstPass(c, rate, allowed)
	}
	cost := s.cost()
	switch {
	case cost == 0:
		return "", false // It is not known.
	case s.passes.slow():
		chance := s.facts.MaxDowntimeMilliseconds >= top && cost < nearBy*c.MaxDowntimeMilliseconds
		return s.remains(), cost <= allowed || chance
	default:
		return s.remains(), cost <= max(allowed, freezeReach.Milliseconds())
	}
}

// freezeInFirstPass is freezeDue in the pass over all of the memory.
func (s State) freezeInFirstPass(c Config, rate, allowed int64) (string, bool) {
	reach, left := freezeReach.Milliseconds(), millisAt(s.last.Memory.RemainingBytes, rate)
	if left > reach || c.DirtyBytesPerSecond == nil {
		return "", false
	}
	begun := time.Duration(0)
	if s.passes.marked {
		begun = s.passes.mark.at
	}
	seconds := (s.now - begun).Seconds() + float64(left)/1000
	again := min(int64(float64(*c.DirtyBytesPerSecond)*seconds), s.last.Memory.TotalBytes)
	return fmt.Sprintf("the first pass ends in %s, and leaves about %s", formatMillis(left), formatBytes(again)), millisAt(again, rate) <= max(reach, allowed)
}

// millisAt is how long so many bytes take.
func millisAt(bytes, perSecond int64) int64 {
	return int64(float64(bytes) / float64(perSecond) * 1000)
}
