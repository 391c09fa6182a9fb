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
