package agent

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
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

// TestAnAgentThatDiesBeforeItsPause has recorded that it pauses its copy of a guest that
// runs on both hosts, and has not done so. The next agent does: the disks are written to
// from both. What a person resumes after that stays resumed, whichever agent sees it.
func TestAnAgentThatDiesBeforeItsPause(t *testing.T) {
	inWorld(t, func(w *world) {
		var died atomic.Bool
		w.api.after = func(_ int, by *testAgent) bool {
			lm := w.api.all()[0]
			recorded := lm.Status.Source != nil && lm.Status.Source.End != nil && lm.Status.Source.End.CopyPausedTime != nil
			if by != w.a || !recorded || died.Swap(true) {
				return false
			}
			by.cancel()
			return true
		}
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsBothRunning})
		lm := w.settle(w.migrate(guestUUID))
		time.Sleep(5 * time.Second)
		if !died.Load() {
			t.Fatal("nothing was recorded")
		}
		w.requireCalls(fake.MethodSuspend, 0)
		if message := w.api.get(lm).Status.Conditions[0].Message; !strings.Contains(message, "is being paused") {
			t.Errorf("before the pause the status says: %s", message)
		}
		w.a.restart()
		time.Sleep(10 * time.Minute)
		if message := w.api.get(lm).Status.Conditions[0].Message; !strings.Contains(message, "was paused, once") {
			t.Errorf("after the pause the status says: %s", message)
		}
		if on := w.fleet.RunningOn(guestUUID); len(on) != 1 {
			t.Errorf("after ten minutes the guest runs on %v", on)
		}
		w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StateRunning, hypervisor.ReasonUnpaused)
		for range 2 {
			time.Sleep(time.Minute)
			w.a.restart()
		}
		time.Sleep(time.Minute)
		if on := w.fleet.RunningOn(guestUUID); len(on) != 2 {
			t.Errorf("after a person has resumed the copy, the guest runs on %v", on)
		}
		w.requireCalls(fake.MethodSuspend, 1)
	})
}
