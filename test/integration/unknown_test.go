//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// almostTimeOut makes the end one that the manager has seen long ago, and the target
// should have confirmed since: its patience ends in some seconds.
func (m *move) almostTimeOut() {
	m.t.Helper()
	m.awaitReason(v1alpha1.ReasonConfirming)
	seen := metav1.NewMicroTime(time.Now().Add(4*time.Second - migration.ConfirmTimeout))
	if err := setStatus(m.t, cluster.client, m.latest(), map[string]any{"attempt": map[string]any{"endSeenTime": seen}}); err != nil {
		m.t.Fatal(err)
	}
}

// awaitUnknown waits until the outcome of a migration is called unknown, and
// checks that a person is asked to look.
func (m *move) awaitUnknown(message string) {
	m.t.Helper()
	lm := m.awaitReason(v1alpha1.ReasonOutcomeUnknown)
	stalled := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionStalled)
	if lm.Status.Phase != v1alpha1.PhaseUnknown || stalled == nil || lm.Status.CompletionTime != nil {
		m.t.Errorf("the phase is %s, Stalled %v", lm.Status.Phase, stalled)
	}
	if !slices.Contains(lm.Finalizers, v1alpha1.FinalizerGuestSafe) {
		m.t.Error("the finalizer is gone")
	}
	for _, part := range []string{message, "virsh domstate --reason " + lm.Status.DomainUUID, "before anything is changed there"} {
		if !strings.Contains(succeeded(lm).Message, part) {
			m.t.Errorf("the message does not say %q: %s", part, succeeded(lm).Message)
		}
	}
}

// TestOutcomeIsUnknownUntilBothSidesAreSeen ends a migration on the source and
// leaves the manager without word from the target, until that comes.
func TestOutcomeIsUnknownUntilBothSidesAreSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	guests, domains := w.newGuests(2)
	a, b := w.startAgent("a", domains...), w.startAgent("b")
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	for i, c := range []struct {
		name    string
		end     func(*agent.SourceReport)
		unknown string
		news    func(*v1alpha1.TargetStatus)
		reason  string
	}{
		{
			"the guest has moved", sourceDone, "On " + a.node + " the guest is absent, on " + b.node + " it is Paused/Migration",
			sees(hypervisor.StateRunning, true), v1alpha1.ReasonMigrated,
		},
		{
			"the guest has stayed", sourceFailed(hypervisor.KindOther, "no route to host"),
			"On " + a.node + " the guest is Running, on " + b.node + " it is Paused/Migration", seesNothing, v1alpha1.ReasonMigrationFailed,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := a.in(t), b.in(t)
			m := w.in(t).migrate(guests[i], "b")
			carryOut(m, successfulMove(m, guests[i], a, b)[:6])
			a.asSource(m, c.end)
			m.almostTimeOut()
			m.awaitUnknown(c.unknown)
			b.asTarget(m, c.news)
			m.awaitReason(c.reason)
			m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
		})
	}
}

// TestGuestOnBothSides is reported at once, and given way to by what is seen later.
func TestGuestOnBothSides(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b)[:6])
	a.asSource(m, sourceFailed(hypervisor.KindOther, "end of file"))
	b.asTarget(m, func(s *v1alpha1.TargetStatus) {
		sees(hypervisor.StateRunning, true)(s)
		s.Domain.Reason = string(hypervisor.ReasonMigrated)
	})
	m.awaitUnknown("the guest runs on both hosts, so the source's copy is being paused")
	b.asTarget(m, seesNothing)
	m.awaitReason(v1alpha1.ReasonMigrationFailed)
}

// TestUnknownOutcomeKeepsTheObject against a time to live and a deletion.
func TestUnknownOutcomeKeepsTheObject(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	lm := w.newMigration(g, "b")
	lm.Spec.TTLSecondsAfterFinished = new(int32(0))
	m := w.follow(lm)
	carryOut(m, successfulMove(m, g, a, b)[:6])
	a.asSource(m, sourceDone)
	m.almostTimeOut()
	m.awaitUnknown("it is not certain where the guest runs")
	time.Sleep(time.Second)
	if lm := m.latest(); !lm.DeletionTimestamp.IsZero() {
		t.Error("the time to live was applied")
	}
	m.delete(t.Context())
	time.Sleep(time.Second)
	if lm := m.latest(); m.isGone() || lm.Status.Phase != v1alpha1.PhaseUnknown {
		t.Errorf("the deletion was carried out: %s", lm.Status.Phase)
	}
	b.asTarget(m, sees(hypervisor.StateRunning, true))
	m.awaitReason(v1alpha1.ReasonMigrated)
	m.awaitGone()
}
