package monitor

import (
	"fmt"
	"time"
)

const (
	// switchTimeout is how long a switch to post-copy, or a pause, may take to show.
	// Either takes some 50 ms.
	switchTimeout = 10 * time.Second
	// effectDelay is how long an order of another process may take to show.
	effectDelay = 3 * time.Second
	// pauseStall is how long nothing may flow while the guest stands paused for it.
	pauseStall = 30 * time.Second
	// minPauseTimeout is how long a pause may take whatever the timeouts are.
	minPauseTimeout = time.Minute
	// limitRetry is how long to wait before a limit that could not be set is set
	// again.
	limitRetry = time.Second
)

// Decide says what to do now. It is to be called at each event of the job and at
// least once a second; the actions are to be carried out in their order.
//
// Nothing is asked for twice, nor anything after the end of the migration was
// ordered, nor once the guest runs on the target: from then on it can only be
// waited for. After Restore, an order that shows no effect is asked for once more.
func Decide(c Config, s State, in Input) (State, []Action) {
	s.switchover = c.SwitchoverBytesPerSecond
	s, newPass := s.observe(in.Sample)
	c = c.normalized().sized(s.size)
	if s.facts.PostCopySeen {
		return s, nil
	}
	if s.facts.Abort.Ordered {
		return s.askAgain()
	}
	s, lowering := s.lower(c)
	calm := s
	s, next := escalate(c, s, in)
	forced := c.Freeze != NoFreeze && forces(next)
	if forced {
		// The same is due again once the guest is frozen, or it is known that it will not be.
		s, next = calm, nil
	}
	if next == nil && !s.facts.Pause.pending() && !s.facts.PostCopy.pending() {
		s, next = steer(c, s, newPass)
	}
	return s.freeze(c, forced, append(lowering, next...))
}

// observe takes a sample in.
func (s State) observe(sample Sample) (State, bool) {
	if sample.Elapsed < s.now {
		// Of two looks at once, the later one may be heard first. Its numbers are
		// older; that there is post-copy stays true.
		s.facts.PostCopySeen = s.facts.PostCopySeen || sample.PostCopy
		return s, false
	}
	s.now = sample.Elapsed
	s.facts.PostCopySeen = s.facts.PostCopySeen || sample.PostCopy
	if !sample.known() {
		return s, false
	}
	s.last = sample
	s.size = s.size.grown(sample)
	if pause := &s.facts.Pause; pause.Ordered && !pause.Refused && sample.GuestPaused {
		// A call that has failed may have its effect all the same, some time.
		if pause.Failed {
			pause.At, pause.Failed = s.now, false
		}
		s.pauseSeen = true
	}
	s.link = s.link.observe(sample)
	var newPass bool
	s.passes, newPass = s.passes.observe(sample)
	s.progress = s.progress.observe(sample, newPass)
	return s, newPass
}

// lower sees to it that a maximum holds which the user has lowered. Nothing else
// ever lowers the limit.
func (s State) lower(c Config) (State, []Action) {
	if s.facts.MaxDowntimeMilliseconds <= c.MaxDowntimeMilliseconds {
		return s, nil
	}
	return s.set(c.MaxDowntimeMilliseconds, ReasonMaximumLowered,
		fmt.Sprintf("%s of downtime are allowed from now on", formatMillis(c.MaxDowntimeMilliseconds)))
}

// raise raises the limit, unless it is as high already.
func raise(s State, milliseconds int64, reason Reason, message string) (State, []Action) {
	if milliseconds <= s.facts.MaxDowntimeMilliseconds {
		return s, nil
	}
	return s.set(milliseconds, reason, message)
}

// set sets the limit.
func (s State) set(milliseconds int64, reason Reason, message string) (State, []Action) {
	if s.now < s.retryAt {
		return s, nil
	}
	s.limitBefore, s.facts.MaxDowntimeMilliseconds, s.started = s.facts.MaxDowntimeMilliseconds, milliseconds, true
	return s, []Action{{Kind: SetMaxDowntime, MaxDowntimeMilliseconds: milliseconds, Reason: reason, Message: message}}
}

// steer lets the strategy have its say.
func steer(c Config, s State, newPass bool) (State, []Action) {
	if !s.started {
		initial := c.InitialDowntimeMilliseconds()
		return s.set(initial, ReasonInitial, fmt.Sprintf("%s of downtime are allowed at first", formatMillis(initial)))
	}
	if c.Strategy == StrategyStepped {
		limit := c.Schedule().At(s.now)
		return raise(s, limit, ReasonStep, fmt.Sprintf("%s of downtime are allowed after %s", formatMillis(limit), formatSpan(s.now)))
	}
	if !newPass {
		return s, nil
	}
	s, actions := adapt(c, s)
	switch {
	case s.facts.MaxDowntimeMilliseconds < approach(c):
		s.topSince = 0
	case s.topSince == 0:
		s.topSince = s.passes.mark.iteration
	}
	return s, actions
}
