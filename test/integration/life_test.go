//go:build integration

package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// act is one write of an agent, and the reason that the manager gives after it.
type act struct {
	name   string
	do     func()
	reason string
}

// successfulMove returns the agents' acts in a migration from one to the other
// that succeeds.
func successfulMove(m *move, g guest, source, target *agentSim) []act {
	return []act{
		{"the source's agent checks the guest", func() { source.asSource(m, source.checked) }, v1alpha1.ReasonPreparingTarget},
		{"the target's agent prepares", func() { target.asTarget(m, ready) }, v1alpha1.ReasonStarting},
		{"the source's agent records its intent", func() { source.asSource(m, startRequested) }, v1alpha1.ReasonStarting},
		{"the job starts", func() { source.asSource(m, jobStarted) }, v1alpha1.ReasonMigrating},
		{"half is copied", func() { source.asSource(m, progressed(50)) }, v1alpha1.ReasonMigrating},
		{"the target's agent sees the guest come", func() { target.asTarget(m, incoming) }, v1alpha1.ReasonMigrating},
		{"the job ends on the source", func() { source.asSource(m, sourceDone); source.leaves(g) }, v1alpha1.ReasonConfirming},
		{"the target's agent sees the guest run", func() {
			target.arrives(g)
			target.asTarget(m, sees(hypervisor.StateRunning, true))
		}, v1alpha1.ReasonMigrated},
	}
}

// carryOut lets the agents act, each time when the manager has reacted.
func carryOut(m *move, acts []act) {
	m.t.Helper()
	m.await("its admission", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Attempt != nil })
	for _, a := range acts {
		a.do()
		m.awaitReason(a.reason)
	}
}

func TestGuestMoves(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b))
	done := m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })

	want := []string{
		"/", "Preparing/CheckingSource", "Preparing/PreparingTarget", "Preparing/Starting", "Migrating/Migrating",
		"Confirming/Confirming", "Succeeded/Migrated",
	}
	if diff := cmp.Diff(want, steps(m.history())); diff != "" {
		t.Errorf("the steps differ (-want +got):\n%s", diff)
	}
	st := done.Status
	if st.DomainUUID != g.uuid || st.SourceNode != a.node || st.TargetNode != b.node {
		t.Errorf("the migration is of %s from %s to %s", st.DomainUUID, st.SourceNode, st.TargetNode)
	}
	if st.DowntimeMilliseconds == nil || *st.DowntimeMilliseconds != 42 {
		t.Error("the measured downtime is not taken over")
	}
	if st.StartTime == nil || st.CompletionTime == nil {
		t.Error("a time is missing")
	}
	var attempts []string
	for _, lm := range m.history() {
		if lm.Status.Attempt != nil {
			attempts = append(attempts, lm.Status.Attempt.ID)
		}
	}
	if n := len(slices.Compact(attempts)); n != 1 {
		t.Errorf("there were %d attempts", n)
	}
}

func TestFinalizerHoldsOnlyAMigrationUnderWay(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	lm := w.newMigration(g, "b")
	const foreign = "example.com/keep"
	lm.Finalizers = []string{foreign}
	m := w.follow(lm)
	carryOut(m, successfulMove(m, g, a, b))
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool {
		return slices.Equal(lm.Finalizers, []string{foreign})
	})
	for _, lm := range m.history() {
		held := slices.Contains(lm.Finalizers, v1alpha1.FinalizerGuestSafe)
		if lm.Status.Attempt != nil && !held && lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Errorf("the finalizer is missing in phase %s", lm.Status.Phase)
		}
		if !slices.Contains(lm.Finalizers, foreign) {
			t.Error("another's finalizer was removed")
		}
	}
}

// TestEventsTellEachStepOnce counts the events of a migration.
func TestEventsTellEachStepOnce(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b))
	w.requireEvents(m, v1alpha1.ReasonCheckingSource, v1alpha1.ReasonPreparingTarget, v1alpha1.ReasonStarting,
		v1alpha1.ReasonMigrating, v1alpha1.ReasonConfirming, v1alpha1.ReasonMigrated)
	for _, e := range w.events(m) {
		if e.Type != corev1.EventTypeNormal || e.Action != "Migrate" || e.ReportingController != managerAccount || e.Note == "" {
			t.Errorf("the event %s is of type %s, action %s, from %s: %q", e.Reason, e.Type, e.Action, e.ReportingController, e.Note)
		}
	}
}

func TestFailureIsAWarningEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	w.startAgent("a", g.running())
	w.startAgent("b")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	m := w.migrate(g, "x")
	m.awaitReason(v1alpha1.ReasonNodeNotFound)
	w.requireEvents(m, v1alpha1.ReasonResolving, v1alpha1.ReasonNodeNotFound)
	for _, e := range w.events(m) {
		want := corev1.EventTypeNormal
		if e.Reason == v1alpha1.ReasonNodeNotFound {
			want = corev1.EventTypeWarning
		}
		if e.Type != want {
			t.Errorf("the event %s is of type %s", e.Reason, e.Type)
		}
	}
}

// events returns the events of a migration.
func (w *world) events(m *move) []eventsv1.Event {
	w.t.Helper()
	list := &eventsv1.EventList{}
	if err := cluster.client.List(w.t.Context(), list, client.InNamespace(w.name)); err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Regarding.UID != m.latest().UID })
}

// countEvents counts the events of a migration by their reasons.
func (w *world) countEvents(m *move) map[string]int {
	w.t.Helper()
	got := map[string]int{}
	for _, e := range w.events(m) {
		if e.Series == nil {
			got[e.Reason]++
		} else {
			got[e.Reason] += int(e.Series.Count)
		}
	}
	return got
}

// requireEvents waits until the wanted events are there, one for each reason, and
// fails if there are more.
func (w *world) requireEvents(m *move, reasons ...string) {
	w.t.Helper()
	want := map[string]int{}
	for _, reason := range reasons {
		want[reason] = 1
	}
	if !poll(w.t.Context(), func() bool { return len(w.countEvents(m)) >= len(want) }) {
		w.t.Fatalf("the events are %v, want %v", w.countEvents(m), want)
	}
	// Whatever is too much takes no longer than what was wanted.
	time.Sleep(time.Second)
	if diff := cmp.Diff(want, w.countEvents(m)); diff != "" {
		w.t.Errorf("the events differ (-want +got):\n%s", diff)
	}
}

// requireNoEventTwice fails if two events tell the same of a migration.
func (w *world) requireNoEventTwice(m *move) {
	w.t.Helper()
	for reason, n := range w.countEvents(m) {
		if n > 1 {
			w.t.Errorf("%d events tell of %s", n, reason)
		}
	}
}

// TestNothingIsWrittenWhenNothingChanges looks at idle objects for some seconds
// in which agents go on giving signs of life, repeat what they said, and have news
// that concern no migration.
func TestNothingIsWrittenWhenNothingChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	moving, moved, kept := w.newGuest("moving"), w.newGuest("moved"), w.newGuest("kept")
	a, b := w.startAgent("a", moving.running(), moved.running(), kept.running()), w.startAgent("b")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	running, done, failed := w.migrate(moving, "b"), w.migrate(moved, "b"), w.migrate(kept, "x")
	carryOut(done, successfulMove(done, moved, a, b))
	carryOut(running, successfulMove(running, moving, a, b)[:5])
	waiting := w.migrate(moving, "a")
	waiting.awaitReason(v1alpha1.ReasonWaitingForOtherMigration)
	failed.awaitReason(v1alpha1.ReasonNodeNotFound)
	time.Sleep(time.Second) // For what is still on its way.
	var before []*v1alpha1.LiveMigration
	moves := []*move{running, done, failed, waiting}
	for _, m := range moves {
		before = append(before, m.latest())
	}
	writes := w.writes.Load()
	for range 15 {
		a.heartbeat()
		b.heartbeat()
		a.check(a.report(true, ""))
		stranger := w.newGuest("stranger")
		b.arrives(stranger)
		b.leaves(stranger)
		time.Sleep(200 * time.Millisecond)
	}
	for i, m := range moves {
		m.requireUnchanged(before[i])
	}
	if n := w.writes.Load() - writes; n > 0 {
		t.Errorf("the manager wrote %d times", n)
	}
}

// TestManagerRestartsBetweenAllSteps stops the manager before each act of an agent
// and starts another one after it.
func TestManagerRestartsBetweenAllSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	stop := w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	m := w.migrate(g, "b")
	attempt := m.awaitReason(v1alpha1.ReasonCheckingSource).Status.Attempt.ID
	for _, act := range successfulMove(m, g, a, b) {
		stop()
		act.do()
		stop = w.startManager(clock.RealClock{})
		if lm := m.awaitReason(act.reason); lm.Status.Attempt.ID != attempt {
			t.Errorf("after %q the attempt is another one", act.name)
		}
	}
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	stop()
	settled := m.latest()
	w.startManager(clock.RealClock{})
	time.Sleep(time.Second)
	m.requireUnchanged(settled)
	// A manager that ends may take an event that was not sent yet with it.
	w.requireNoEventTwice(m)
}
