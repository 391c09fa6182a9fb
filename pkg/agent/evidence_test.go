package agent

import (
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
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
