package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// setsTime asks for the guest's clock to be set.
func setsTime(lm *v1alpha1.LiveMigration) {
	options(v1alpha1.MigrationOptions{GuestAgent: &v1alpha1.GuestAgentOptions{SetTime: new(true)}})(lm)
}

// TestTheGuestsClockIsSet on the target, when the guest runs there, by an agent that may need a
// moment. One that does not do it neither fails the migration nor holds it up for long.
func TestTheGuestsClockIsSet(t *testing.T) {
	deaf := &hypervisor.Error{Kind: hypervisor.KindOther, Message: "Guest agent is not responding"}
	for _, c := range []struct {
		name   string
		before func(w *world)
		change func(*v1alpha1.LiveMigration)
		want   v1alpha1.GuestClockState // Empty is that nobody was asked.
		says   string
		within time.Duration // As long as it may take, beyond that of one which does not ask.
	}{
		{"it is", func(w *world) { w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentConnected) }, setsTime, v1alpha1.GuestClockSet, "", time.Second},
		{"nobody wants that", func(w *world) { w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentConnected) }, func(*v1alpha1.LiveMigration) {}, "", "", 0},
		{"it is, at the third try", func(w *world) {
			w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentConnected)
			w.fleet.Host("node-b").FailNext(fake.MethodSetGuestTime, deaf, deaf)
		}, setsTime, v1alpha1.GuestClockSet, "", 2 * time.Second},
		{"the guest has no channel", func(*world) {}, setsTime, v1alpha1.GuestClockFailed, "not configured", time.Second},
		{"nobody is at its end", func(w *world) { w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentDisconnected) }, setsTime, v1alpha1.GuestClockFailed, "not connected", 7 * time.Second},
		{"the agent hangs", func(w *world) {
			w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentConnected)
			w.fleet.Host("node-b").Hang(fake.MethodSetGuestTime)
		}, setsTime, v1alpha1.GuestClockFailed, "did not answer in time", 12 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c.before(w)
				begun := time.Now()
				lm := w.settle(w.migrateWith(guestUUID, c.change))
				if lm.Status.Phase != v1alpha1.PhaseSucceeded {
					t.Fatalf("it ends in %s %s", lm.Status.Phase, reason(lm))
				}
				if took := time.Since(begun); took > 5*time.Second+c.within {
					t.Errorf("it takes %s", took)
				}
				clock := lm.Status.Target.GuestClock
				switch {
				case c.want == "" && clock == nil:
				case clock == nil || clock.State != c.want || !strings.Contains(clock.Message, c.says) || (clock.Message == "") != (c.says == ""):
					t.Errorf("of the clock, it says %+v", clock)
				}
				told := false
				for _, n := range lm.Status.Notices {
					told = told || n.Reason == v1alpha1.NoticeGuestClockNotSet && strings.Contains(n.Message, c.says) && strings.Contains(n.Message, "node-b")
				}
				if told != (c.want == v1alpha1.GuestClockFailed) {
					t.Errorf("its user is told: %t, %+v", told, lm.Status.Notices)
				}
				to, at := w.fleet.Host("node-b").GuestClock(guestUUID)
				if (c.want == v1alpha1.GuestClockSet) != !to.IsZero() || to.Sub(at).Abs() > time.Second {
					t.Errorf("it was set to %s at %s", to, at)
				}
			})
		})
	}
}

// TestTheClockOfAGuestThatIsPausedIsLeftAlone: its agent could not answer.
func TestTheClockOfAGuestThatIsPausedIsLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.fleet.Host("node-a")
		a.SetAgent(guestUUID, fake.AgentConnected)
		if err := a.Suspend(t.Context(), guestUUID); err != nil {
			t.Fatal(err)
		}
		lm := w.settle(w.migrateWith(guestUUID, setsTime))
		if lm.Status.Phase != v1alpha1.PhaseSucceeded || lm.Status.Target.GuestClock != nil || w.fleet.Count(fake.MethodSetGuestTime, "") != 0 {
			t.Errorf("it ends in %s, with %+v", lm.Status.Phase, lm.Status.Target.GuestClock)
		}
	})
}

// TestTheOutcomeDoesNotWaitForEver for word of the clock, if the target's agent is gone.
func TestTheOutcomeDoesNotWaitForEver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentConnected)
		w.fleet.Host("node-b").Hang(fake.MethodSetGuestTime)
		lm := w.await(w.migrateWith(guestUUID, setsTime), "the arrival", func(now *v1alpha1.LiveMigration) bool {
			return now.Status.Target != nil && now.Status.Target.ArrivedTime != nil
		})
		w.b.cancel()
		begun := time.Now()
		lm = w.settle(lm)
		told := slices.ContainsFunc(lm.Status.Notices, func(n v1alpha1.Notice) bool { return n.Reason == v1alpha1.NoticeGuestClockNotSet })
		if lm.Status.Phase != v1alpha1.PhaseSucceeded || time.Since(begun) > 45*time.Second || !told {
			t.Errorf("after %s, it ends in %s, told: %t", time.Since(begun), lm.Status.Phase, told)
		}
	})
}

// TestTheClockIsSetWhoeverDies: agents are killed before and after each write.
func TestTheClockIsSetWhoeverDies(t *testing.T) {
	connected := func(w *world) { w.fleet.Host("node-a").SetAgent(guestUUID, fake.AgentConnected) }
	whoeverDies(t, connected, setsTime, func(_ *world, lm *v1alpha1.LiveMigration) {
		if clock := lm.Status.Target.GuestClock; lm.Status.Phase == v1alpha1.PhaseSucceeded && (clock == nil || clock.State != v1alpha1.GuestClockSet) {
			t.Errorf("it ends in %s with %+v", lm.Status.Phase, clock)
		}
	})
}
