package agent

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestALostCallMayStillWaitForItsTurn in libvirt, and move the guest later. Who has lost
// it must not call the migration over meanwhile, nor must one that adopts it.
func TestALostCallMayStillWaitForItsTurn(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inWorld(t, func(w *world) {
			release := w.fleet.Host("node-a").Hang(fake.MethodMigrate)
			lm := w.migrate(guestUUID)
			w.await(lm, "the start", migration.Started)
			time.Sleep(time.Second)
			if restart {
				w.a.restart()
			} else {
				w.fleet.Host("node-a").LoseConnection()
			}
			time.Sleep(25 * time.Second)
			release()
			w.requireEnd(w.settle(lm), v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
			w.requireOnce("node-b")
		})
	}
}

// TestALostCallEnds when libvirt has let it wait for as long as it does.
func TestALostCallEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		_ = w.fleet.Host("node-a").Hang(fake.MethodMigrate)
		lm := w.migrate(guestUUID)
		w.await(lm, "the start", migration.Started)
		began := time.Now()
		time.Sleep(time.Second) // The call follows the record of the start.
		w.fleet.Host("node-a").LoseConnection()
		w.requireEnd(w.settle(lm), v1alpha1.PhaseFailed, v1alpha1.ReasonInterrupted, "")
		if took := time.Since(began); took < migration.JobWait || took > migration.JobWait+10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestARecordWithoutAnAnswerStartsNothing: the agent that has written it knows so, and
// says so at once.
func TestARecordWithoutAnAnswerStartsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		var lost sync.Once
		w.api.after = func(_ int, by *testAgent) (failed bool) {
			if by == w.a && migration.Started(w.api.all()[0]) {
				lost.Do(func() { failed = true })
			}
			return failed
		}
		began := time.Now()
		lm := w.settle(w.migrate(guestUUID))
		w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonNotStarted, "")
		if message := lm.Status.Conditions[0].Message; !strings.Contains(message, "still runs on node-a") || !strings.Contains(message, "othing was started") {
			t.Errorf("the message is %q", message)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		w.requireCalls(fake.MethodMigrate, 0)
		w.requireOnce("node-a")
	})
}

// TestACallThatWasNeverSentStartedNothing: the connection for it could not be made.
func TestACallThatWasNeverSentStartedNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-a").FailNext(fake.MethodMigrate, fake.Error(hypervisor.KindNotSent, "connecting to libvirt failed: refused"))
		began := time.Now()
		lm := w.settle(w.migrate(guestUUID))
		w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonNotStarted, "")
		if message := lm.Status.Conditions[0].Message; !strings.Contains(message, "connecting to libvirt failed: refused") {
			t.Errorf("the message is %q", message)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		w.requireOnce("node-a")
	})
}

// theirsFirst has somebody else begin to move the guest to node-c before our call, which
// waits in libvirt until it is released. What it returns ends with theirs.
func (w *world) theirsFirst() (theirs <-chan error, release func()) {
	var held func()
	theirs = w.theirsBefore(2*time.Second, func() { held = w.fleet.Host("node-a").Hang(fake.MethodMigrate) })
	return theirs, func() { held() }
}

// theirsBefore has somebody else begin to move the guest to node-c some time before our call.
func (w *world) theirsBefore(age time.Duration, then func()) <-chan error {
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	ended := make(chan error, 1)
	var once sync.Once
	a := w.fleet.Host("node-a")
	w.api.before = func(_ int, by *testAgent) bool {
		if by == w.b {
			once.Do(func() {
				go func() {
					ended <- a.Migrate(ctx, guestUUID, hypervisor.MigrateParams{
						DestinationURI: w.fleet.Host("node-c").URI(), LiveXML: "<domain/>", PostCopy: true,
					})
				}()
				time.Sleep(age)
				then()
			})
		}
		return false
	}
	return ended
}

// TestSomebodyElsesMigrationGoesFirst: our call waits until theirs is over. Theirs is
// neither steered nor aborted, whatever is asked of ours.
func TestSomebodyElsesMigrationGoesFirst(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.busy()
			theirs, release := w.theirsFirst()
			lm := w.migrateWith(guestUUID, keepGoing(true))
			w.await(lm, "the start", migration.Started)
			w.ask(lm, v1alpha1.AnnotationForceComplete, "1")
			time.Sleep(5 * time.Second)
			if restart {
				w.a.restart()
				time.Sleep(5 * time.Second)
			}
			w.ask(lm, v1alpha1.AnnotationCancel, "2")
			time.Sleep(5 * time.Second)
			for _, method := range []fake.Method{fake.MethodSuspend, fake.MethodStartPostCopy, fake.MethodAbortJob, fake.MethodSetMaxDowntime} {
				w.requireCalls(method, 0)
			}
			if s := w.api.get(lm).Status.Source; s.JobStartedTime != nil || s.End != nil {
				t.Errorf("theirs is taken for ours: %+v", s)
			}
			// Theirs ends, and ours begins.
			if err := w.fleet.Host("node-a").AbortJob(t.Context(), guestUUID); err != nil {
				t.Fatal(err)
			}
			<-theirs
			release()
			w.requireEnd(w.settle(lm), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "ForceComplete 1 Refused, Cancel 2 Done")
			if on := w.fleet.RunningOn(guestUUID); len(on) != 1 || on[0] != "node-a" {
				t.Errorf("the guest runs on %v", on)
			}
		})
	}
}

// TestOnlyOurOwnMigrationIsProgress: a backup, say, completes as well.
func TestOnlyOurOwnMigrationIsProgress(t *testing.T) {
	now := time.Now()
	done := func(operation hypervisor.JobOperation, took time.Duration) hypervisor.Event {
		return hypervisor.Event{Type: hypervisor.EventJobCompleted, Stats: hypervisor.JobStats{
			Operation: operation, Elapsed: took, Memory: hypervisor.Transfer{TotalBytes: 1 << 30},
		}}
	}
	for _, c := range []struct {
		name    string
		started bool
		failed  bool
		event   hypervisor.Event
		want    bool
	}{
		{"our migration", true, false, done(hypervisor.OperationMigrationOut, time.Second), true},
		{"a backup", true, false, done(hypervisor.OperationOther, time.Second), false},
		{"somebody else's migration", true, false, done(hypervisor.OperationMigrationOut, time.Hour), false},
		{"somebody else's migration after ours has failed", true, true, done(hypervisor.OperationMigrationOut, time.Second), false},
		{"a migration before ours", false, false, done(hypervisor.OperationMigrationOut, time.Second), false},
	} {
		s := &sourceSession{node: &Node{Clock: clock.RealClock{}}, section: &v1alpha1.SourceStatus{}, lm: &v1alpha1.LiveMigration{}}
		if c.failed {
			s.section.End = &v1alpha1.SourceEnd{Call: v1alpha1.CallFailed, Domain: v1alpha1.DomainObservation{State: "Running"}}
		}
		if c.started {
			s.section.StartRequestedTime, s.called = new(metav1.NewMicroTime(now.Add(-time.Minute))), now.Add(-time.Minute)
		}
		s.noteEvent(c.event)
		if got := s.progress != nil && s.progress.Percent == 100; got != c.want {
			t.Errorf("%s: progress is %+v", c.name, s.progress)
		}
	}
}
