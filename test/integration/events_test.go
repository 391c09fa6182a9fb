//go:build integration

package integration

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// requireEvent waits for an event of a reason, of which there must be one, and returns
// its note.
func (w *world) requireEvent(m *move, kind, reason string) string {
	w.t.Helper()
	if !poll(w.t.Context(), func() bool { return w.countEvents(m)[reason] > 0 }) {
		w.t.Fatalf("there is no event %s: %v", reason, w.countEvents(m))
	}
	var note string
	for _, e := range w.events(m) {
		if e.Reason == reason {
			note = e.Note
			if e.Type != kind || e.Action != "Migrate" {
				w.t.Errorf("the event %s is of type %s, action %s", e.Reason, e.Type, e.Action)
			}
		}
	}
	return note
}

func TestEventsTellWhoForcedTheCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, m := w.busyGuest()
	m.awaitReason(v1alpha1.ReasonMigrating)
	m.ask(v1alpha1.AnnotationForceComplete, "ann-1")
	m.awaitReason(v1alpha1.ReasonMigrated)
	if note := w.requireEvent(m, corev1.EventTypeNormal, string(v1alpha1.NoticeCompletionForced)); !strings.Contains(note, `"ann-1"`) {
		t.Errorf("the event does not say who asked: %s", note)
	}
	w.requireEvent(m, corev1.EventTypeNormal, string(v1alpha1.NoticePausedForCompletion))
	w.requireEvent(m, corev1.EventTypeNormal, v1alpha1.ReasonMigrated)
	w.requireNoEventTwice(m)
}

// TestTheSwitchOverIsToldBeforeTheEnd: the network need not wait for both sides to agree.
func TestTheSwitchOverIsToldBeforeTheEnd(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	acts := successfulMove(m, g, a, b)
	carryOut(m, acts[:1])
	a.asSource(m, func(r *agent.SourceReport) {
		r.Section.Guest.MACAddresses = []v1alpha1.MACAddress{"52:54:00:00:00:01", "52:54:00:00:00:02"}
	})
	carryOut(m, acts[1:6])
	if n := w.countEvents(m)[string(v1alpha1.NoticeSwitchedOver)]; n != 0 {
		t.Error("the switch-over is told although the guest is only awaited")
	}
	b.asTarget(m, func(s *v1alpha1.TargetStatus) {
		sees(hypervisor.StateRunning, false)(s)
		s.ArrivedTime = microNow()
	})
	note := w.requireEvent(m, corev1.EventTypeNormal, string(v1alpha1.NoticeSwitchedOver))
	if !strings.Contains(note, "to "+b.node+", with the MAC addresses 52:54:00:00:00:01, 52:54:00:00:00:02") {
		t.Errorf("the event lacks the node or the addresses: %s", note)
	}
	if m.latest().Status.Source.End != nil {
		t.Error("the source has ended before")
	}
	a.leaves(g)
	b.arrives(g)
	a.asSource(m, sourceDone)
	m.awaitReason(v1alpha1.ReasonMigrated)
	w.requireNoEventTwice(m)
}

// TestEventsTellOfPostCopyOnce: the manager hears of it step by step.
func TestEventsTellOfPostCopyOnce(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b)[:6])
	a.asSource(m, inPostCopy)
	m.awaitReason(v1alpha1.ReasonPostCopy)
	carryOut(m, successfulMove(m, g, a, b)[6:])
	for _, n := range []v1alpha1.NoticeReason{v1alpha1.NoticePostCopyStarted, v1alpha1.NoticePostCopyCompleted} {
		w.requireEvent(m, corev1.EventTypeNormal, string(n))
	}
	w.requireEvent(m, corev1.EventTypeNormal, v1alpha1.ReasonMigrated)
	w.requireNoEventTwice(m)
	if n := w.countEvents(m)[v1alpha1.ReasonPostCopy]; n != 0 {
		t.Error("the switch to post-copy is told twice")
	}
}

// TestCancellationsRaiseNoAlarm: somebody has asked for them.
func TestCancellationsRaiseNoAlarm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		cancel func(m *move)
	}{
		{"by annotation", func(m *move) { m.ask(v1alpha1.AnnotationCancel, "now") }},
		{"by deletion", func(m *move) { m.delete(t.Context()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, _, m := w.busyGuest()
			m.awaitReason(v1alpha1.ReasonMigrating)
			c.cancel(m)
			m.awaitReason(v1alpha1.ReasonCancelled)
			w.requireEvent(m, corev1.EventTypeNormal, v1alpha1.ReasonCancelled)
			for _, e := range w.events(m) {
				if e.Type != corev1.EventTypeNormal {
					t.Errorf("a %s event: %s, %s", e.Type, e.Reason, e.Note)
				}
			}
		})
	}
}

// TestNameOfAGuestGivenByUUID: people know it by its name.
func TestNameOfAGuestGivenByUUID(t *testing.T) {
	t.Parallel()
	w, g, _, _ := newPair(t)
	lm := w.newMigration(g, "b")
	lm.Spec.Domain = strings.ToUpper(g.uuid)
	m := w.follow(lm)
	m.await("the guest's name", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.DomainName == g.name })
}
