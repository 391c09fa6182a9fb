package agent

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestWhatWakesASession: everything that is new but the progress, which it has reported itself.
func TestWhatWakesASession(t *testing.T) {
	t.Parallel()
	now := metav1.NewTime(time.Now())
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.LiveMigration)
		want   bool
	}{
		{"nothing", func(*v1alpha1.LiveMigration) {}, false},
		{"progress", func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = &v1alpha1.ProgressStatus{Percent: 7} }, false},
		{"the spec", func(lm *v1alpha1.LiveMigration) { lm.Generation++ }, true},
		{"the deletion", func(lm *v1alpha1.LiveMigration) { lm.DeletionTimestamp = &now }, true},
		{"an annotation", func(lm *v1alpha1.LiveMigration) { lm.Annotations = map[string]string{v1alpha1.AnnotationCancel: "1"} }, true},
		{"the status", func(lm *v1alpha1.LiveMigration) { lm.Status.Phase = v1alpha1.PhaseMigrating }, true},
	} {
		before := &v1alpha1.LiveMigration{}
		m := newMailbox(before)
		after := before.DeepCopy()
		c.change(after)
		m.put(after)
		woken := false
		select {
		case <-m.changed:
			woken = true
		default:
		}
		if woken != c.want {
			t.Errorf("%s: woken %t", c.name, woken)
		}
		if lm, gone, unread := m.peek(); lm != after || gone || !unread {
			t.Errorf("%s: the latest is %+v, gone %t, unread %t", c.name, lm, gone, unread)
		}
		if lm, _ := m.get(); lm != after {
			t.Errorf("%s: the session gets %+v", c.name, lm)
		}
		if _, _, unread := m.peek(); unread {
			t.Errorf("%s: it is unread though the session has seen it", c.name)
		}
	}
}

// TestAnObjectThatIsGoneCountsAsDeleted, from when it is known to be, or from when it was
// deleted.
func TestAnObjectThatIsGoneCountsAsDeleted(t *testing.T) {
	t.Parallel()
	now, before := metav1.NewTime(time.Unix(2, 0)), metav1.NewTime(time.Unix(1, 0))
	for _, deleted := range []*metav1.Time{nil, &before} {
		lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: deleted}}
		m := newMailbox(lm)
		m.close(now)
		want := now
		if deleted != nil {
			want = *deleted
		}
		got, gone := m.get()
		if !gone || !got.DeletionTimestamp.Equal(&want) || lm.DeletionTimestamp != deleted {
			t.Errorf("deleted at %v: gone %t, at %v; the object itself says %v", deleted, gone, got.DeletionTimestamp, lm.DeletionTimestamp)
		}
		if len(m.changed) != 1 {
			t.Errorf("deleted at %v: the session is not woken", deleted)
		}
	}
}
