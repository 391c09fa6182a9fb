package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// busy puts a guest on node-a that writes to its memory faster than it is copied.
func (w *world) busy() {
	w.fleet.Host("node-a").AddGuest(fake.Guest{
		UUID: guestUUID, Name: "web", Persistent: true, MemoryBytes: 4 << 30, DirtyBytesPerSecond: 8 << 30,
	})
}

// options sets the options of a migration.
func options(o v1alpha1.MigrationOptions) func(*v1alpha1.LiveMigration) {
	return func(lm *v1alpha1.LiveMigration) { lm.Spec.Options = &o }
}

// keepGoing never gives up by itself.
func keepGoing(postCopy bool) func(*v1alpha1.LiveMigration) {
	return options(v1alpha1.MigrationOptions{OnTimeout: v1alpha1.TimeoutKeepGoing, AllowPostCopy: &postCopy})
}

func (w *world) ask(lm *v1alpha1.LiveMigration, annotation, token string) {
	w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
		metav1.SetMetaDataAnnotation(&lm.ObjectMeta, annotation, token)
	})
}

// await lets time pass until the object is as wanted.
func (w *world) await(lm *v1alpha1.LiveMigration, what string, ok func(*v1alpha1.LiveMigration) bool) *v1alpha1.LiveMigration {
	w.t.Helper()
	for range 6000 {
		if now := w.api.get(lm); ok(now) {
			return now
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
	}
	w.t.Fatalf("the migration never comes to %s: %+v", what, w.api.get(lm).Status)
	return nil
}

func (w *world) awaitPhase(lm *v1alpha1.LiveMigration, phase v1alpha1.LiveMigrationPhase) *v1alpha1.LiveMigration {
	w.t.Helper()
	return w.await(lm, string(phase), func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Phase == phase })
}

// copying waits until the guest's memory has been copied for a while.
func (w *world) copying(lm *v1alpha1.LiveMigration) {
	w.t.Helper()
	w.await(lm, "copying", func(lm *v1alpha1.LiveMigration) bool {
		return lm.Status.Progress != nil && lm.Status.Progress.MemoryIteration > 1
	})
}

func requestStates(lm *v1alpha1.LiveMigration) string {
	var out []string
	for _, r := range lm.Status.Requests {
		out = append(out, fmt.Sprintf("%s %s %s", r.Type, r.Token, r.State))
	}
	return strings.Join(out, ", ")
}

func (w *world) requireEnd(lm *v1alpha1.LiveMigration, phase v1alpha1.LiveMigrationPhase, because, requests string) {
	w.t.Helper()
	if lm.Status.Phase != phase || reason(lm) != because {
		w.t.Errorf("the end is %s %s, want %s %s: %+v", lm.Status.Phase, reason(lm), phase, because, lm.Status.Conditions[0].Message)
	}
	if got := requestStates(lm); got != requests {
		w.t.Errorf("the requests are %q, want %q", got, requests)
	}
}

func (w *world) requireCalls(method fake.Method, want int) {
	w.t.Helper()
	if n := w.fleet.Count(method, guestUUID); n != want {
		w.t.Errorf("%s was called %d times, want %d", method, n, want)
	}
}

func TestForceComplete(t *testing.T) {
	const force = v1alpha1.AnnotationForceComplete
	for _, c := range []struct {
		name     string
		postCopy bool
		early    bool
		want     v1alpha1.SwitchoverReason
	}{
		{"post-copy, asked for before the start", true, true, v1alpha1.SwitchoverPostCopy},
		{"post-copy", true, false, v1alpha1.SwitchoverPostCopy},
		{"pause, asked for before the start", false, true, v1alpha1.SwitchoverPaused},
		{"pause", false, false, v1alpha1.SwitchoverPaused},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				lm := w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					keepGoing(c.postCopy)(lm)
					if c.early {
						metav1.SetMetaDataAnnotation(&lm.ObjectMeta, force, "1")
					}
				})
				if !c.early {
					w.copying(lm)
					w.ask(lm, force, "1")
					w.ask(lm, force, "1")
				}
				after := w.settle(lm)
				w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
				if got := after.Status.Progress.Switchover; got != c.want {
					t.Errorf("the switchover is %s, want %s", got, c.want)
				}
				w.requireOnce("node-b")
				w.requireCalls(fake.MethodStartPostCopy, b2i(c.want == v1alpha1.SwitchoverPostCopy))
				w.requireCalls(fake.MethodSuspend, b2i(c.want == v1alpha1.SwitchoverPaused))
			})
		})
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestForceCompleteEscalates: a switch to post-copy that fails makes way for a pause.
func TestForceCompleteEscalates(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		w.fleet.Host("node-a").FailNext(fake.MethodStartPostCopy, errors.New("userfaultfd is not there"))
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		after := w.settle(lm)
		w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
		steering := after.Status.Source.Steering
		if steering.PostCopy == nil || !strings.Contains(steering.PostCopy.Error, "userfaultfd") || steering.Pause == nil {
			t.Errorf("the steps are %+v", steering)
		}
		w.requireOnce("node-b")
	})
}

// TestForceCompleteOfAPausedGuest: whom its user has paused needs no force, and
// stays paused.
func TestForceCompleteOfAPausedGuest(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").AddGuest(fake.Guest{
			UUID: guestUUID, Name: "web", Persistent: true, State: hypervisor.StatePaused, Reason: hypervisor.ReasonUser,
		})
		lm := w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
			keepGoing(true)(lm)
			metav1.SetMetaDataAnnotation(&lm.ObjectMeta, v1alpha1.AnnotationForceComplete, "1")
		})
		after := w.settle(lm)
		w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
		d, err := w.fleet.Host("node-b").LookupDomain(t.Context(), guestUUID)
		if err != nil || d.State != hypervisor.StatePaused {
			t.Errorf("on the target it is %+v, %v", d, err)
		}
		w.requireCalls(fake.MethodSuspend, 0)
		w.requireCalls(fake.MethodResume, 0)
	})
}

// TestCancelByRequest, also of a guest that was paused for its migration: it runs
// on the source afterwards.
func TestCancelByRequest(t *testing.T) {
	for _, paused := range []bool{false, true} {
		t.Run(fmt.Sprintf("paused: %t", paused), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				lm := w.migrateWith(guestUUID, keepGoing(false))
				w.copying(lm)
				want := "Cancel 1 Done"
				if paused {
					w.ask(lm, v1alpha1.AnnotationForceComplete, "0")
					w.await(lm, "a pause", func(lm *v1alpha1.LiveMigration) bool { return migration.PausedByUs(lm.Status.Source) })
					want = "ForceComplete 0 Done, Cancel 1 Done"
				}
				w.ask(lm, v1alpha1.AnnotationCancel, "1")
				w.requireEnd(w.settle(lm), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, want)
				w.requireOnce("node-a")
			})
		})
	}
}

// TestAbortIsAskedForUntilTheJobIsGone: libvirt may be busy when it is asked first.
func TestAbortIsAskedForUntilTheJobIsGone(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart: %t", restart), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				busy := &hypervisor.Error{Kind: hypervisor.KindBusy, Message: "busy"}
				w.fleet.Host("node-a").FailNext(fake.MethodAbortJob, busy, busy)
				lm := w.migrateWith(guestUUID, options(v1alpha1.MigrationOptions{
					Convergence:                    &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped},
					CompletionTimeoutSecondsPerGiB: new(int64(5)),
				}))
				w.await(lm, "an abort", func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Source != nil && lm.Status.Source.Steering != nil && lm.Status.Source.Steering.Abort != nil
				})
				if restart {
					w.a.restart()
				}
				w.requireEnd(w.settle(lm), v1alpha1.PhaseFailed, v1alpha1.ReasonCompletionTimeout, "")
				w.requireOnce("node-a")
			})
		})
	}
}

// TestNothingIsForcedOnceCancelled: whatever comes due while libvirt does not yet
// listen to the abort.
func TestNothingIsForcedOnceCancelled(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		busy := &hypervisor.Error{Kind: hypervisor.KindBusy, Message: "busy"}
		w.fleet.Host("node-a").FailNext(fake.MethodAbortJob, slices.Repeat([]error{busy}, 40)...)
		lm := w.migrateWith(guestUUID, options(v1alpha1.MigrationOptions{
			CompletionTimeoutSecondsPerGiB: new(int64(5)), OnTimeout: v1alpha1.TimeoutForceComplete, AllowPostCopy: new(true),
		}))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationCancel, "1")
		w.requireEnd(w.settle(lm), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "Cancel 1 Done")
		w.requireCalls(fake.MethodSuspend, 0)
		w.requireCalls(fake.MethodStartPostCopy, 0)
		w.requireOnce("node-a")
	})
}

// TestBothRequestsAtOnce: the harmless one is done.
func TestBothRequestsAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
			lm.Annotations = map[string]string{v1alpha1.AnnotationForceComplete: "1", v1alpha1.AnnotationCancel: "1"}
		})
		w.requireEnd(w.settle(lm), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "Cancel 1 Done, ForceComplete 1 Refused")
		w.requireCalls(fake.MethodSuspend, 0)
		w.requireOnce("node-a")
	})
}

// TestTooLateToCancel: in post-copy there is no way back.
func TestTooLateToCancel(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.awaitPhase(lm, v1alpha1.PhasePostCopy)
		w.ask(lm, v1alpha1.AnnotationCancel, "1")
		w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) { lm.DeletionTimestamp = new(metav1.Now()) })
		w.requireEnd(w.settle(lm), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done, Cancel 1 Refused")
		w.requireOnce("node-b")
	})
}

// TestGuestsThatWriteTooFast: what becomes of them is up to the options.
func TestGuestsThatWriteTooFast(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name    string
		options v1alpha1.MigrationOptions
		phase   v1alpha1.LiveMigrationPhase
		reason  string
		by      v1alpha1.SwitchoverReason
	}{
		{"nothing is allowed", v1alpha1.MigrationOptions{}, v1alpha1.PhaseFailed, v1alpha1.ReasonWillNotConverge, ""},
		{"a pause is allowed", v1alpha1.MigrationOptions{AllowPause: new(true)}, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, v1alpha1.SwitchoverPaused},
		{"post-copy is allowed", v1alpha1.MigrationOptions{AllowPostCopy: new(true), AllowPause: new(true)}, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, v1alpha1.SwitchoverPostCopy},
		{"a timeout aborts", v1alpha1.MigrationOptions{
			Convergence:                    &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped},
			CompletionTimeoutSecondsPerGiB: seconds(10),
		}, v1alpha1.PhaseFailed, v1alpha1.ReasonCompletionTimeout, ""},
		{"a timeout forces", v1alpha1.MigrationOptions{
			Convergence:                    &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped},
			CompletionTimeoutSecondsPerGiB: seconds(10), OnTimeout: v1alpha1.TimeoutForceComplete,
		}, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, v1alpha1.SwitchoverPaused},
		{"no progress", v1alpha1.MigrationOptions{
			Convergence:            &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped},
			ProgressTimeoutSeconds: seconds(30),
		}, v1alpha1.PhaseFailed, v1alpha1.ReasonProgressTimeout, ""},
		{"a long downtime is allowed", v1alpha1.MigrationOptions{MaxDowntimeMilliseconds: seconds(60000)}, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, v1alpha1.SwitchoverConverged},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				lm := w.settle(w.migrateWith(guestUUID, options(c.options)))
				w.requireEnd(lm, c.phase, c.reason, "")
				host := map[v1alpha1.LiveMigrationPhase]string{v1alpha1.PhaseSucceeded: "node-b", v1alpha1.PhaseFailed: "node-a"}[c.phase]
				w.requireOnce(host)
				if got := lm.Status.Progress.Switchover; got != c.by {
					t.Errorf("the switchover is %q, want %q", got, c.by)
				}
				w.requireLimitKept(lm)
			})
		})
	}
}

// requireLimitKept fails if more downtime was ever allowed than the user wants.
func (w *world) requireLimitKept(lm *v1alpha1.LiveMigration) {
	w.t.Helper()
	most := uint64(500)
	if o := lm.Spec.Options; o != nil && o.MaxDowntimeMilliseconds != nil {
		most = uint64(*o.MaxDowntimeMilliseconds)
	}
	for _, call := range w.fleet.Calls() {
		if call.Method == fake.MethodSetMaxDowntime && call.Value > most {
			w.t.Errorf("%d ms of downtime were allowed", call.Value)
		}
	}
}

// TestLimitsMayBeChanged while the migration runs.
func TestLimitsMayBeChanged(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
			lm.Spec.Options.MaxDowntimeMilliseconds = new(int64(100000))
			lm.Generation++
		})
		after := w.settle(lm)
		w.requireEnd(after, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
		w.requireLimitKept(after)
	})
}

// TestSteeringGoesOnWithoutTheAPIServer: a timeout is kept, and what it does is
// done.
func TestSteeringGoesOnWithoutTheAPIServer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, options(v1alpha1.MigrationOptions{
			Convergence:                    &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped},
			CompletionTimeoutSecondsPerGiB: new(int64(10)), OnTimeout: v1alpha1.TimeoutForceComplete,
		}))
		w.copying(lm)
		w.setAway(true)
		time.Sleep(2 * time.Minute)
		if on := w.fleet.RunningOn(guestUUID); len(on) != 1 || on[0] != "node-b" {
			t.Errorf("the guest runs on %v", on)
		}
		w.setAway(false)
		w.requireEnd(w.settle(lm), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
	})
}

// TestAdoptionWhileSteered restarts the source's agent after a step: it is not taken
// anew, and the guest ends up where it should.
func TestAdoptionWhileSteered(t *testing.T) {
	for _, postCopy := range []bool{false, true} {
		t.Run(fmt.Sprintf("post-copy: %t", postCopy), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				lm := w.migrateWith(guestUUID, keepGoing(postCopy))
				w.copying(lm)
				w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
				w.await(lm, "a step", func(lm *v1alpha1.LiveMigration) bool {
					s := lm.Status.Source.Steering
					return s != nil && (s.Pause != nil || s.PostCopy != nil)
				})
				w.a.restart()
				w.requireEnd(w.settle(lm), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "ForceComplete 1 Done")
				w.requireOnce("node-b")
				if n := w.fleet.Count(fake.MethodStartPostCopy, guestUUID) + w.fleet.Count(fake.MethodSuspend, guestUUID); n > 2 {
					t.Errorf("%d steps were taken", n)
				}
			})
		})
	}
}

// TestWhatWasPausedIsResumed: the source's libvirt is killed while the guest stands
// paused for its migration, which ends with that.
func TestWhatWasPausedIsResumed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.await(lm, "a pause", func(lm *v1alpha1.LiveMigration) bool {
			d, err := w.fleet.Host("node-a").LookupDomain(t.Context(), guestUUID)
			return err == nil && d.State == hypervisor.StatePaused
		})
		w.fleet.Host("node-a").KillDaemon()
		time.Sleep(3 * time.Second)
		w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StatePaused, hypervisor.ReasonUser)
		w.fleet.Host("node-a").Reconnect()
		w.requireEnd(w.settle(lm), v1alpha1.PhaseFailed, v1alpha1.ReasonInterrupted, "ForceComplete 1 Done")
		w.requireOnce("node-a")
		w.requireCalls(fake.MethodResume, 1)
	})
}

// TestCrashAtEveryWriteWhileSteered kills an agent around each of its writes of a
// migration that is forced to its end.
func TestCrashAtEveryWriteWhileSteered(t *testing.T) {
	for _, postCopy := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for write := 1; ; write++ {
				reached := false
				t.Run(fmt.Sprintf("post-copy %t, after %t, write %d", postCopy, after, write), func(t *testing.T) {
					inWorld(t, func(w *world) { reached = w.crashAtWriteWhileSteered(postCopy, after, write) })
				})
				if !reached {
					if write < 8 {
						t.Errorf("there were only %d writes to crash at", write-1)
					}
					break
				}
			}
		}
	}
}

func (w *world) crashAtWriteWhileSteered(postCopy, after bool, write int) (reached bool) {
	w.busy()
	crashed := w.crashAt(write, after)
	lm := w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
		keepGoing(postCopy)(lm)
		metav1.SetMetaDataAnnotation(&lm.ObjectMeta, v1alpha1.AnnotationForceComplete, "1")
	})
	time.Sleep(20 * time.Second)
	select {
	case victim := <-crashed:
		reached = true
		victim.restart()
	default:
	}
	w.requireSettledTruth(w.settle(lm))
	return reached
}
