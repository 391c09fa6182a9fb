package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// libvirt's numbers of runs repeat: it counts on from the highest number of what is active
// when it is started.

// restart restarts the daemon of a host on which nothing of the guest is left, and waits until
// the agent there has seen that.
func (w *world) restart(h *fake.Host) {
	h.KillDaemon()
	h.RemoveGuest(guestUUID)
	time.Sleep(5 * time.Second)
	h.Reconnect()
	time.Sleep(10 * time.Second)
}

// bootWith starts the guest on node-b, where that run gets a number that another one had.
func (w *world) bootWith(id int64, g fake.Guest) {
	w.t.Helper()
	g.UUID, g.Name, g.Persistent = guestUUID, "web", true
	w.fleet.Host("node-b").AddGuest(g)
	if got := w.fleet.Copies(guestUUID)["node-b"].ID; id == 0 || got != id {
		w.t.Fatalf("the run has the number %d, not %d", got, id)
	}
}

// heldAlone has the source hold the only copy of a guest after its switch-over, and returns
// the number of the half that has died on the target.
func (w *world) heldAlone() (*v1alpha1.LiveMigration, int64) {
	w.t.Helper()
	w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsHeldAlone})
	lm := w.settle(w.migrate(guestUUID))
	if lm.Status.Phase != v1alpha1.PhaseUnknown {
		w.t.Fatalf("it is %s", lm.Status.Phase)
	}
	id := lm.Status.Target.IncomingID
	w.restart(w.fleet.Host("node-b"))
	return lm, id
}

// requireOriginalKept fails if the source's copy is destroyed within a minute.
func (w *world) requireOriginalKept(lm *v1alpha1.LiveMigration) {
	w.t.Helper()
	for range 60 {
		time.Sleep(time.Second)
		synctest.Wait()
		w.api.update(lm.UID, func(*v1alpha1.LiveMigration) {})
	}
	if n := w.fleet.Host("node-a").Count(fake.MethodDestroyStale, guestUUID); n != 0 {
		w.t.Errorf("the only copy with the guest's memory was destroyed: %+v", w.fleet.Copies(guestUUID))
	}
}

// TestBootWithTheNumberOfAHalfIsNoArrival: the guest is booted on the target from a
// definition, and paused and resumed, as any snapshot does.
func TestBootWithTheNumberOfAHalfIsNoArrival(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.fleet.Host("node-b")
		lm, id := w.heldAlone()
		w.bootWith(id, fake.Guest{})
		time.Sleep(2 * time.Minute)
		if !b.Pause(guestUUID) {
			t.Fatal("it cannot be paused")
		}
		time.Sleep(5 * time.Second)
		if !b.Unpause(guestUUID) {
			t.Fatal("it cannot be resumed")
		}
		w.requireOriginalKept(lm)
	})
}

// TestRestoredGuestWithTheNumberOfAHalfIsNoArrival: of one that is started from a managed
// save, libvirt never says that it was booted.
func TestRestoredGuestWithTheNumberOfAHalfIsNoArrival(t *testing.T) {
	inWorld(t, func(w *world) {
		lm, id := w.heldAlone()
		w.bootWith(id, fake.Guest{State: "Running", Reason: "Restored"})
		w.requireOriginalKept(lm)
	})
}

// TestNothingIsPausedForABootWithTheNumberOfAHalf: the target's host is reset while the guest
// is copied, and starts it from an old definition when it is back. The source's agent is
// replaced meanwhile.
func TestNothingIsPausedForABootWithTheNumberOfAHalf(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.await(w.migrateWith(guestUUID, keepGoing(false)), "an incoming half", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Target != nil && lm.Status.Target.IncomingID != 0
		})
		w.a.stop()
		w.restart(w.fleet.Host("node-b"))
		w.bootWith(lm.Status.Target.IncomingID, fake.Guest{})
		w.a.start()
		w.requireOriginalNotPaused(lm)
	})
}

// TestNothingIsPausedForABootAfterAHalfThatWasOnlyHeardOf: the target's daemon dies right
// after it has told of the half, before the agent has looked, so that its number is not known.
func TestNothingIsPausedForABootAfterAHalfThatWasOnlyHeardOf(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.fleet.Host("node-b")
		w.busy()
		lm := w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
			keepGoing(false)(lm)
			b.SetLatency(30 * time.Millisecond)
		})
		for _, there := w.fleet.Copies(guestUUID)["node-b"]; !there; _, there = w.fleet.Copies(guestUUID)["node-b"] {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond)
		w.a.stop()
		w.restart(b)
		b.SetLatency(0)
		time.Sleep(10 * time.Second)
		if s := w.api.get(lm).Status.Target; s.IncomingTime == nil || s.IncomingID != 0 {
			t.Fatalf("it was not only heard of: %+v", s)
		}
		b.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
		w.a.start()
		w.requireOriginalNotPaused(lm)
	})
}

// TestRestartedWhereItArrived: the source's agent is away when the guest arrives on the
// target, where its agent sees it run. Then it is stopped and started there, as its user does
// after an update of its system, and the source's agent finds that nothing of it is left.
func TestRestartedWhereItArrived(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", MemoryBytes: 64 << 30})
		b := w.fleet.Host("node-b")
		lm := w.migrate(guestUUID)
		w.await(lm, "the job", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Source != nil && lm.Status.Source.JobStartedTime != nil
		})
		w.a.stop()
		w.await(lm, "the arrival", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Target.ArrivedTime != nil })
		b.Destroy(guestUUID)
		b.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
		time.Sleep(10 * time.Second)
		w.a.start()
		if now := w.settle(lm); now.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("it is %s: %s", now.Status.Phase, now.Status.Conditions[0].Message)
		}
	})
}
