package agent

import (
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestWhenAGuestIsWhole: only what libvirt says after the switch to post-copy counts,
// since a guest may have come, and gone, by another migration before.
func TestWhenAGuestIsWhole(t *testing.T) {
	arrived := v1alpha1.DomainObservation{State: "Running", Reason: "Migrated"}
	for _, tt := range []struct {
		name     string
		switched bool
		domain   v1alpha1.DomainObservation
		want     bool
	}{
		{"arrived", true, arrived, true},
		{"seen before the switch", false, arrived, false},
		{"still being brought", true, v1alpha1.DomainObservation{State: "Running", Reason: "Migrated", Job: "MigrationIn"}, false},
		{"already being moved on", true, v1alpha1.DomainObservation{State: "Running", Reason: "Migrated", Job: "MigrationOut"}, true},
		{"being backed up", true, v1alpha1.DomainObservation{State: "Running", Reason: "Migrated", Job: "Backup"}, true},
		{"in post-copy", true, v1alpha1.DomainObservation{State: "Running", Reason: "Postcopy"}, false},
		{"resumed by somebody", true, v1alpha1.DomainObservation{State: "Running", Reason: "Unpaused"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source := &v1alpha1.SourceStatus{AttemptID: "one", Steering: &v1alpha1.SteeringStatus{}}
			if tt.switched {
				source.Steering.PostCopyTime = new(metav1.NowMicro())
			}
			s := &targetSession{node: &Node{Clock: clock.RealClock{}}, lm: &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
				Attempt: &v1alpha1.AttemptStatus{ID: "one"}, Source: source,
			}}}
			section := &v1alpha1.TargetStatus{AttemptID: "one", Domain: &tt.domain}
			s.notePostCopy(section)
			if got := migration.Whole(section); got != tt.want {
				t.Errorf("whole is %t, want %t", got, tt.want)
			}
		})
	}
}

// requireOriginalNotPaused fails if the source's copy, which is the right one, is paused once
// the outcome is known.
func (w *world) requireOriginalNotPaused(lm *v1alpha1.LiveMigration) {
	w.t.Helper()
	w.settle(lm)
	time.Sleep(20 * time.Second)
	if n := w.fleet.Host("node-a").Count(fake.MethodSuspend, guestUUID); n != 0 {
		w.t.Errorf("the right copy was paused in favour of one that somebody has started: %+v", w.fleet.Copies(guestUUID))
	}
}

// TestAFreshBootAfterAHalfIsNoArrival: libvirt says definitely that the migration has
// failed, and the guest has never left the source. Its half on the target is gone, and then
// somebody boots an old definition of the guest there, before the target's agent is back.
func TestAFreshBootAfterAHalfIsNoArrival(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.fleet.Host("node-b")
		w.busy()
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsTargetLost, AfterPass: 3})
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.await(lm, "an incoming half", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Target != nil && lm.Status.Target.IncomingTime != nil
		})
		w.b.stop()
		lm = w.await(lm, "the end", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Source.End != nil })
		if end := lm.Status.Source.End; !end.NeverLeft || end.Call != v1alpha1.CallFailed {
			t.Fatalf("the source says %+v", end)
		}
		if copies := w.fleet.Copies(guestUUID); len(copies) != 1 {
			t.Fatalf("there are %+v", copies)
		}
		b.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
		w.b.start()
		w.requireOriginalNotPaused(lm)
	})
}

// TestAGuestStartedByOtherMeansIsNoArrival: somebody starts the guest on the target while
// the source's agent is being replaced: from a managed save, from a snapshot, or paused, or he
// pauses and resumes it. libvirt's reason is then not Booted. There never was a half.
func TestAGuestStartedByOtherMeansIsNoArrival(t *testing.T) {
	for _, why := range []hypervisor.Reason{hypervisor.ReasonUnpaused, "Restored", "FromSnapshot"} {
		t.Run(string(why), func(t *testing.T) {
			inWorld(t, func(w *world) {
				b := w.fleet.Host("node-b")
				_ = w.fleet.Host("node-a").Hang(fake.MethodMigrate)
				lm := w.migrate(guestUUID)
				w.await(lm, "the start", migration.Started)
				b.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
				b.SetState(guestUUID, hypervisor.StateRunning, why)
				w.a.restart()
				w.requireOriginalNotPaused(lm)
			})
		})
	}
}

// TestThePausedOriginalOutlivesAFreshBoot: the source's daemon died at the
// switch-over, and has the guest still paused: that is the only copy of what is in its memory.
// The target's half is gone. Somebody boots the guest on the target from a definition, and the
// outcome is Unknown: an administrator is to keep one of the two. Then the copy on the target is
// paused and resumed, as any snapshot or backup does.
func TestThePausedOriginalOutlivesAFreshBoot(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.fleet.Host("node-a"), w.fleet.Host("node-b")
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsHeldAlone})
		lm := w.settle(w.migrate(guestUUID))
		if lm.Status.Phase != v1alpha1.PhaseUnknown || lm.Status.Target.IncomingTime == nil {
			t.Fatalf("it is %s, and a half was seen at %v", lm.Status.Phase, lm.Status.Target.IncomingTime)
		}
		b.RemoveGuest(guestUUID)
		b.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
		time.Sleep(2 * time.Minute)
		w.api.update(lm.UID, func(*v1alpha1.LiveMigration) {})
		if n := a.Count(fake.MethodDestroyStale, guestUUID); n != 0 {
			t.Fatal("destroyed already")
		}
		if !b.Pause(guestUUID) {
			t.Fatal("it cannot be paused")
		}
		time.Sleep(5 * time.Second)
		if !b.Unpause(guestUUID) {
			t.Fatal("it cannot be resumed")
		}
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			w.api.update(lm.UID, func(*v1alpha1.LiveMigration) {})
		}
		if n := a.Count(fake.MethodDestroyStale, guestUUID); n != 0 {
			t.Errorf("the source's copy, the only one with the guest's memory, was destroyed: %+v", w.fleet.Copies(guestUUID))
		}
	})
}
