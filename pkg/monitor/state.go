package monitor

import (
	"fmt"
	"time"
)

// State is what decisions remember. It is a value: copying it forks it. The zero
// State is that of a job of which nothing is known yet.
type State struct {
	facts   Facts
	now     time.Duration
	last    Sample // The latest that had numbers.
	started bool   // Whether the strategy has set its first limit, or another State had.

	// inherited are the orders of another process that may not have been carried
	// out: the abort, the pause, the switch to post-copy.
	inherited [3]bool
	// pauseSeen is whether the guest stood still after it was to be paused.
	pauseSeen bool

	// held is whether the hypervisor is allowed next to nothing for as long as a freeze is to come.
	held bool
	// limitBefore and retryAt serve a limit that could not be set.
	limitBefore int64
	retryAt     time.Duration
	// topSince is since which pass the limit has been about the maximum; 0 if it is
	// not.
	topSince int64

	// switchover is Config's.
	switchover int64

	size     totals
	link     link
	passes   passes
	progress progress
}

// Facts are what must outlive the process that decides: what was ordered and
// when, in the job's time. They fit in a status. All deadlines follow from them
// and from Config.
type Facts struct {
	// MaxDowntimeMilliseconds is the limit as read back from the hypervisor, or
	// as last set; 0 if it is not known. While a freeze is to come, it is what will hold after it.
	MaxDowntimeMilliseconds int64
	PostCopy                Order
	Pause                   Order
	Abort                   Order
	// PostCopySeen is whether the guest was seen to run on the target.
	PostCopySeen bool
	// ForceCompleteTaken is whether a request to force completion has been acted
	// on, so that it is not taken for a new one.
	ForceCompleteTaken bool
	// ProgressAt is when the job was last seen to come closer to its end.
	ProgressAt time.Duration
	// LowestPassBytes is the least that was seen to remain at the beginning of a
	// pass; 0 if none was seen.
	LowestPassBytes int64
}

// Restore returns the state of a job that another process has steered so far.
func Restore(facts Facts) State {
	s := State{facts: facts, started: facts.MaxDowntimeMilliseconds > 0, limitBefore: facts.MaxDowntimeMilliseconds}
	if facts.MaxDowntimeMilliseconds <= heldMilliseconds {
		// Another process waited for a freeze. What it would have allowed is not known.
		s.held = facts.MaxDowntimeMilliseconds > 0
		s.started, s.facts.MaxDowntimeMilliseconds, s.limitBefore = false, 0, 0
	}
	s.inherited = [...]bool{facts.Abort.pending(), facts.Pause.pending(), facts.PostCopy.pending()}
	s.progress.at, s.progress.adopted = facts.ProgressAt, facts.ProgressAt > 0
	s.progress.lowestPass = lowest{facts.LowestPassBytes, facts.LowestPassBytes > 0}
	for _, order := range []Order{facts.PostCopy, facts.Pause, facts.Abort} {
		s.now = max(s.now, order.At)
	}
	return s
}

// Facts returns what Restore needs. They are to be written down before the
// actions of the decision are carried out: an order that was not is repeated.
func (s State) Facts() Facts {
	facts := s.facts
	facts.ProgressAt, facts.LowestPassBytes = s.progress.at, s.progress.lowestPass.value
	return facts
}

// Standstill is for how long the job has come no closer to its end, as far as was seen; 0
// while it may yet.
func (s State) Standstill() time.Duration { return max(0, s.progress.standstill(s.now)) }

// Failed says that an action could not be carried out; refused, that it certainly has
// no effect. The next decision takes the next resort, or tries again where the action
// was to set a limit. An action that hangs needs no word: its deadline passes.
func (s State) Failed(action Action, refused bool) State {
	switch action.Kind {
	case SetMaxDowntime:
		if action.Reason == ReasonFreeze || action.Reason == ReasonFreezeOver {
			s.held, s.retryAt = action.Reason == ReasonFreezeOver, s.now+limitRetry
			return s
		}
		if s.facts.MaxDowntimeMilliseconds == action.MaxDowntimeMilliseconds {
			s.facts.MaxDowntimeMilliseconds = s.limitBefore
			s.topSince = 0
			s.retryAt = s.now + limitRetry
		}
	case StartPostCopy:
		s.facts.PostCopy = s.facts.PostCopy.failed(refused)
	case Pause:
		s.facts.Pause = s.facts.Pause.failed(refused)
	case Freeze: // The caller says in Config what came of it.
	case Abort:
		s.facts.Abort = s.facts.Abort.failed(refused)
	}
	return s
}

// Outlook is what is foreseen, for people.
type Outlook struct {
	// BandwidthBytesPerSecond is how fast memory is copied, and
	// DirtyBytesPerSecond how fast the guest makes it necessary; 0 if unknown.
	BandwidthBytesPerSecond int64
	DirtyBytesPerSecond     int64
	// DowntimeMilliseconds is what a switch-over at the beginning of the present
	// pass would have cost; 0 if unknown.
	DowntimeMilliseconds int64
	// Passes is how many passes over the memory have been watched from their
	// beginning to their end.
	Passes int64
}

// Outlook returns what is foreseen.
func (s State) Outlook() Outlook {
	return Outlook{
		BandwidthBytesPerSecond: s.link.rate(),
		DirtyBytesPerSecond:     s.passes.dirtyRate(),
		DowntimeMilliseconds:    s.cost(),
		Passes:                  s.passes.ended,
	}
}

// cost is what a switch-over at the beginning of the present pass would have
// cost, in milliseconds; 0 if that is unknown.
func (s State) cost() int64 {
	rate := s.link.rate()
	if s.switchover > 0 {
		rate = s.switchover
	}
	if rate <= 0 || !s.passes.marked {
		return 0
	}
	return max(1, int64(float64(s.passes.mark.remaining)/float64(rate)*1000))
}

// remains says how much a switch-over at the beginning of the present pass would have had to
// send, and for how long.
func (s State) remains() string {
	text := fmt.Sprintf("%s remain, which would take %s of downtime", formatBytes(s.passes.mark.remaining), formatMillis(s.cost()))
	if s.switchover > 0 {
		text += fmt.Sprintf(" at the %s of the switch-over", formatRate(s.switchover))
	}
	return text
}
