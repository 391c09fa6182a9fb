package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestAnObjectThatWasMadeAnew under the same name ends the session of the one before, and news
// of the same object does not.
func TestAnObjectThatWasMadeAnew(t *testing.T) {
	seen := map[string]chan bool{"uid-a": make(chan bool, 9), "other": make(chan bool, 9)}
	run := func(ctx context.Context, box *mailbox) {
		for {
			lm, gone := box.get()
			seen[string(lm.UID)] <- gone
			if gone {
				return
			}
			select {
			case <-box.changed:
			case <-ctx.Done():
				return
			}
		}
	}
	last := func(uid string) (gone bool, looks int) {
		synctest.Wait()
		for looks = 0; len(seen[uid]) > 0; looks++ {
			gone = <-seen[uid]
		}
		return gone, looks
	}
	lifeOf(t, logr.Discard(), run, func(s *Sessions) {
		lm := objectNamed("a")
		s.Ensure(lm)
		last("uid-a")
		progress := lm.DeepCopy()
		progress.Status.Progress = &v1alpha1.ProgressStatus{}
		s.Ensure(progress)
		if _, looks := last("uid-a"); looks != 0 {
			t.Error("it was woken for its own progress")
		}
		anew := objectNamed("a")
		anew.UID = "other"
		s.Ensure(anew)
		if gone, _ := last("uid-a"); !gone {
			t.Error("the session of the object that is gone goes on")
		}
		if gone, looks := last("other"); gone || looks != 1 || !s.Serves(keyOf(anew)) {
			t.Errorf("the new one has looked %d times, and is gone: %t", looks, gone)
		}
	})
}

// TestASuccessorTakesNoProgressBack: the percentage that its predecessor has told never falls,
// but what was told of another attempt is none of this one's. After its first report, the
// successor adds to what it has said itself, whatever others write meanwhile.
func TestASuccessorTakesNoProgressBack(t *testing.T) {
	for attempt, want := range map[string]int32{"attempt-uid-" + guestUUID: 97, "another": 3} {
		inWorld(t, func(w *world) {
			found := &v1alpha1.LiveMigration{}
			found.UID, found.ResourceVersion = "uid-"+guestUUID, "1"
			found.Status.Attempt = &v1alpha1.AttemptStatus{ID: attempt}
			found.Status.Source = &v1alpha1.SourceStatus{AttemptID: attempt}
			found.Status.Progress = &v1alpha1.ProgressStatus{Percent: 97}
			recorded := &recordedReports{}
			w.a.node.Recorder = recorded
			s := &sourceSession{node: w.a.node}
			s.foundation.Store(found)
			report := SourceReport{
				Section: &v1alpha1.SourceStatus{AttemptID: "attempt-uid-" + guestUUID}, Progress: &v1alpha1.ProgressStatus{Percent: 3},
			}
			for i, condition := range []bool{true, false} {
				if err := s.write(t.Context(), found, report); err != nil {
					t.Fatal(err)
				}
				if recorded.ifUnchanged != condition {
					t.Errorf("report %d is on condition: %t", i+1, recorded.ifUnchanged)
				}
				if i == 0 && recorded.percent != want {
					t.Errorf("of what was told of %s, %d percent become %d", attempt, found.Status.Progress.Percent, recorded.percent)
				}
			}
		})
	}
}

// recordedReports is a Recorder that keeps the last report.
type recordedReports struct {
	Recorder
	percent     int32
	ifUnchanged bool
}

// RecordSource implements Recorder.
func (r *recordedReports) RecordSource(_ context.Context, _ *v1alpha1.LiveMigration, report SourceReport, ifUnchanged bool) error {
	r.percent, r.ifUnchanged = report.Progress.Percent, ifUnchanged
	return nil
}

// TestAJobThatIsToBeCancelledIsNotSteered: what would be done to it costs libvirt time.
func TestAJobThatIsToBeCancelledIsNotSteered(t *testing.T) {
	inWorld(t, func(w *world) {
		w.busy()
		busy := &hypervisor.Error{Kind: hypervisor.KindBusy, Message: "busy"}
		w.fleet.Host("node-a").FailNext(fake.MethodAbortJob, busy, busy, busy, busy, busy)
		lm := w.migrateWith(guestUUID, options(v1alpha1.MigrationOptions{
			Convergence: &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped}, MaxDowntimeMilliseconds: new(int64(100)),
		}))
		w.copying(lm)
		w.ask(lm, v1alpha1.AnnotationCancel, "1")
		time.Sleep(time.Second)
		before := w.fleet.Count(fake.MethodSetMaxDowntime, guestUUID)
		w.requireEnd(w.settle(lm), v1alpha1.PhaseCancelled, v1alpha1.ReasonCancelled, "Cancel 1 Done")
		if n := w.fleet.Count(fake.MethodSetMaxDowntime, guestUUID); n != before {
			t.Errorf("it was given more downtime %d times", n-before)
		}
	})
}
