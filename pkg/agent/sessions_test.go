package agent

import (
	"errors"
	"fmt"
	"slices"
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

// TestEndings goes through the ways in which a migration may end.
func TestEndings(t *testing.T) {
	for _, c := range []struct {
		ending fake.Ending
		phase  v1alpha1.LiveMigrationPhase
		reason string
		on     []string
	}{
		{fake.EndsWell, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, []string{"node-b"}},
		{fake.EndsPoweredOff, v1alpha1.PhaseFailed, v1alpha1.ReasonGuestStopped, nil},
		{fake.EndsCrashed, v1alpha1.PhaseFailed, v1alpha1.ReasonGuestStopped, nil},
		{fake.EndsTargetLost, v1alpha1.PhaseFailed, v1alpha1.ReasonMigrationFailed, []string{"node-a"}},
		{fake.EndsShellLeft, v1alpha1.PhaseFailed, v1alpha1.ReasonMigrationFailed, []string{"node-a"}},
		{fake.EndsSourceKept, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, []string{"node-b"}},
		{fake.EndsNeither, v1alpha1.PhaseUnknown, v1alpha1.ReasonOutcomeUnknown, nil},
	} {
		for _, deaf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%q, events lost: %t", c.ending, deaf), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.fleet.Host("node-a").DropEvents(deaf)
					w.fleet.Host("node-b").DropEvents(deaf)
					w.fleet.ScriptNext(guestUUID, fake.Script{Ending: c.ending})
					lm := w.settle(w.migrate(guestUUID))
					if lm.Status.Phase != c.phase || reason(lm) != c.reason {
						t.Errorf("the end is %s %s, want %s %s: %+v", lm.Status.Phase, reason(lm), c.phase, c.reason, lm.Status.Conditions)
					}
					on := w.fleet.RunningOn(guestUUID)
					slices.Sort(on)
					if !slices.Equal(on, c.on) {
						t.Errorf("the guest runs on %v, want %v", on, c.on)
					}
					w.requireNothingLeft(lm)
				})
			})
		}
	}
}

// requireNothingLeft fails if a settled migration left a shell on the target or
// a definition on the source.
func (w *world) requireNothingLeft(lm *v1alpha1.LiveMigration) {
	w.t.Helper()
	if !migration.Finished(lm) {
		return
	}
	if d, err := w.fleet.Host("node-b").LookupDomain(w.t.Context(), guestUUID); err == nil && !running(d) {
		w.t.Errorf("on the target a domain is left: %+v", d)
	}
	if d, err := w.fleet.Host("node-a").LookupDomain(w.t.Context(), guestUUID); err == nil && lm.Status.Phase == v1alpha1.PhaseSucceeded {
		w.t.Errorf("on the source a domain is left: %+v", d)
	}
}

// TestCrashAtEveryWrite kills an agent right before and right after each of its
// writes, and starts it again: the migration is started at most once, and ends
// as the truth is.
func TestCrashAtEveryWrite(t *testing.T) {
	for _, moment := range []string{"before", "after"} {
		for write := 1; ; write++ {
			reached := false
			t.Run(fmt.Sprintf("%s write %d", moment, write), func(t *testing.T) {
				inWorld(t, func(w *world) {
					crashed := make(chan *testAgent, 1)
					crash := func(n int, by *testAgent) bool {
						if n != write {
							return false
						}
						reached = true
						by.cancel()
						crashed <- by
						return true
					}
					if moment == "before" {
						w.api.before = crash
					} else {
						w.api.after = crash
					}
					lm := w.migrate(guestUUID)
					time.Sleep(30 * time.Second)
					select {
					case victim := <-crashed:
						victim.restart()
					default:
					}
					w.requireSettledTruth(w.settle(lm))
				})
			})
			if !reached {
				if write < 5 {
					t.Errorf("there were only %d writes to crash at", write-1)
				}
				break
			}
		}
	}
}

// TestStopRightAfterTheIntent tells an agent to stop when it has recorded its
// intent and not yet called libvirt: the call is still made, and the next agent
// adopts its job.
func TestStopRightAfterTheIntent(t *testing.T) {
	inWorld(t, func(w *world) {
		stopped := make(chan struct{})
		w.api.after = func(_ int, by *testAgent) bool {
			lm := w.api.all()[0]
			if by == w.a && lm.Status.Source.StartRequestedTime != nil && lm.Status.Source.JobStartedTime == nil {
				by.cancel()
				close(stopped)
			}
			return false
		}
		lm := w.migrate(guestUUID)
		<-stopped
		w.a.restart()
		if lm := w.settle(lm); lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("the end is %s %s", lm.Status.Phase, reason(lm))
		}
		w.requireOnce("node-b")
	})
}

// TestConflictWithNothingNew: the intent is refused because the object has another
// version, of which nothing else is new. The session must not wait for news.
func TestConflictWithNothingNew(t *testing.T) {
	inWorld(t, func(w *world) {
		var lm *v1alpha1.LiveMigration
		touched := false
		w.api.before = func(_ int, by *testAgent) bool {
			now := w.api.all()[0]
			if ready := migration.CurrentTarget(now); !touched && by == w.a && ready != nil && ready.ReadyTime != nil {
				touched = true
				w.api.touch(now.UID)
			}
			return false
		}
		lm = w.migrate(guestUUID)
		time.Sleep(30 * time.Second)
		if now := w.api.get(lm); now.Status.Phase != v1alpha1.PhaseSucceeded || !touched {
			t.Errorf("after 30 s the migration is %s, touched %t", now.Status.Phase, touched)
		}
	})
}

// requireSettledTruth fails unless the guest runs where the status says.
func (w *world) requireSettledTruth(lm *v1alpha1.LiveMigration) {
	w.t.Helper()
	switch lm.Status.Phase {
	case v1alpha1.PhaseSucceeded:
		w.requireOnce("node-b")
	case v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled:
		w.requireOnce("node-a")
	default:
		w.t.Errorf("the end is %s: %+v", lm.Status.Phase, lm.Status.Conditions)
	}
	w.requireNothingLeft(lm)
}

// TestAdoption restarts the source's agent at each stage of a running migration.
func TestAdoption(t *testing.T) {
	for _, stage := range []fake.Stage{fake.StagePreparing, fake.StageCopying, fake.StageStopped, fake.StageSwitched, fake.StageFinished} {
		t.Run(fmt.Sprintf("stage %d", stage), func(t *testing.T) {
			inWorld(t, func(w *world) {
				gate := w.fleet.Hold(guestUUID, stage)
				lm := w.migrate(guestUUID)
				<-gate.Reached()
				before := w.api.get(lm)
				w.a.restart()
				time.Sleep(10 * time.Second)
				gate.Release()
				after := w.settle(lm)
				if after.Status.Phase != v1alpha1.PhaseSucceeded {
					t.Errorf("the end is %s: %+v", after.Status.Phase, after.Status.Conditions)
				}
				w.requireOnce("node-b")
				if after.Status.Attempt.ID != before.Status.Attempt.ID {
					t.Error("another attempt was made")
				}
			})
		})
	}
}

func TestCancelAtEveryStage(t *testing.T) {
	for _, stage := range []fake.Stage{fake.StagePreparing, fake.StageCopying, fake.StageSwitched} {
		for _, adopted := range []bool{false, true} {
			t.Run(fmt.Sprintf("stage %d, adopted: %t", stage, adopted), func(t *testing.T) {
				inWorld(t, func(w *world) {
					gate := w.fleet.Hold(guestUUID, stage)
					lm := w.migrate(guestUUID)
					<-gate.Reached()
					if adopted {
						w.a.restart()
					}
					w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) { lm.DeletionTimestamp = new(metav1.Now()) })
					time.Sleep(5 * time.Second)
					gate.Release()
					after := w.settle(lm)
					w.requireSettledTruth(after)
					if stage != fake.StageSwitched && after.Status.Phase != v1alpha1.PhaseCancelled {
						t.Errorf("the end is %s %s, want it cancelled", after.Status.Phase, reason(after))
					}
				})
			})
		}
	}
}

// TestHungCallStopsNothingElse: while one session hangs in the hypervisor,
// another of the same agent goes on to its end.
func TestHungCallStopsNothingElse(t *testing.T) {
	const other = "22222222-2222-4222-8222-222222222222"
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: other, Name: "other"})
		gate := w.fleet.Hold(other, fake.StageCopying)
		running := w.migrate(other)
		<-gate.Reached()
		release := w.fleet.Host("node-a").Hang(fake.MethodDomainXML)
		stuck := w.migrate(guestUUID)
		time.Sleep(time.Second)
		gate.Release()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if now := w.api.get(running); now.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("the other migration is %s: %+v", now.Status.Phase, now.Status.Conditions)
		}
		if w.fleet.Host("node-a").Hanging(fake.MethodDomainXML) == 0 {
			t.Error("nothing hangs: this proves nothing")
		}
		release()
		if now := w.settle(stuck); now.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("the migration that hung is %s: %+v", now.Status.Phase, now.Status.Conditions)
		}
		w.requireOnce("node-b")
	})
}

// TestHypervisorThatHangsForEver: the migration ends, by the manager's patience.
func TestHypervisorThatHangsForEver(t *testing.T) {
	inWorld(t, func(w *world) {
		release := w.fleet.Host("node-b").Hang(fake.MethodHostInfo)
		defer release()
		lm := w.settle(w.migrate(guestUUID))
		if lm.Status.Phase != v1alpha1.PhaseFailed || reason(lm) != v1alpha1.ReasonNodeNotReady {
			t.Errorf("the end is %s %s", lm.Status.Phase, reason(lm))
		}
		w.requireOnce("node-a")
	})
}

// TestAPIServerAway: the migration does not need it, and the status catches up.
func TestAPIServerAway(t *testing.T) {
	inWorld(t, func(w *world) {
		gate := w.fleet.Hold(guestUUID, fake.StageCopying)
		lm := w.migrate(guestUUID)
		<-gate.Reached()
		w.setAway(true)
		gate.Release()
		time.Sleep(30 * time.Second)
		w.requireOnce("node-b")
		w.setAway(false)
		after := w.settle(lm)
		if after.Status.Phase != v1alpha1.PhaseSucceeded || after.Status.Progress.DowntimeMilliseconds == nil {
			t.Errorf("the status does not catch up: %s, %+v", after.Status.Phase, after.Status.Progress)
		}
	})
}

func (w *world) setAway(away bool) {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	w.api.away = away
}

// TestSourceHypervisorRestartsMidway: libvirt cancels the migration.
func TestSourceHypervisorRestartsMidway(t *testing.T) {
	inWorld(t, func(w *world) {
		gate := w.fleet.Hold(guestUUID, fake.StageCopying)
		lm := w.migrate(guestUUID)
		<-gate.Reached()
		w.fleet.Host("node-a").KillDaemon()
		time.Sleep(3 * time.Second)
		w.fleet.Host("node-a").Reconnect()
		after := w.settle(lm)
		if after.Status.Phase != v1alpha1.PhaseFailed || reason(after) != v1alpha1.ReasonInterrupted {
			t.Errorf("the end is %s %s", after.Status.Phase, reason(after))
		}
		w.requireOnce("node-a")
	})
}

// TestProgressOfAGuestThatNobodySawLeave: everything of it is copied all the same.
func TestProgressOfAGuestThatNobodySawLeave(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web"})
		gate := w.fleet.Hold(guestUUID, fake.StageCopying)
		lm := w.migrate(guestUUID)
		<-gate.Reached()
		time.Sleep(time.Second)
		w.a.stop()
		gate.Release()
		time.Sleep(time.Minute)
		w.a.start()
		after := w.settle(lm)
		time.Sleep(5 * time.Second)
		after = w.api.get(after)
		if after.Status.Phase != v1alpha1.PhaseSucceeded || after.Status.Progress == nil || after.Status.Progress.Percent != 100 {
			t.Errorf("the end is %s %s, with the progress %+v", after.Status.Phase, reason(after), after.Status.Progress)
		}
		w.requireOnce("node-b")
	})
}

// TestProgressIsWrittenRarely: a long migration costs few writes.
func TestProgressIsWrittenRarely(t *testing.T) {
	inWorld(t, func(w *world) {
		gate := w.fleet.Hold(guestUUID, fake.StageStopped)
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", MemoryBytes: 64 << 30})
		lm := w.migrate(guestUUID)
		time.Sleep(2 * time.Second)
		before := w.writes()
		const watched = 40 * time.Second
		time.Sleep(watched)
		if n := w.writes() - before; n < 10 || n > int(watched/progressInterval)+2 {
			t.Errorf("%d writes in %s", n, watched)
		}
		gate.Release()
		w.settle(lm)
	})
}

func (w *world) writes() int {
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	return w.api.writes
}

// TestManyMigrationsShareTheWrites: what an agent writes of progress does not grow
// with the number of guests that it sends, and each is still written about.
func TestManyMigrationsShareTheWrites(t *testing.T) {
	const guests, span = 50, time.Minute
	inWorld(t, func(w *world) {
		var all []*v1alpha1.LiveMigration
		for i := range guests {
			uuid := fmt.Sprintf("%04d1111-1111-4111-8111-111111111111", i)
			w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: uuid, Name: uuid, MemoryBytes: 4 << 30, DirtyBytesPerSecond: 8 << 30})
			all = append(all, w.migrateWith(uuid, keepGoing(false)))
		}
		for _, lm := range all {
			w.copying(lm)
		}
		elapsed := func(lm *v1alpha1.LiveMigration) int64 { return w.api.get(lm).Status.Progress.ElapsedMilliseconds }
		before, began := w.api.writeCount(), elapsed(all[0])
		time.Sleep(span)
		if perSecond := float64(w.api.writeCount()-before) / span.Seconds(); perSecond > 10.5 {
			t.Errorf("%.1f writes a second", perSecond)
		}
		if told := time.Duration(elapsed(all[0])-began) * time.Millisecond; told < span-10*time.Second {
			t.Errorf("in %s, the status went on by %s", span, told)
		}
	}, fake.WithWorkers(2*guests, guests))
}

// TestWhatWasHeardBeforeTheCallReturnedCounts: the switch to post-copy, and the end of
// the call right after it, may wait to be taken in side by side.
func TestWhatWasHeardBeforeTheCallReturnedCounts(t *testing.T) {
	for range 50 {
		events := make(chan hypervisor.Event, 1)
		s := &sourceSession{
			node: &Node{Clock: clock.RealClock{}}, box: newMailbox(&v1alpha1.LiveMigration{}), returned: make(chan error, 1),
			section: &v1alpha1.SourceStatus{StartRequestedTime: new(metav1.NowMicro())}, now: sighting{seen: true, jobSeen: true},
		}
		events <- hypervisor.Event{
			Type: hypervisor.EventLifecycle, Lifecycle: hypervisor.LifecycleSuspended, Detail: hypervisor.DetailPostcopy,
		}
		s.returned <- errors.New("the guest is gone")
		for s.call != migration.CallReturned {
			s.await(t.Context(), events, 0)
		}
		if !migration.InPostCopy(s.section) {
			t.Fatal("the switch to post-copy is not known when the call has returned")
		}
	}
}
