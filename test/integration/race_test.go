//go:build integration

package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// races is how often each race is run.
const races = 20

// ending is something that ends a migration before it has started.
type ending struct {
	name   string
	reason string
	end    func(ctx context.Context, m *move, target *agentSim) error
}

func endings() []ending {
	return []ending{
		{"its user deletes it", v1alpha1.ReasonCancelled, func(ctx context.Context, m *move, _ *agentSim) error {
			return client.IgnoreNotFound(cluster.client.Delete(ctx, m.latest()))
		}},
		{"the target's agent withdraws", v1alpha1.ReasonTargetCheckFailed, func(_ context.Context, m *move, target *agentSim) error {
			return target.tryAsTarget(m.latest(), func(s *v1alpha1.TargetStatus) {
				s.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonTargetCheckFailed, Message: "The host is out of memory"}
			})
		}},
		{"the manager gives up", v1alpha1.ReasonNodeNotReady, func(ctx context.Context, m *move, _ *agentSim) error {
			_, err := impatient(cluster.client).Reconcile(ctx, ctrl.Request{NamespacedName: m.key()})
			return err
		}},
	}
}

// impatient returns a manager's reconciler for which the time to prepare a
// migration is over.
func impatient(c client.Client) *controllers.LiveMigrationReconciler {
	return &controllers.LiveMigrationReconciler{
		Client: c, Reader: cluster.client, Events: events.NewFakeRecorder(10),
		Clock: shiftedClock{ahead: migration.PrepareTimeout + time.Second}, Namespace: "default", Limits: plenty(),
	}
}

// TestStartAndEndExcludeEachOther lets the source's agent record its intent to
// start at the very moment at which something else ends the migration. Either the
// intent is recorded, and then the migration goes on to an end that the agent
// reports, or the migration ends and the agent's record is refused.
func TestStartAndEndExcludeEachOther(t *testing.T) {
	t.Parallel()
	for _, e := range endings() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			guests, domains := w.newGuests(races)
			a, b := w.startAgent("a", domains...), w.startAgent("b")
			w.startManager(clock.RealClock{})
			w.awaitReady("a", "b")
			started := make(chan bool, races)
			t.Run("races", func(t *testing.T) {
				for _, g := range guests {
					t.Run(g.name, func(t *testing.T) {
						t.Parallel()
						r := race{w: w.in(t), guest: g, source: a.in(t), target: b.in(t), ending: e}
						started <- r.run()
					})
				}
			})
			close(started)
			wins := map[bool]int{}
			for s := range started {
				wins[s]++
			}
			t.Logf("the start won %d times, the end %d times", wins[true], wins[false])
		})
	}
}

// race is one race of a start against an end.
type race struct {
	w              *world
	guest          guest
	source, target *agentSim
	ending
}

// run runs the race and reports whether the start won.
func (r *race) run() (started bool) {
	t := r.w.t
	m := r.w.migrate(r.guest, "b")
	carryOut(m, successfulMove(m, r.guest, r.source, r.target)[:2])
	ended := make(chan error, 1)
	go func() {
		time.Sleep(rand.N(10 * time.Millisecond))
		ended <- r.end(t.Context(), m, r.target)
	}()
	// Ends take longer than starts.
	time.Sleep(rand.N(60 * time.Millisecond))
	started = r.start(m)
	if err := <-ended; err != nil && !errors.Is(err, agent.ErrGone) {
		t.Error(err)
	}
	if started {
		if lm := m.latest(); migration.Finished(lm) {
			t.Errorf("the migration was started although it had ended: %s", succeeded(lm).Message)
		}
		r.source.asSource(m, jobStarted)
		r.source.asSource(m, sourceFailed(hypervisor.KindAborted, "operation aborted"))
		r.target.asTarget(m, seesNothing)
	}
	done := m.await("the end", migration.Finished)
	if migration.Started(done) != started {
		t.Error("the object does not say what was done")
	}
	if !started && reasonOf(done) != r.reason {
		t.Errorf("the reason is %s, want %s", reasonOf(done), r.reason)
	}
	return started
}

// TestManagerGivesWayToAStart puts the agent's record between the manager's look at
// the object and its decision to give up.
func TestManagerGivesWayToAStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	stop := w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b)[:2])
	stop()
	between := interceptor.NewClient(cluster.client, interceptor.Funcs{
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			a.check(a.tryAsSource(m.latest(), true, startRequested))
			return c.SubResource(sub).Apply(ctx, o, opts...)
		},
	})
	if _, err := impatient(between).Reconcile(t.Context(), ctrl.Request{NamespacedName: m.key()}); err != nil {
		t.Fatal(err)
	}
	m.await("the record", migration.Started)
	w.startManager(clock.RealClock{})
	carryOut(m, successfulMove(m, g, a, b)[3:])
}

// start does what the source's agent does: if the object as it has seen it says so,
// it records its intent, and looks again when the object has changed.
func (r *race) start(m *move) bool {
	t := r.w.t
	for lm := m.latest(); ; {
		facts := migration.SourceFacts{Object: lm, Section: migration.CurrentSource(lm)}
		if migration.DecideSource(facts, time.Now()) != migration.SourceStart {
			return false
		}
		err := r.source.tryAsSource(lm, true, startRequested)
		switch {
		case err == nil:
			return true
		case errors.Is(err, agent.ErrGone):
			return false
		case !errors.Is(err, agent.ErrConflict):
			t.Fatal(err)
		}
		if lm, err = r.source.recorder.Refresh(t.Context(), lm); errors.Is(err, agent.ErrGone) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
