package monitor

import (
	"slices"
	"testing"
	"time"
)

// TestAGuestIsFrozenBeforeItSwitchesOver, on a simulated QEMU: shortly before, and not in vain where that can be foreseen.
func TestAGuestIsFrozenBeforeItSwitchesOver(t *testing.T) {
	for _, c := range []struct {
		name  string
		guest simGuest
		// writes is how fast the guest is known to write, in MiB/s; negative is not known.
		writes int64
		config Config
		// frozen is whether it is frozen when it switches over, and end how it is forced to.
		frozen bool
		end    Kind
		// most is for how long it is frozen at most.
		most time.Duration
	}{
		{"it is idle", simGuest{memoryMiB: 512, workingSetMiB: 16, linkMiBps: 100, write: steady(0.5)}, 1, Config{}, true, "", 3 * time.Second},
		{"it is idle, and its agent takes a second", simGuest{memoryMiB: 512, workingSetMiB: 16, linkMiBps: 100, write: steady(0.5), agentTakes: time.Second}, 1, Config{}, true, "", 3 * time.Second},
		{"it writes something", simGuest{memoryMiB: 512, workingSetMiB: 256, linkMiBps: 100, write: steady(20), agentTakes: 100 * time.Millisecond}, 20, Config{}, true, "", 4 * time.Second},
		{"it writes much", simGuest{memoryMiB: 512, workingSetMiB: 256, linkMiBps: 100, write: steady(60), agentTakes: 100 * time.Millisecond}, 60, Config{}, true, "", 4 * time.Second},
		{"it writes much, by steps", simGuest{memoryMiB: 512, workingSetMiB: 256, linkMiBps: 100, write: steady(60), agentTakes: 100 * time.Millisecond}, 60, Config{Strategy: StrategyStepped}, true, "", 10 * time.Second},
		{"nobody knows how fast it writes", simGuest{memoryMiB: 512, workingSetMiB: 256, linkMiBps: 100, write: steady(20), agentTakes: 50 * time.Millisecond}, -1, Config{}, true, "", 4 * time.Second},
		{"it writes too fast, and may be switched", simGuest{memoryMiB: 512, workingSetMiB: 400, linkMiBps: 100, write: steady(300), agentTakes: 300 * time.Millisecond}, 300, Config{AllowPostCopy: true}, true, StartPostCopy, time.Second},
		{"it writes too fast, and may be paused", simGuest{memoryMiB: 512, workingSetMiB: 400, linkMiBps: 100, write: steady(300), agentTakes: 300 * time.Millisecond}, 300, Config{AllowPause: true}, true, Pause, time.Second},
		{"it writes too fast", simGuest{memoryMiB: 512, workingSetMiB: 400, linkMiBps: 100, write: steady(300), agentTakes: 300 * time.Millisecond}, 300, Config{}, false, Abort, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.Freeze, c.guest.seed = FreezeWanted, 7
			if c.writes >= 0 {
				c.config.DirtyBytesPerSecond = new(c.writes * mib)
			}
			r := simulate(c.guest, &c.config)
			t.Logf("asked at %s, frozen at %s, over at %s with a downtime of %s: %v", r.asked, r.frozen, r.took, r.downtime, r.actions)
			if r.took >= simForever || r.end != c.end || r.frozen > 0 != c.frozen {
				t.Fatalf("it ends with %q after %s, frozen at %s", r.end, r.took, r.frozen)
			}
			if c.frozen && r.took-r.frozen > c.most {
				t.Errorf("it was frozen for %s", r.took-r.frozen)
			}
			if asks := slices.DeleteFunc(r.actions, func(a Action) bool { return a.Kind != Freeze }); len(asks) > 1 {
				t.Errorf("that was asked for %d times", len(asks))
			}
		})
	}
}

// TestWhatAFreezeHoldsBack decision by decision.
func TestWhatAFreezeHoldsBack(t *testing.T) {
	wants := func(freeze FreezeStage) Config { return stepped(Config{Freeze: freeze, AllowPostCopy: true}) }
	state := State{}
	decide := func(c Config, in Input) []timed {
		var actions []Action
		state, actions = Decide(c, state, in)
		var out []timed
		for _, a := range actions {
			out = append(out, timed{0, a.Kind, a.MaxDowntimeMilliseconds, a.Reason})
		}
		return out
	}
	far := func(second int64) Input {
		return Input{Sample: look(time.Duration(second)*time.Second, 1+second/5, 1+second*10, 900-second%5*10)}
	}
	want := func(what string, got []timed, want ...timed) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	hold := timed{0, SetMaxDowntime, heldMilliseconds, ReasonFreeze}
	want("at first", decide(wants(FreezeWanted), far(1)), hold)
	state = state.Failed(Action{Kind: SetMaxDowntime, MaxDowntimeMilliseconds: heldMilliseconds, Reason: ReasonFreeze}, true)
	want("right after that has failed", decide(wants(FreezeWanted), far(1)))
	want("a second after that", decide(wants(FreezeWanted), far(2)), hold)
	forced := far(3)
	forced.ForceComplete = true
	freeze := timed{0, Freeze, 0, ReasonFreeze}
	want("when it is forced", decide(wants(FreezeWanted), forced), freeze)
	forced.Sample = far(4).Sample
	want("while it is being frozen", decide(wants(FreezeUnderWay), forced))
	forced.Sample = far(5).Sample
	want("when it is frozen", decide(wants(NoFreeze), forced), timed{0, SetMaxDowntime, 500, ReasonFreezeOver}, timed{0, StartPostCopy, 0, ReasonRequested})
	want("after that", decide(wants(NoFreeze), far(6)))

	state = State{}
	want("at first", decide(wants(FreezeWanted), far(1)), hold)
	want("when it will not be", decide(wants(NoFreeze), far(2)), timed{0, SetMaxDowntime, 500, ReasonFreezeOver})
	state = state.Failed(Action{Kind: SetMaxDowntime, MaxDowntimeMilliseconds: 500, Reason: ReasonFreezeOver}, true)
	want("when that has failed", decide(wants(NoFreeze), far(3)), timed{0, SetMaxDowntime, 500, ReasonFreezeOver})

	state = Restore(Facts{MaxDowntimeMilliseconds: heldMilliseconds})
	want("by another process", decide(wants(FreezeWanted), far(7)))
	want("when that knows that it will not be", decide(wants(NoFreeze), far(8)), timed{0, SetMaxDowntime, 500, ReasonFreezeOver})

	state = State{}
	paused := far(1)
	paused.Sample.GuestPaused = true
	want("of a guest that is paused", decide(wants(FreezeWanted), paused), timed{0, SetMaxDowntime, 500, ReasonInitial})
}

// TestNothingIsFrozenForWhatIsGivenUp: a timeout that aborts needs no freeze.
func TestNothingIsFrozenForWhatIsGivenUp(t *testing.T) {
	c := stepped(Config{Freeze: FreezeWanted, CompletionTimeoutPerGiB: time.Second})
	_, actions := script{config: c, span: 6 * time.Second}.run()
	kinds := []Kind{}
	for _, a := range actions {
		kinds = append(kinds, a.kind)
	}
	if !slices.Equal(kinds, []Kind{SetMaxDowntime, Abort}) {
		t.Errorf("%v", actions)
	}
}

// TestWhenAFreezeIsDue, to the limit of each rule, with a link that carries 100 MiB/s.
func TestWhenAFreezeIsDue(t *testing.T) {
	const seconds = time.Second
	adaptive, stepped := Config{MaxDowntimeMilliseconds: 500}.normalized(), Config{Strategy: StrategyStepped, MaxDowntimeMilliseconds: 500}.normalized()
	writes := func(mibps int64) Config {
		c := adaptive
		c.DirtyBytesPerSecond = new(mibps * mib)
		return c
	}
	const shrinks = 4000 // What there was before the last pass, in MiB: much more than after it.
	for _, c := range []struct {
		name   string
		config Config
		limit  int64
		// pass is the present one, which began at begun with so much left; now, it is at with left.
		pass       int64
		begun, at  time.Duration
		mark, left int64
		before     int64
		rate       int64
		want       bool
	}{
		{"two seconds are left, and it catches up", adaptive, 300, 3, 1 * seconds, 2 * seconds, 200, 150, shrinks, 100, true},
		{"a little more", adaptive, 300, 3, 1 * seconds, 2 * seconds, 201, 150, shrinks, 100, false},
		{"nobody knows how fast it goes", adaptive, 300, 3, 1 * seconds, 2 * seconds, 10, 5, shrinks, 0, false},
		{"nobody saw the beginning of the pass", adaptive, 300, 3, 1 * seconds, 2 * seconds, 0, 5, shrinks, 100, false},
		{"nobody saw the beginning of one that does not catch up", adaptive, 300, 3, 1 * seconds, 2 * seconds, 0, 5, 1, 100, false},
		{"it does not catch up, and what is left is within reach", adaptive, 300, 3, 1 * seconds, 2 * seconds, 45, 40, 50, 100, true},
		{"a little more", adaptive, 300, 3, 1 * seconds, 2 * seconds, 46, 40, 50, 100, false},
		{"it is within what the step allows", stepped, 400, 3, 1 * seconds, 2 * seconds, 40, 40, 50, 100, true},
		{"it is not", stepped, 399, 3, 1 * seconds, 2 * seconds, 40, 40, 50, 100, false},
		{"the last step may have it go by chance", stepped, 500, 3, 1 * seconds, 2 * seconds, 99, 90, 100, 100, true},
		{"the last but one does not", stepped, 499, 3, 1 * seconds, 2 * seconds, 99, 90, 100, 100, false},
		{"nor is there any chance with as much", stepped, 500, 3, 1 * seconds, 2 * seconds, 100, 90, 100, 100, false},
		{"there is a chance with nearly all that may be allowed", adaptive, 360, 3, 1 * seconds, 2 * seconds, 99, 90, 100, 100, true},
		{"there is none with less", adaptive, 359, 3, 1 * seconds, 2 * seconds, 99, 90, 100, 100, false},
		{"the first pass ends in two seconds, and leaves two", writes(50), 300, 1, 0, 2 * seconds, 1000, 200, 0, 100, true},
		{"it leaves more", writes(51), 300, 1, 0, 2 * seconds, 1000, 200, 0, 100, false},
		{"it began late", writes(100), 300, 1, 2 * seconds, 2 * seconds, 1000, 200, 0, 100, true},
		{"it ends later", writes(1), 300, 1, 0, 2 * seconds, 1000, 201, 0, 100, false},
		{"nobody knows what it leaves", adaptive, 300, 1, 0, 2 * seconds, 1000, 10, 0, 100, false},
		{"it leaves no more than there is", writes(10000), 5000, 1, 0, 2 * seconds, 500, 200, 0, 1000, true},
		{"a great downtime is allowed", writes(100), 4000, 1, 0, 2 * seconds, 1000, 200, 0, 100, true},
	} {
		s := State{facts: Facts{MaxDowntimeMilliseconds: c.limit}, now: c.at, last: look(c.at, c.pass, 1, c.left)}
		s.link.reported = c.rate * mib
		s.passes.marked, s.passes.mark = c.mark > 0, boundary{iteration: c.pass, at: c.begun, remaining: c.mark * mib}
		if c.before > 0 {
			s.passes.all[0], s.passes.kept = pass{took: seconds, before: c.before * mib, after: c.mark * mib, sent: c.before * mib}, 1
		}
		if message, due := s.freezeDue(c.config); due != c.want {
			t.Errorf("%s: %t (%s)", c.name, due, message)
		}
	}
}
