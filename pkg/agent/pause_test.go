package agent

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestAPauseIsDoneWhenTheGuestStandsStill, and not when it is recorded: libvirt may
// take its time, and the agent may end in between.
func TestAPauseIsDoneWhenTheGuestStandsStill(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		release := w.fleet.Host("node-a").Hang(fake.MethodSuspend)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.await(lm, "the record of a pause", func(lm *v1alpha1.LiveMigration) bool { return migration.PausedByUs(lm.Status.Source) })
		w.a.stop()
		if got := requestStates(w.api.get(lm)); got != "ForceComplete 1 InProgress" {
			t.Errorf("before the guest stands still, the requests are %q", got)
		}
		w.a.start()
		release()
		after := w.settle(lm)
		w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
		if after.Status.Source.Steering.PausedTime == nil {
			t.Error("when the guest came to stand still is not recorded")
		}
		w.requireOnce("node-b")
	})
}

// TestAPauseThatFailsIsToldOfTheRequest, be it that libvirt refuses or that nothing
// comes of it.
func TestAPauseThatFailsIsToldOfTheRequest(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs: %t", hangs), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				lm := w.migrateWith(guestUUID, keepGoing(false))
				w.copying(lm)
				if hangs {
					defer w.fleet.Host("node-a").Hang(fake.MethodSuspend)()
				} else {
					w.fleet.Host("node-a").FailNext(fake.MethodSuspend, errors.New("no monitor"))
				}
				w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
				after := w.await(lm, "an answer", func(lm *v1alpha1.LiveMigration) bool {
					return len(lm.Status.Requests) > 0 && lm.Status.Requests[0].SettledTime != nil
				})
				if got := requestStates(after); got != "ForceComplete 1 Refused" || after.Status.Source.Steering.Pause.Error == "" {
					t.Errorf("the requests are %q, the pause %+v", got, after.Status.Source.Steering.Pause)
				}
				w.ask(lm, v1alpha1.AnnotationCancel, "2")
				w.requireEnd(w.settle(lm), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "ForceComplete 1 Refused, Cancel 2 Done")
				w.requireOnce("node-a")
			})
		})
	}
}

// TestOnlyAPauseOfOursIsUndone: where libvirt has refused ours, one that follows is
// somebody else's, and stays.
func TestOnlyAPauseOfOursIsUndone(t *testing.T) {
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprintf("refused: %t", refused), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				lm := w.migrateWith(guestUUID, keepGoing(false))
				w.copying(lm)
				kind := hypervisor.KindTimeout // It may yet take effect.
				if refused {
					kind = hypervisor.KindOther
				}
				w.fleet.Host("node-a").FailNext(fake.MethodSuspend, &hypervisor.Error{Kind: kind, Message: "no monitor"})
				w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
				w.await(lm, "an answer", func(lm *v1alpha1.LiveMigration) bool {
					s := lm.Status.Source.Steering
					return s != nil && s.Pause != nil && s.Pause.Error != ""
				})
				// libvirt itself undoes a pause that came during its job, unless it ends before.
				w.fleet.Host("node-a").KillDaemon()
				w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StatePaused, hypervisor.ReasonUser)
				w.fleet.Host("node-a").Reconnect()
				if after := w.settle(lm); after.Status.Phase != v1alpha1.PhaseFailed {
					t.Errorf("the end is %s: %+v", after.Status.Phase, after.Status.Conditions[0])
				}
				w.requireCalls(fake.MethodResume, b2i(!refused))
			})
		})
	}
}

// TestAFailingDiskIsNoPause: a guest that stands still for another reason than that
// somebody has paused it is not paused for its migration.
func TestAFailingDiskIsNoPause(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		release := w.fleet.Host("node-a").Hang(fake.MethodSuspend)
		defer release()
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.await(lm, "the record of a pause", func(lm *v1alpha1.LiveMigration) bool { return migration.PausedByUs(lm.Status.Source) })
		w.a.stop()
		w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StatePaused, hypervisor.ReasonIOError)
		w.a.start()
		time.Sleep(2 * time.Second)
		after := w.api.get(lm)
		if got := requestStates(after); got != "ForceComplete 1 InProgress" || after.Status.Source.Steering.PausedTime != nil {
			t.Errorf("the requests are %q, paused at %v", got, after.Status.Source.Steering.PausedTime)
		}
	})
}
