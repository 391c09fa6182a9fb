package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestInterruptedPostCopy is resumed, whatever restarts meanwhile.
func TestInterruptedPostCopy(t *testing.T) {
	for _, restart := range []string{"nothing", "the source's agent", "the target's agent"} {
		t.Run(restart, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsPostCopyBroken})
				w.fleet.Host("node-a").FailNext(fake.MethodRecoverPostCopy, &hypervisor.Error{Kind: hypervisor.KindOther, Message: "no route to host"})
				lm := w.migrateWith(guestUUID, keepGoing(true))
				w.copying(lm)
				w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
				w.awaitPhase(lm, v1alpha1.PhaseRecovering)
				switch restart {
				case "the source's agent":
					w.a.restart()
				case "the target's agent":
					w.b.restart()
				}
				after := w.settle(lm)
				w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
				w.requireOnce("node-b")
				w.requireNothingLeft(after)
				if r := after.Status.Source.Recovery; r == nil || r.Attempts < 2 || !strings.Contains(r.LastError, "no route") {
					t.Errorf("the recovery is %+v", r)
				}
			})
		})
	}
}

// TestHungRecoveryIsTriedAgain: a call that resumes post-copy may never return.
func TestHungRecoveryIsTriedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsPostCopyBroken})
		release := w.fleet.Host("node-a").Hang(fake.MethodRecoverPostCopy)
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.awaitPhase(lm, v1alpha1.PhaseRecovering)
		time.Sleep(recoverDeadline / 2)
		w.requireCalls(fake.MethodRecoverPostCopy, 1)
		time.Sleep(recoverDeadline)
		if n := w.fleet.Count(fake.MethodRecoverPostCopy, guestUUID); n != 2 {
			t.Errorf("%d attempts were made, want 2", n)
		}
		release()
		after := w.settle(lm)
		w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
		w.requireOnce("node-b")
	})
}

// TestArrivalIsNotHeardOf: the target has all of the guest, and its last word to the
// source's emulator is lost, which then waits for ever.
func TestArrivalIsNotHeardOf(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsUnheard})
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		after := w.settle(lm)
		w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
		w.requireCalls(fake.MethodDestroyStale, 1)
		w.requireOnce("node-b")
		w.requireNothingLeft(after)
		if p := after.Status.Progress; p.Percent != 100 || p.Memory.RemainingBytes != 0 {
			t.Errorf("the progress is %+v", p)
		}
	})
}

// TestArrivalIsNotHeardOfAndTheGuestGoesOn: what becomes of the guest on the target
// after it has arrived does not take the arrival back.
func TestArrivalIsNotHeardOfAndTheGuestGoesOn(t *testing.T) {
	tests := []struct {
		name   string
		then   func(b *fake.Host)
		phase  v1alpha1.LiveMigrationPhase
		says   string
		onceOn string
	}{
		{"somebody suspends and resumes it", func(b *fake.Host) { b.SetState(guestUUID, hypervisor.StateRunning, "Unpaused") },
			v1alpha1.PhaseSucceeded, "runs on node-b", "node-b"},
		{"somebody moves it on", func(b *fake.Host) { b.SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonMigrated) },
			v1alpha1.PhaseUnknown, "may have moved it to another host", ""},
		{"it powers off", func(b *fake.Host) { b.SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonShutdown) },
			v1alpha1.PhaseUnknown, "may have stopped there", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsUnheard})
				lm := w.migrateWith(guestUUID, keepGoing(true))
				w.copying(lm)
				w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
				w.await(lm, "the arrival", func(lm *v1alpha1.LiveMigration) bool { return migration.Whole(lm.Status.Target) })
				tt.then(w.fleet.Host("node-b"))
				after := w.settle(lm)
				if message := after.Status.Conditions[0].Message; after.Status.Phase != tt.phase || !strings.Contains(message, tt.says) {
					t.Errorf("the end is %s: %s", after.Status.Phase, message)
				}
				w.requireCalls(fake.MethodDestroyStale, 1)
				if tt.onceOn != "" {
					w.requireOnce(tt.onceOn)
					w.requireNothingLeft(after)
				}
				if p := after.Status.Progress; p.Switchover != v1alpha1.SwitchoverPostCopy {
					t.Errorf("the progress is %+v", p)
				}
			})
		})
	}
}

// TestGuestLostInPostCopy: nothing is touched, and a person is asked for.
func TestGuestLostInPostCopy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsGuestLost})
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		after := w.settle(lm)
		if after.Status.Phase != v1alpha1.PhaseUnknown || !strings.Contains(after.Status.Conditions[0].Message, "it is lost") {
			t.Errorf("the end is %s: %+v", after.Status.Phase, after.Status.Conditions)
		}
		if d, err := w.fleet.Host("node-a").LookupDomain(t.Context(), guestUUID); err != nil || d.State != hypervisor.StatePaused {
			t.Errorf("the source's half is %+v, %v", d, err)
		}
		w.requireCalls(fake.MethodResume, 0)
		w.requireCalls(fake.MethodDestroyIncoming, 0)
	})
}

// TestGuestOnBothSides: one copy is paused, none destroyed, and a person decides.
func TestGuestOnBothSides(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsBothRunning})
		lm := w.settle(w.migrate(guestUUID))
		w.requireEnd(lm, v1alpha1.PhaseUnknown, v1alpha1.ReasonOutcomeUnknown, "")
		time.Sleep(5 * time.Second)
		w.requireOnce("node-b")
		d, err := w.fleet.Host("node-a").LookupDomain(t.Context(), guestUUID)
		if err != nil || d.State != hypervisor.StatePaused {
			t.Errorf("on the source it is %+v, %v", d, err)
		}
		w.fleet.Host("node-a").RemoveGuest(guestUUID)
		w.await(lm, "an outcome", migration.Finished)
		w.requireEnd(w.api.get(lm), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
	})
}

// TestOldCopyIsRemoved: the source's libvirt dies when the guest has just gone on to
// the target, and holds its old copy ever after.
func TestOldCopyIsRemoved(t *testing.T) {
	inWorld(t, func(w *world) {
		gate := w.fleet.Hold(guestUUID, fake.StageSwitched)
		lm := w.migrate(guestUUID)
		<-gate.Reached()
		w.fleet.Host("node-a").KillDaemon()
		gate.Release()
		time.Sleep(3 * time.Second)
		w.fleet.Host("node-b").AddGuest(fake.Guest{
			UUID: guestUUID, Name: "web", Persistent: true, State: hypervisor.StateRunning, Reason: hypervisor.ReasonMigrated,
		})
		w.fleet.Host("node-a").AddGuest(fake.Guest{
			UUID: guestUUID, Name: "web", Persistent: true, State: hypervisor.StatePaused, Reason: hypervisor.ReasonMigration,
		})
		w.fleet.Host("node-a").Reconnect()
		after := w.settle(lm)
		w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
		w.requireCalls(fake.MethodDestroyStale, 1)
		w.requireOnce("node-b")
		w.requireNothingLeft(after)
	})
}
