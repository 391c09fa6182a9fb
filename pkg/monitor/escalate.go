package monitor

import "fmt"

// escalate takes the next resort, where one is due. The first reason that holds
// counts; the resorts are post-copy, a pause, and the end, each once. What somebody
// asks for goes before what follows from an earlier resort that has failed: that
// might be the end.
func escalate(c Config, s State, in Input) (State, []Action) {
	if s, actions := s.askAgain(); actions != nil {
		return s, actions
	}
	s = s.overdue()
	switch {
	case s.facts.Pause.pending():
		return s.endPause(c)
	case s.facts.PostCopy.pending():
		return s, nil
	}
	if in.ForceComplete && !s.facts.ForceCompleteTaken && s.mayForce() {
		s.facts.ForceCompleteTaken = true
		return s.force(c, ReasonRequested, "a request asks for completion; "+left(s.last))
	}
	if s, actions := s.replace(c); actions != nil {
		return s, actions
	}
	return s.giveUpWaiting(c)
}

// giveUpWaiting sees to timeouts, and to a guest that will never get there.
func (s State) giveUpWaiting(c Config) (State, []Action) {
	if reason, message := s.timedOut(c); reason != "" && c.OnTimeout != TimeoutKeepGoing {
		if c.OnTimeout == TimeoutAbort {
			return s.abort(reason, message)
		}
		return s.force(c, reason, message)
	}
	if c.Strategy == StrategyAdaptive {
		if message, never := hopeless(c, s); never {
			return s.force(c, ReasonNotConverging, message)
		}
	}
	return s, nil
}

// askAgain repeats, once, an order of another process that shows no effect: that
// process may have ended between writing the order down and carrying it out. The
// order keeps its deadline.
func (s State) askAgain() (State, []Action) {
	orders := [...]struct {
		kind  Kind
		order Order
		seen  bool
	}{
		{Abort, s.facts.Abort, false},
		{Pause, s.facts.Pause, s.last.GuestPaused},
		{StartPostCopy, s.facts.PostCopy, false},
	}
	for i, o := range orders {
		if !s.inherited[i] || o.order.Failed || o.seen {
			continue
		}
		if s.now-o.order.At < effectDelay {
			return s, nil
		}
		s.inherited[i] = false
		return s, []Action{{Kind: o.kind, Reason: o.order.Reason, Message: "this was requested before, but had no effect"}}
	}
	return s, nil
}

// overdue takes an order whose deadline has passed without effect for failed.
func (s State) overdue() State {
	if o := s.facts.PostCopy; o.pending() && s.now-o.At >= switchTimeout {
		s.facts.PostCopy.Failed = true
	}
	if o := s.facts.Pause; o.pending() && s.last.known() && !s.pauseSeen && s.now-o.At >= switchTimeout {
		s.facts.Pause.Failed = true
	}
	return s
}

// replace takes the next resort in place of one that has failed.
func (s State) replace(c Config) (State, []Action) {
	switch {
	case s.facts.Pause.Failed:
		if mayAbort(c, s.facts.Pause.Reason) {
			return s.abort(s.facts.Pause.Reason, "the guest could not be paused; "+left(s.last))
		}
	case s.facts.PostCopy.Failed && !s.last.GuestPaused:
		return s.pauseOr(c, s.facts.PostCopy.Reason, "the switch to post-copy failed; "+left(s.last))
	}
	return s, nil
}

// mayForce reports whether a request to complete can be carried out. It waits for
// the memory's turn: before it, there is nothing to switch to post-copy, and a
// guest would stand paused for as long as its disks take. A guest that stands still
// needs no force: it is nearly done.
func (s State) mayForce() bool { return s.last.copiesMemory() && !s.last.GuestPaused }

// force takes the first resort that is left.
func (s State) force(c Config, reason Reason, message string) (State, []Action) {
	if c.AllowPostCopy && !s.facts.PostCopy.Ordered && s.last.copiesMemory() && !s.last.GuestPaused {
		s.facts.PostCopy = Order{Ordered: true, At: s.now, Reason: reason}
		return s, []Action{{Kind: StartPostCopy, Reason: reason, Message: message}}
	}
	return s.pauseOr(c, reason, message)
}

// pauseOr pauses the guest where that is allowed and has not been tried, and else
// gives up where that is.
func (s State) pauseOr(c Config, reason Reason, message string) (State, []Action) {
	switch {
	case s.last.GuestPaused && reason != ReasonProgressTimeout:
		return s, nil // It writes nothing, and is nearly done.
	case mayPause(c, reason) && !s.facts.Pause.Ordered && !s.last.GuestPaused:
		s.facts.Pause = Order{Ordered: true, At: s.now, Reason: reason}
		return s, []Action{{Kind: Pause, Reason: reason, Message: message}}
	case mayAbort(c, reason):
		return s.abort(reason, message)
	}
	return s, nil
}

// mayPause reports whether the reason is one to pause the guest for.
func mayPause(c Config, reason Reason) bool {
	switch reason {
	case ReasonRequested:
		return true
	case ReasonCompletionTimeout, ReasonProgressTimeout:
		return c.AllowPause || c.OnTimeout == TimeoutForceComplete
	case ReasonNotConverging:
		return c.AllowPause
	case ReasonInitial, ReasonStep, ReasonWithinReach, ReasonSlow, ReasonMaximumLowered, ReasonPauseTimeout, ReasonFreeze, ReasonFreezeOver:
	}
	return false
}

// mayAbort reports whether the reason is one to give up for. Whoever wants the
// migration forced, or to go on, after a timeout does not want it to fail before.
func mayAbort(c Config, reason Reason) bool {
	switch reason {
	case ReasonCompletionTimeout, ReasonProgressTimeout:
		return c.OnTimeout != TimeoutKeepGoing
	case ReasonNotConverging:
		return c.OnTimeout == TimeoutAbort
	case ReasonPauseTimeout:
		return true
	case ReasonInitial, ReasonStep, ReasonWithinReach, ReasonSlow, ReasonMaximumLowered, ReasonRequested, ReasonFreeze, ReasonFreezeOver:
	}
	return false
}

// abort gives up.
func (s State) abort(reason Reason, message string) (State, []Action) {
	s.facts.Abort = Order{Ordered: true, At: s.now, Reason: reason}
	return s, []Action{{Kind: Abort, Reason: reason, Message: message}}
}

// endPause gives up where the guest has stood paused for too long, whoever wanted
// that: it is of no use to anybody.
func (s State) endPause(c Config) (State, []Action) {
	paused, still := s.now-s.facts.Pause.At, s.now-max(s.progress.flowAt, s.facts.Pause.At)
	switch {
	case paused >= c.pauseTimeout():
		return s.abort(ReasonPauseTimeout, fmt.Sprintf("the guest has been paused for %s, and %s", formatSpan(paused), left(s.last)))
	case still >= pauseStall:
		return s.abort(ReasonPauseTimeout, fmt.Sprintf("the guest is paused, nothing has been copied for %s, and %s", formatSpan(still), left(s.last)))
	}
	return s, nil
}

// timedOut returns which timeout has passed, if any, and says so.
func (s State) timedOut(c Config) (Reason, string) {
	if timeout := c.CompletionTimeout(); timeout > 0 && s.now > timeout {
		return ReasonCompletionTimeout, fmt.Sprintf("the migration has taken %s, but only %s are allowed; %s",
			formatSpan(s.now), formatSpan(timeout), left(s.last))
	}
	if still := s.progress.standstill(s.now); c.ProgressTimeout > 0 && still > c.ProgressTimeout {
		return ReasonProgressTimeout, fmt.Sprintf("the migration has made no progress for %s, but only %s are allowed; %s",
			formatSpan(still), formatSpan(c.ProgressTimeout), left(s.last))
	}
	return "", ""
}
