package agent

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestTheTargetDiesForGood while the guest is being copied: it has never left, and so the
// migration has failed, unless the agent may have missed something.
func TestTheTargetDiesForGood(t *testing.T) {
	for _, c := range []struct {
		name  string
		miss  func(w *world)
		phase v1alpha1.LiveMigrationPhase
	}{
		{"nothing was missed", func(*world) {}, v1alpha1.PhaseFailed},
		{"events may have been lost", func(w *world) { w.fleet.Host("node-a").LoseConnection() }, v1alpha1.PhaseUnknown},
		{"the agent was restarted", func(w *world) { w.a.restart() }, v1alpha1.PhaseUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				gate := w.fleet.Hold(guestUUID, fake.StageCopying)
				lm := w.migrate(guestUUID)
				<-gate.Reached()
				time.Sleep(5 * time.Second)
				w.b.stop()
				c.miss(w)
				w.fleet.Host("node-b").KillDaemon()
				after := w.settle(lm)
				if after.Status.Phase != c.phase {
					t.Errorf("the end is %s %s: %+v", after.Status.Phase, reason(after), after.Status.Conditions)
				}
				w.requireOnce("node-a")
			})
		})
	}
}

func TestEvidence(t *testing.T) {
	at := func(state hypervisor.State, reason hypervisor.Reason) sighting {
		return sighting{seen: true, domain: &hypervisor.Domain{State: state, Reason: reason}}
	}
	lifecycle := func(l hypervisor.Lifecycle, detail string) hypervisor.Event {
		return hypervisor.Event{Type: hypervisor.EventLifecycle, Lifecycle: l, Detail: detail}
	}
	pass := hypervisor.Event{Type: hypervisor.EventIteration, Iteration: 1}
	booted := at(hypervisor.StateRunning, hypervisor.ReasonBooted)
	canceled := at(hypervisor.StateRunning, hypervisor.ReasonMigrationCanceled)
	for _, c := range []struct {
		name   string
		before hypervisor.Reason
		events []hypervisor.Event
		seen   []sighting
		want   bool
	}{
		{"it ran throughout", hypervisor.ReasonBooted, []hypervisor.Event{pass}, []sighting{booted, booted}, true},
		{"it ran, and nothing was heard", hypervisor.ReasonBooted, nil, []sighting{booted}, true},
		{"it was resumed", hypervisor.ReasonBooted, []hypervisor.Event{lifecycle(hypervisor.LifecycleResumed, "")}, []sighting{booted}, true},
		{"it was suspended", hypervisor.ReasonBooted, []hypervisor.Event{pass, lifecycle(hypervisor.LifecycleSuspended, hypervisor.DetailMigrated)}, []sighting{booted}, false},
		{"it went to post-copy", hypervisor.ReasonBooted, []hypervisor.Event{lifecycle(hypervisor.LifecycleSuspended, hypervisor.DetailPostcopy)}, []sighting{booted}, false},
		{"it was seen to stand still", hypervisor.ReasonBooted, nil, []sighting{at(hypervisor.StatePaused, hypervisor.ReasonMigration), booted}, false},
		{"something may have been missed", hypervisor.ReasonBooted, []hypervisor.Event{{Type: hypervisor.EventResync}}, []sighting{booted}, false},
		{"libvirt let it go on", hypervisor.ReasonBooted, nil, []sighting{canceled}, false},
		{"libvirt had let it go on before", hypervisor.ReasonMigrationCanceled, []hypervisor.Event{pass}, []sighting{canceled}, true},
		{"the same, and nothing was heard", hypervisor.ReasonMigrationCanceled, nil, []sighting{canceled}, false},
		{"it was paused before", "", []hypervisor.Event{pass}, []sighting{at(hypervisor.StatePaused, hypervisor.ReasonUser)}, false},
		{"it is gone", hypervisor.ReasonBooted, nil, []sighting{{seen: true}}, false},
	} {
		e := evidence{reason: c.before}
		for _, event := range c.events {
			e.noteEvent(event)
		}
		for _, seen := range c.seen {
			e.noteSight(seen)
		}
		if got := e.neverLeft(c.seen[len(c.seen)-1]); got != c.want {
			t.Errorf("%s: neverLeft is %t", c.name, got)
		}
	}
}

// TestWhoCanTellThatAGuestNeverLeft: the process that has made the call, of one that has not
// succeeded, nor come to post-copy.
func TestWhoCanTellThatAGuestNeverLeft(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct {
		name   string
		change func(*sourceSession)
		want   bool
	}{
		{"the call has failed", func(*sourceSession) {}, true},
		{"its answer was lost", func(s *sourceSession) { s.call, s.callErr = migration.CallLost, nil }, true},
		{"it has succeeded", func(s *sourceSession) { s.callErr = nil }, false},
		{"another process has made it", func(s *sourceSession) { s.call, s.callErr, s.called = migration.CallNone, nil, time.Time{} }, false},
		{"the guest was switched to post-copy", func(s *sourceSession) {
			s.section.Steering = &v1alpha1.SteeringStatus{PostCopyTime: new(metav1.NewMicroTime(now))}
		}, false},
		{"the guest was suspended", func(s *sourceSession) { s.evidence.broken = true }, false},
		{"another job moves the guest", func(s *sourceSession) {
			s.now.job = hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut}
		}, false},
	} {
		s := &sourceSession{
			call: migration.CallReturned, callErr: errors.New("no"), called: now, section: &v1alpha1.SourceStatus{},
			now:      sighting{seen: true, domain: &hypervisor.Domain{State: hypervisor.StateRunning, Reason: hypervisor.ReasonBooted}},
			evidence: evidence{reason: hypervisor.ReasonBooted},
		}
		c.change(s)
		if got := s.neverLeft(); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
