//go:build integration

package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// awaitCancelled waits until a migration that is being deleted is over and gone.
func (m *move) awaitCancelled() *v1alpha1.LiveMigration {
	m.t.Helper()
	done := m.awaitReason(v1alpha1.ReasonCancelled)
	if done.Status.Phase != v1alpha1.PhaseCancelled || succeeded(done).Status != metav1.ConditionFalse {
		m.t.Errorf("the phase is %s, Succeeded %s", done.Status.Phase, succeeded(done).Status)
	}
	m.awaitGone()
	return done
}

// TestDeletionBeforeTheStart cancels migrations at all stages at which nothing has
// been started.
func TestDeletionBeforeTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	for _, c := range []struct {
		name   string
		start  func() *move
		reason string
		acts   int
	}{
		{"while the source is checked", func() *move { return w.migrate(g, "b") }, v1alpha1.ReasonCheckingSource, 0},
		{"while the target prepares", func() *move { return w.migrate(g, "b") }, v1alpha1.ReasonPreparingTarget, 1},
		{"when both are ready", func() *move { return w.migrate(g, "b") }, v1alpha1.ReasonStarting, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := c.start()
			if c.acts > 0 {
				carryOut(m, successfulMove(m, g, a, b)[:c.acts])
			}
			m.awaitReason(c.reason)
			m.delete(t.Context())
			done := m.awaitCancelled()
			if message := succeeded(done).Message; !strings.HasPrefix(message, "The migration was cancelled before it started") {
				t.Errorf("the message is %q", message)
			}
			if migration.Started(done) {
				t.Error("the migration has been started")
			}
		})
	}
}

// TestDeletionWhileItWaits: nothing holds an object for which nothing was done.
func TestDeletionWhileItWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	first := w.migrate(g, "b")
	carryOut(first, successfulMove(first, g, a, b)[:4])
	second, third := w.migrate(g, "b"), w.migrate(g, "a")
	lost := w.migrate(w.newGuest("nowhere"), "b")
	lost.awaitReason(v1alpha1.ReasonResolving)
	for _, m := range []*move{second, third} {
		m.awaitReason(v1alpha1.ReasonWaitingForOtherMigration)
	}
	for _, m := range []*move{second, lost} {
		m.delete(t.Context())
		m.awaitGone()
	}
	carryOut(first, successfulMove(first, g, a, b)[4:])
	carryOut(third, successfulMove(third, g, b, a))
}

// TestDeletionBeforeTheManagerKnows removes an object that nobody has acted on.
func TestDeletionBeforeTheManagerKnows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.migrate(w.newGuest("web"), "b")
	m.delete(t.Context())
	m.awaitGone()
}

func TestDeletionOfARunningMigrationAbortsIt(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b)[:5])
	m.delete(t.Context())
	cancelling := m.awaitReason(v1alpha1.ReasonCancelling)
	if cancelling.Status.Phase != v1alpha1.PhaseCancelling || !strings.Contains(succeeded(cancelling).Message, "Aborting the migration on "+a.node) {
		t.Errorf("the phase is %s: %s", cancelling.Status.Phase, succeeded(cancelling).Message)
	}
	a.asSource(m, sourceFailed(hypervisor.KindAborted, "operation aborted"))
	// The end on the source is not enough: the target has to be looked at.
	m.awaitReason(v1alpha1.ReasonConfirming)
	time.Sleep(300 * time.Millisecond)
	if m.isGone() || migration.Finished(m.latest()) {
		t.Error("the migration ended before the target was looked at")
	}
	b.asTarget(m, seesNothing)
	done := m.awaitCancelled()
	if want := "The guest still runs on " + a.node + "; the migration was cancelled. Create another LiveMigration to move it"; succeeded(done).Message != want {
		t.Errorf("the message is %q, want %q", succeeded(done).Message, want)
	}
}

// TestDeletionThatComesTooLate: the guest had moved before the abort took effect.
// The object says so before it goes.
func TestDeletionThatComesTooLate(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b)[:5])
	m.delete(t.Context())
	m.awaitReason(v1alpha1.ReasonCancelling)
	a.asSource(m, sourceDone)
	b.asTarget(m, sees(hypervisor.StateRunning, true))
	m.awaitReason(v1alpha1.ReasonMigrated)
	m.awaitGone()
}

// TestDeletionWithALostAgent: the object stays, and says what it waits for.
func TestDeletionWithALostAgent(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b)[:5])
	a.check(a.renewFor(2))
	w.awaitCondition("a", metav1.ConditionUnknown)
	m.delete(context.Background())
	m.await("a word on the lost agent", func(lm *v1alpha1.LiveMigration) bool {
		return reasonOf(lm) == v1alpha1.ReasonCancelling &&
			strings.Contains(succeeded(lm).Message, a.node+" is not ready: The agent has stopped renewing its lease")
	})
	a.heartbeat()
	w.awaitReady("a")
	a.asSource(m, sourceFailed(hypervisor.KindAborted, "operation aborted"))
	b.asTarget(m, seesNothing)
	m.awaitCancelled()
}
