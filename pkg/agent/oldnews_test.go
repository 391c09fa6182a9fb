package agent

import (
	"strings"
	"sync"
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

// TestTheOnlyCopyLeftIsNotPausedAgain: both copies ran, and the source's was paused. Then
// the target's host dies, and a person resumes the only copy that is left.
func TestTheOnlyCopyLeftIsNotPausedAgain(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsBothRunning})
			lm := w.settle(w.migrate(guestUUID))
			time.Sleep(5 * time.Second)
			w.requireCalls(fake.MethodSuspend, 1)
			w.b.stop()
			w.fleet.Host("node-b").Disconnect()
			w.fleet.Host("node-b").RemoveGuest(guestUUID)
			if restart {
				w.a.restart()
			}
			if err := w.fleet.Host("node-a").Resume(t.Context(), guestUUID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			w.requireCalls(fake.MethodSuspend, 1)
			w.requireOnce("node-a")
			if now := w.api.get(lm); migration.Finished(now) {
				t.Errorf("it is settled though the target was not seen since: %+v", now.Status.Conditions)
			}
			w.fleet.Host("node-b").Reconnect()
			w.b.start()
			w.await(lm, "an outcome", migration.Finished)
			w.requireOnce("node-a")
			w.requireCalls(fake.MethodSuspend, 1)
		})
	}
}

// TestACopyIsNotPausedUnlessThatIsRecorded: who comes after must know.
func TestACopyIsNotPausedUnlessThatIsRecorded(t *testing.T) {
	inWorld(t, func(w *world) {
		var mu sync.Mutex
		refused := false
		w.api.before = func(_ int, by *testAgent) bool {
			mu.Lock()
			defer mu.Unlock()
			lm := w.api.all()[0]
			ended := lm.Status.Source != nil && lm.Status.Source.End != nil
			refuse := by == w.a && ended && lm.Status.Target.ConfirmedTime != nil && !refused
			refused = refused || refuse
			if refuse {
				if n := w.fleet.Count(fake.MethodSuspend, guestUUID); n != 0 {
					t.Errorf("it was paused %d times before that was recorded", n)
				}
			}
			return refuse
		}
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsBothRunning})
		lm := w.settle(w.migrate(guestUUID))
		time.Sleep(5 * time.Second)
		w.requireCalls(fake.MethodSuspend, 1)
		if now := w.api.get(lm); now.Status.Source.End.CopyPausedTime == nil || !refused {
			t.Errorf("refused %t, recorded %v", refused, now.Status.Source.End.CopyPausedTime)
		}
	})
}

// TestWhatChangesAfterTheEndIsToldAtOnce: the verdict depends on it.
func TestWhatChangesAfterTheEndIsToldAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsBothRunning})
		lm := w.settle(w.migrate(guestUUID))
		const step = 90 * time.Millisecond
		for i, reason := range []hypervisor.Reason{"IOError", "Watchdog", "User", "IOError", "Watchdog", "User"} {
			time.Sleep(time.Minute + time.Duration(i)*step)
			w.fleet.Host("node-b").SetState(guestUUID, hypervisor.StatePaused, reason)
			changed := time.Now()
			w.await(lm, "the target's word", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Target.Domain.Reason == string(reason) })
			if took := time.Since(changed); took > followInterval+step {
				t.Errorf("after %d steps, it took %s", i, took)
			}
		}
	})
}

// TestAFreshBootIsNoArrival: somebody starts an old definition of the guest on the target
// while the guest is being migrated. libvirt refuses to migrate, and the guest with the
// work is the source's.
func TestAFreshBootIsNoArrival(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.fleet.Host("node-b")
		var once sync.Once
		// Before the target's word is heard: the source starts upon it.
		w.api.spoil = func(*v1alpha1.TargetStatus) {
			once.Do(func() { b.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true}) })
		}
		lm := w.settle(w.migrate(guestUUID))
		w.requireEnd(lm, v1alpha1.PhaseUnknown, v1alpha1.ReasonOutcomeUnknown, "")
		if message := lm.Status.Conditions[0].Message; !strings.Contains(message, "destroy the target's copy") {
			t.Errorf("the message is %q", message)
		}
		time.Sleep(time.Minute)
		w.requireCalls(fake.MethodSuspend, 0)
		w.requireCalls(fake.MethodDestroyStale, 0)
		b.SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonDestroyed)
		w.await(lm, "an outcome", migration.Finished)
		w.requireEnd(w.api.get(lm), v1alpha1.PhaseFailed, v1alpha1.ReasonMigrationFailed, "")
		w.requireOnce("node-a")
	})
}

// TestAnotherAttemptBeginsWithNothing that was heard or tried in an earlier one.
func TestAnotherAttemptBeginsWithNothing(t *testing.T) {
	attempt := func(id string) *v1alpha1.LiveMigration {
		return &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{Attempt: &v1alpha1.AttemptStatus{ID: id}}}
	}
	box := newMailbox(attempt("1"))
	target := &targetSession{node: &Node{Clock: clock.RealClock{}}, box: box}
	source := &sourceSession{node: target.node, box: box}
	refresh := func() {
		target.refreshFacts()
		source.refreshFacts(t.Context())
	}
	refresh()
	target.incoming, target.asked, source.intent = true, time.Now(), new(metav1.NowMicro())
	refresh()
	if !target.incoming || target.asked.IsZero() || source.intent == nil {
		t.Error("what was heard in this attempt is forgotten")
	}
	box.put(attempt("2"))
	refresh()
	if target.incoming || !target.asked.IsZero() || source.intent != nil {
		t.Errorf("another attempt begins with incoming %t, asked %v, intent %v", target.incoming, target.asked, source.intent)
	}
}

// TestADefinitionMadeWhileItWaitedStays: the target is prepared, and the migration waits for
// its slot for copying, which may take hours. Meanwhile an administrator defines the guest on
// the target. The migration fails, and the definition has not come with it.
func TestADefinitionMadeWhileItWaitedStays(t *testing.T) {
	inWorld(t, func(w *world) {
		b := w.fleet.Host("node-b")
		w.fleet.Host("node-a").FailNext(fake.MethodMigrate, &hypervisor.Error{Kind: hypervisor.KindOther, Message: "no"})
		w.api.full = true
		lm := w.migrate(guestUUID)
		w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
		})
		b.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true})
		b.SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonShutdown)
		time.Sleep(5 * time.Second)
		w.api.update(lm.UID, func(*v1alpha1.LiveMigration) { w.api.full = false }) // The API's mutex is held.
		after := w.settle(lm)
		if after.Status.Phase != v1alpha1.PhaseFailed || b.Count(fake.MethodUndefine, guestUUID) != 0 {
			t.Errorf("%s, and the definition was removed %d times", after.Status.Phase, b.Count(fake.MethodUndefine, guestUUID))
		}
	})
}

// TestASuccessorTakesNothingBack that its predecessor has reported, although what it is told
// first is older, maybe from before the start, and the guest is not there any more to be asked.
func TestASuccessorTakesNothingBack(t *testing.T) {
	for name, beforeStart := range map[string]bool{"news from after the start": false, "news from before the start": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				lm := w.migrateWith(guestUUID, keepGoing(false))
				var early *v1alpha1.LiveMigration
				for now := lm; now.Status.Progress == nil || now.Status.Progress.Percent < 50; now = w.api.get(lm) {
					if early == nil && now.Status.Progress != nil {
						early = now
					}
					time.Sleep(100 * time.Millisecond)
				}
				if early == nil || early.Status.Progress.Percent >= 50 {
					t.Fatal("there was no progress in between")
				}
				w.a.stop()
				if !w.fleet.Host("node-a").Destroy(guestUUID) {
					t.Fatal("the guest cannot be destroyed")
				}
				if beforeStart {
					earlier := early.DeepCopy()
					earlier.Status.Source.StartRequestedTime, earlier.Status.Source.JobStartedTime, earlier.Status.Progress = nil, nil, nil
					earlier.Status.Attempt.CopyGrantedTime = nil
					w.a.startWith(earlier)
					synctest.Wait()
					w.a.deliver(early)
				} else {
					w.a.startWith(early)
				}
				w.settle(lm) // The API of this world takes no progress that falls.
			})
		})
	}
}

// TestASuccessorTakesNothingBackThatArrivesLate: the last report of its predecessor is carried
// out when the successor has read the object already.
func TestASuccessorTakesNothingBackThatArrivesLate(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		for now := lm; now.Status.Progress == nil || now.Status.Progress.Percent < 20; now = w.api.get(lm) {
			time.Sleep(100 * time.Millisecond)
		}
		w.a.stop()
		var once sync.Once
		w.api.before = func(_ int, by *testAgent) bool {
			if by == w.a {
				once.Do(func() {
					w.api.update(lm.UID, func(now *v1alpha1.LiveMigration) { now.Status.Progress.Percent = 99 })
				})
			}
			return false
		}
		w.a.restart()
		time.Sleep(10 * time.Second)
		w.fleet.Host("node-a").Destroy(guestUUID)
		w.settle(lm) // The API of this world takes no progress that falls.
	})
}

// TestATargetsSuccessorTakesNothingBack either: it would find the image that was made for the
// guest in the guest's way, refuse it, and forget the image.
func TestATargetsSuccessorTakesNothingBack(t *testing.T) {
	for name, started := range map[string]bool{"before the start": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				change := copies(v1alpha1.StorageCopyOptions{})
				if started {
					w.busy()
					change = keepGoing(true)
				} else {
					w.diskGuest()
					w.api.full = true
				}
				lm := w.migrateWith(guestUUID, change)
				w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil && migration.Started(lm) == started && lm.Status.Source.Storage == nil
				})
				w.b.stop()
				early := w.api.get(lm).DeepCopy()
				early.Status.Target = nil
				w.b.startWith(early)
				time.Sleep(5 * time.Second)
				if now := w.api.get(lm).Status.Target; now == nil || now.Problem != nil || now.ReadyTime == nil {
					t.Errorf("the target is %+v", now)
				}
				w.api.update(lm.UID, func(*v1alpha1.LiveMigration) { w.api.full = false }) // The API's mutex is held.
				if started {
					w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
				}
				if after := w.settle(lm); after.Status.Phase != v1alpha1.PhaseSucceeded {
					t.Errorf("it ends in %s: %+v", after.Status.Phase, after.Status.Conditions)
				}
				w.requireOnce("node-b")
			})
		})
	}
}

// TestATargetsSuccessorDoesNotDisownImages that are in use by now, because it is first told that
// they are to be made.
func TestATargetsSuccessorDoesNotDisownImages(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		w.api.full = true
		lm := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{}))
		now := w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
		})
		w.b.stop()
		w.fleet.Host("node-b").AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 1 << 30})
		early := now.DeepCopy()
		early.Status.Target.ReadyTime, early.Status.Target.Images[0].State = nil, v1alpha1.TargetImagePlanned
		w.b.startWith(early)
		time.Sleep(5 * time.Second)
		if now := w.api.get(lm).Status.Target; now == nil || now.Problem != nil || now.ReadyTime == nil || now.Images[0].State != v1alpha1.TargetImageMade {
			t.Errorf("the target is %+v", now)
		}
	})
}

// TestATargetsSuccessorRemovesNothingOfTheNext migration, whose image is where that of the one
// was which it first hears of.
func TestATargetsSuccessorRemovesNothingOfTheNext(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		w.api.full = true
		lm := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{}))
		early := w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
		}).DeepCopy()
		early.Status.Attempt.AbandonedTime = new(metav1.NewMicroTime(time.Now()))
		w.ask(lm, v1alpha1.AnnotationCancel, "now")
		w.settle(lm)
		w.requireFiles("node-b", "")
		w.b.stop()
		w.fleet.Host("node-b").AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30})
		w.b.startWith(early)
		time.Sleep(5 * time.Second)
		w.requireFiles("node-b", "/images/web.qcow2")
	})
}
