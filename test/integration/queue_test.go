//go:build integration

package integration

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// span is the time, in resource versions, in which a migration was under way.
type span struct{ from, to uint64 }

// underWay returns when a migration was under way.
func (m *move) underWay() (s span, ok bool) {
	m.t.Helper()
	for _, lm := range m.history() {
		version, err := strconv.ParseUint(lm.ResourceVersion, 10, 64)
		if err != nil {
			m.t.Fatal(err)
		}
		if lm.Status.Attempt == nil || migration.Finished(lm) {
			continue
		}
		if !ok {
			s.from, ok = version, true
		}
		s.to = version
	}
	return s, ok
}

// TestMigrationsOfOneGuestQueue creates two migrations of each of several guests
// at once. One after the other goes ahead, by whichever name it calls the guest.
func TestMigrationsOfOneGuestQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	guests, domains := w.newGuests(10)
	a, b, c := w.startAgent("a", domains...), w.startAgent("b"), w.startAgent("c")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b", "c")
	for _, g := range guests {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			byName, byUUID := w.newMigration(g, "b"), w.newMigration(g, "c")
			byUUID.Spec.Domain = strings.ToUpper(g.uuid)
			created := make(chan error)
			for _, lm := range []*v1alpha1.LiveMigration{byName, byUUID} {
				go func() { created <- cluster.client.Create(t.Context(), lm) }()
			}
			if err := errors.Join(<-created, <-created); err != nil {
				t.Fatal(err)
			}
			targets := map[types.UID]*agentSim{byName.UID: b.in(t), byUUID.UID: c.in(t)}
			first, second := w.observe(byName), w.observe(byUUID)
			if !poll(t.Context(), func() bool {
				if second.latest().Status.Attempt != nil {
					first, second = second, first
				}
				return first.latest().Status.Attempt != nil
			}) {
				t.Fatal("neither goes ahead")
			}
			waiting := second.awaitReason(v1alpha1.ReasonWaitingForOtherMigration)
			if message := succeeded(waiting).Message; !strings.Contains(message, w.name+"/"+first.key().Name) {
				t.Errorf("the message does not name what is waited for: %s", message)
			}
			carryOut(first, successfulMove(first, g, a.in(t), targets[first.latest().UID]))
			carryOut(second, successfulMove(second, g, targets[first.latest().UID], targets[second.latest().UID]))
			requireApart(t, first, second)
			w.requireNoEventTwice(first)
			w.requireNoEventTwice(second)
		})
	}
}

// requireApart fails if two migrations were under way at once.
func requireApart(t *testing.T, first, second *move) {
	t.Helper()
	one, ok1 := first.underWay()
	two, ok2 := second.underWay()
	if !ok1 || !ok2 {
		t.Fatal("one of them was never under way")
	}
	if one.to >= two.from && two.to >= one.from {
		t.Errorf("both were under way at once: %v and %v", one, two)
	}
}

// TestNextInTheQueueGoesOnAfterAnyEnd ends the first of two migrations in each way
// and sees the second go ahead.
func TestNextInTheQueueGoesOnAfterAnyEnd(t *testing.T) {
	t.Parallel()
	for _, e := range endings()[:2] {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			w, g, a, b := newPair(t)
			first := w.migrate(g, "b")
			carryOut(first, successfulMove(first, g, a, b)[:2])
			second := w.migrate(g, "b")
			second.awaitReason(v1alpha1.ReasonWaitingForOtherMigration)
			if err := e.end(t.Context(), first, b); err != nil {
				t.Fatal(err)
			}
			second.awaitReason(v1alpha1.ReasonCheckingSource)
			requireApart(t, first, second)
		})
	}
}

// TestQueueOutlivesGapsInTheListsOfGuests: while a guest moves, and shortly after,
// there may be a moment in which no agent's list has it. That ends no migration
// that waits, however long it has waited.
func TestQueueOutlivesGapsInTheListsOfGuests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	stop := w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	first := w.migrate(g, "b")
	acts := successfulMove(first, g, a, b)
	carryOut(first, acts[:6])
	second := w.migrate(g, "a")
	second.awaitReason(v1alpha1.ReasonWaitingForOtherMigration)
	stop()
	w.startManager(shiftedClock{ahead: migration.ResolveGrace + time.Second})
	a.leaves(g)
	time.Sleep(time.Second)
	if lm := second.latest(); reasonOf(lm) != v1alpha1.ReasonWaitingForOtherMigration {
		t.Errorf("while the guest moves: %s: %s", reasonOf(lm), succeeded(lm).Message)
	}
	a.asSource(first, sourceDone)
	b.asTarget(first, sees(hypervisor.StateRunning, true))
	first.awaitReason(v1alpha1.ReasonMigrated)
	lm := second.awaitReason(v1alpha1.ReasonResolving)
	if want := "The guest has just been moved to " + b.node + "; waiting for that node to report it"; succeeded(lm).Message != want {
		t.Errorf("the message is %q, want %q", succeeded(lm).Message, want)
	}
	b.arrives(g)
	carryOut(second, successfulMove(second, g, b, a))
}

// TestAdmissionIsDecidedByTheLatest: a manager whose cache lacks the migration that
// was just admitted does not admit another one of the same guest.
func TestAdmissionIsDecidedByTheLatest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	w.startAgent("a", g.running())
	w.startAgent("b")
	stop := w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	first := w.migrate(g, "b")
	first.await("its admission", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Attempt != nil })
	stop()

	// The next one's cache does not have the first.
	options := w.cacheOptions()
	for object, by := range options.ByObject {
		if _, ok := object.(*v1alpha1.LiveMigration); ok {
			by.Field = fields.OneTermNotEqualSelector("metadata.name", first.key().Name)
			options.ByObject[object] = by
		}
	}
	w.runManager(ctrl.Options{Cache: options}, managerSetup{clock: clock.RealClock{}, limits: plenty()})
	second := w.migrate(g, "b")
	second.awaitReason(v1alpha1.ReasonWaitingForOtherMigration)
	time.Sleep(time.Second)
	if now := second.latest(); now.Status.Attempt != nil {
		t.Errorf("the second migration has the attempt %+v", now.Status.Attempt)
	}
}
