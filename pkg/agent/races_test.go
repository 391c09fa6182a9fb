package agent

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/monitor"
)

// TestAnOlderReportNeverTakesTheIntentAway: the answer to the source's first report is
// lost, and its repetition is slow, while the target gets ready. Were the start recorded
// meanwhile, the repetition would take the record away: the migration could be called
// cancelled before its start, or be started again.
func TestAnOlderReportNeverTakesTheIntentAway(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		var mu sync.Mutex // The agents write side by side.
		attempts, written, started := 0, 0, false
		w.api.before = func(_ int, by *testAgent) bool {
			if by == w.b {
				time.Sleep(80 * time.Millisecond) // The target takes its time.
				return false
			}
			mu.Lock()
			attempts++
			slow := attempts == 2
			mu.Unlock()
			if slow {
				time.Sleep(50 * time.Millisecond)
			}
			return false
		}
		w.api.after = func(_ int, by *testAgent) bool {
			lm := w.api.all()[0]
			mu.Lock()
			defer mu.Unlock()
			if started && !migration.Started(lm) {
				t.Error("the record of the start is gone")
			}
			started = started || migration.Started(lm)
			if by == w.a {
				written++
			}
			return by == w.a && written == 1
		}
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationCancel, "1")
		w.requireEnd(w.settle(lm), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "Cancel 1 Done")
		w.requireOnce("node-a")
		w.requireCalls(fake.MethodAbortJob, 1)
	})
}

// TestALateOutcomeIsCleanedUpAfter: two copies run, and a person destroys one when all
// deadlines have passed. What is left of it goes all the same.
func TestALateOutcomeIsCleanedUpAfter(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsBothRunning})
		lm := w.migrate(guestUUID)
		w.settle(lm)
		time.Sleep(2 * migration.ConfirmTimeout)
		w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StateShutoff, hypervisor.ReasonDestroyed)
		w.await(lm, "an outcome", migration.Finished)
		synctest.Wait()
		w.requireEnd(w.api.get(lm), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
		if _, err := w.fleet.Host("node-a").LookupDomain(t.Context(), guestUUID); !hypervisor.IsNoDomain(err) {
			t.Errorf("the source still knows the guest: %v", err)
		}
		w.requireOnce("node-b")
	})
}

// TestSomebodyElsesMigrationIsLetBe: it began after the guest was checked and before our
// own could, which is therefore refused.
func TestSomebodyElsesMigrationIsLetBe(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		theirs := make(chan error, 1)
		begun := false
		w.api.before = func(_ int, by *testAgent) bool {
			if by == w.b && !begun {
				begun = true
				go func() {
					theirs <- w.fleet.Host("node-a").Migrate(ctx, guestUUID, hypervisor.MigrateParams{DestinationURI: w.fleet.Host("node-c").URI(), LiveXML: "<domain/>"})
				}()
				time.Sleep(100 * time.Millisecond)
			}
			return false
		}
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		time.Sleep(10 * time.Second)
		w.ask(lm, v1alpha1.AnnotationCancel, "2")
		if after := w.settle(lm); after.Status.Phase != v1alpha1.PhaseUnknown {
			t.Errorf("while it runs, ours is %s: %+v", after.Status.Phase, after.Status.Conditions[0])
		}
		for _, method := range []fake.Method{fake.MethodSuspend, fake.MethodStartPostCopy, fake.MethodAbortJob} {
			w.requireCalls(method, 0)
		}
		// It ends, and ours can be settled.
		if err := w.fleet.Host("node-a").AbortJob(t.Context(), guestUUID); err != nil {
			t.Fatal(err)
		}
		<-theirs
		if after := w.await(lm, "an outcome", migration.Finished); after.Status.Phase == v1alpha1.PhaseSucceeded {
			t.Errorf("ours is %s", after.Status.Phase)
		}
		if on := w.fleet.RunningOn(guestUUID); len(on) != 1 || on[0] != "node-a" {
			t.Errorf("the guest runs on %v", on)
		}
	})
}

// TestAPauseThatCameLateHasItsTime, also for the next agent.
func TestAPauseThatCameLateHasItsTime(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *metav1.MicroTime { return new(metav1.NewMicroTime(began.Add(d))) }
	section := &v1alpha1.SourceStatus{Steering: &v1alpha1.SteeringStatus{
		Pause: &v1alpha1.SteeringStep{Reason: string(monitor.ReasonRequested), Time: *at(7 * time.Second), Error: "timed out"},
	}}
	if facts := monitorFacts(section, began, time.Hour); !facts.Pause.Failed {
		t.Errorf("without effect: got %+v", facts.Pause)
	}
	section.Steering.PausedTime = at(100 * time.Second)
	if facts := monitorFacts(section, began, time.Hour); facts.Pause.Failed || facts.Pause.At != 100*time.Second {
		t.Errorf("with a late one: got %+v", facts.Pause)
	}
}

// TestARepeatedPauseThatIsRefusedMayHaveBeenOurs: the agent before may have got it
// through.
func TestARepeatedPauseThatIsRefusedMayHaveBeenOurs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		var ended atomic.Bool
		w.api.after = func(_ int, by *testAgent) bool { // It ends with the record.
			recorded := migration.PausedByUs(w.api.get(lm).Status.Source)
			if by != w.a || !recorded || ended.Swap(true) {
				return false
			}
			by.cancel()
			return true
		}
		w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
		w.await(lm, "the record of a pause", func(lm *v1alpha1.LiveMigration) bool { return migration.PausedByUs(lm.Status.Source) })
		w.a.stop()
		no := &hypervisor.Error{Kind: hypervisor.KindOther, Message: "no numbers"}
		w.fleet.Host("node-a").FailNext(fake.MethodSuspend, no, no)
		w.a.start()
		w.await(lm, "an answer", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Source.Steering.Pause.Error == "no numbers" })
		w.fleet.Host("node-a").KillDaemon()
		w.fleet.Host("node-a").SetState(guestUUID, hypervisor.StatePaused, hypervisor.ReasonUser)
		w.fleet.Host("node-a").Reconnect()
		w.settle(lm)
		w.requireOnce("node-a")
		w.requireCalls(fake.MethodResume, 1)
	})
}

// TestAStaleViewIsMadeUpFor: an agent begins with a view that does not have the start
// which its predecessor has recorded, and is told of it before it starts itself.
func TestAStaleViewIsMadeUpFor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		var mu sync.Mutex
		var stale *v1alpha1.LiveMigration
		w.api.before = func(_ int, by *testAgent) bool {
			// The last view without the start, with the target ready.
			mu.Lock()
			defer mu.Unlock()
			if now := w.api.all()[0]; by == w.a && stale == nil && migration.CurrentTarget(now) != nil && now.Status.Target.ReadyTime != nil {
				stale = now
			}
			return false
		}
		lm := w.migrateWith(guestUUID, keepGoing(false))
		w.copying(lm)
		w.a.stop()
		w.fleet.Host("node-a").FailNext(fake.MethodDomainXML, &hypervisor.Error{Kind: hypervisor.KindOther, Message: "not yet"})
		w.a.startWith(stale)
		synctest.Wait() // It has failed to read the guest's definition, and will try again.
		w.a.deliver(w.api.get(lm))
		time.Sleep(10 * time.Second)
		w.requireCalls(fake.MethodMigrate, 1)
		w.ask(lm, v1alpha1.AnnotationCancel, "1")
		w.requireEnd(w.settle(lm), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "Cancel 1 Done")
		w.requireOnce("node-a")
	})
}

// TestOrdersAreNeverOfTheFuture: the node's clock was set back since.
func TestOrdersAreNeverOfTheFuture(t *testing.T) {
	step := func(s *v1alpha1.SourceStatus, at time.Time) {
		s.Steering.Pause.Time.Time, s.Steering.LastProgressTime.Time = at, at
	}
	section := &v1alpha1.SourceStatus{Steering: &v1alpha1.SteeringStatus{
		Pause: &v1alpha1.SteeringStep{Reason: string(monitor.ReasonRequested)}, LastProgressTime: new(metav1.NewMicroTime(time.Time{})),
	}}
	began, elapsed := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Minute
	for off, want := range map[time.Duration]time.Duration{-time.Hour: 0, 30 * time.Second: 30 * time.Second, time.Hour: elapsed} {
		step(section, began.Add(off))
		if facts := monitorFacts(section, began, elapsed); facts.Pause.At != want || facts.ProgressAt != want {
			t.Errorf("ordered %s after the beginning: got %+v", off, facts)
		}
	}
}

// TestOneFailedLookDoesNotMakeAMigrationOurs: our call waits in libvirt behind
// somebody else's migration, which is known to be foreign. Ours is cancelled, and one look at
// the guest fails, as libvirt did not answer in time.
func TestOneFailedLookDoesNotMakeAMigrationOurs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		a := w.fleet.Host("node-a")
		theirs, release := w.theirsFirst()
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.await(lm, "the start", migration.Started)
		time.Sleep(5 * time.Second)
		w.ask(lm, v1alpha1.AnnotationCancel, "2")
		time.Sleep(5 * time.Second)
		w.requireCalls(fake.MethodAbortJob, 0)
		a.FailNext(fake.MethodLookupDomain, &hypervisor.Error{Kind: hypervisor.KindTimeout, Message: "libvirt did not answer in time"})
		time.Sleep(5 * time.Second)
		w.requireCalls(fake.MethodAbortJob, 0)
		select {
		case err := <-theirs:
			t.Errorf("theirs has ended: %v", err)
		default:
			_ = a.AbortJob(t.Context(), guestUUID)
			<-theirs
		}
		release()
		w.settle(lm)
	})
}

// TestSomebodyElsesPostCopyIsNotOurs: as above, and theirs switches to post-copy while
// libvirt does not answer a look of ours.
func TestSomebodyElsesPostCopyIsNotOurs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		a := w.fleet.Host("node-a")
		theirs, release := w.theirsFirst()
		gate := w.fleet.Hold(guestUUID, fake.StageSwitched)
		lm := w.migrateWith(guestUUID, keepGoing(true))
		w.await(lm, "the start", migration.Started)
		time.Sleep(5 * time.Second)
		timeout := &hypervisor.Error{Kind: hypervisor.KindTimeout, Message: "libvirt did not answer in time"}
		a.FailNext(fake.MethodLookupDomain, timeout, timeout, timeout, timeout)
		time.Sleep(300 * time.Millisecond)
		if err := a.StartPostCopy(t.Context(), guestUUID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		w.api.update(lm.UID, func(*v1alpha1.LiveMigration) {})
		now := w.api.get(lm)
		t.Logf("%s: %s", now.Status.Phase, now.Status.Conditions[0].Message)
		if s := now.Status.Source; s.Steering != nil && s.Steering.PostCopyTime != nil {
			t.Errorf("theirs is taken for ours: %+v; lost %v", s.Steering, now.Status.Target.LostTime)
		}
		gate.Release()
		<-theirs
		release()
		w.settle(lm)
	})
}
