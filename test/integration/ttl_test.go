//go:build integration

package integration

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers"
)

// ended creates a migration that has ended just now, and follows it.
func (w *world) ended(status metav1.ConditionStatus, ttl *int32) *move {
	w.t.Helper()
	lm := w.newMigration(w.newGuest("web"), "b")
	lm.Spec.TTLSecondsAfterFinished = ttl
	w.create(lm)
	condition := func(kind string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: "Test", Message: "Test", LastTransitionTime: metav1.Now()}
	}
	lm.Status = v1alpha1.LiveMigrationStatus{
		Phase: v1alpha1.PhaseSucceeded, ObservedGeneration: lm.Generation, CompletionTime: new(metav1.Now()),
		Conditions: []metav1.Condition{condition(v1alpha1.ConditionSucceeded), condition(v1alpha1.ConditionReady)},
	}
	if status != metav1.ConditionTrue {
		stalled := condition(v1alpha1.ConditionStalled)
		stalled.Status = metav1.ConditionTrue
		lm.Status.Conditions, lm.Status.Phase = append(lm.Status.Conditions, stalled), v1alpha1.PhaseFailed
	}
	if err := cluster.client.Status().Update(w.t.Context(), lm); err != nil {
		w.t.Fatal(err)
	}
	return w.observe(lm)
}

// setTTL changes the time to live of a migration.
func (m *move) setTTL(ttl *int32) {
	m.t.Helper()
	if !poll(m.t.Context(), func() bool {
		lm := m.latest().DeepCopy()
		lm.Spec.TTLSecondsAfterFinished = ttl
		err := cluster.client.Update(m.t.Context(), lm)
		if err != nil && !apierrors.IsConflict(err) {
			m.t.Fatal(err)
		}
		return err == nil
	}) {
		m.t.Fatal("the time to live cannot be changed")
	}
}

func TestTimeToLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const tick = 4 * time.Second
	soon, late := new(int32(tick/time.Second)), new(int32(3600))
	begin := time.Now()
	at := func(when time.Duration) { time.Sleep(time.Until(begin.Add(when))) }

	kept, zero := w.ended(metav1.ConditionTrue, nil), w.ended(metav1.ConditionFalse, new(int32(0)))
	due, far := w.ended(metav1.ConditionTrue, soon), w.ended(metav1.ConditionTrue, late)
	shortened, lengthened, lifted := w.ended(metav1.ConditionFalse, late), w.ended(metav1.ConditionTrue, soon), w.ended(metav1.ConditionTrue, soon)
	endless := w.migrate(w.newGuest("nowhere"), "b")
	w.startManager(clock.RealClock{})
	zero.awaitGone()
	at(time.Second)
	shortened.setTTL(soon)
	lengthened.setTTL(late)
	lifted.setTTL(nil)
	// Times have whole seconds: the object may go one second early. A busy machine may look late.
	const early = tick - time.Second
	at(early - 100*time.Millisecond)
	if due.isGone() && time.Since(begin) < early {
		t.Error("the object was removed too early")
	}
	due.awaitGone()
	shortened.awaitGone()
	at(tick + 2*time.Second)
	for name, m := range map[string]*move{
		"no time to live": kept, "one that is not over": far, "one that was lengthened": lengthened, "one that was lifted": lifted,
		"no end": endless,
	} {
		if m.isGone() || !m.latest().DeletionTimestamp.IsZero() {
			t.Errorf("an object with %s was deleted", name)
		}
	}
}

// TestTimeToLiveIsTheLatestOne puts changes between the decision to delete an
// object and the deletion.
func TestTimeToLiveIsTheLatestOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(w *world, m *move)
	}{
		{"the time to live is lengthened", func(_ *world, m *move) { m.setTTL(new(int32(3600))) }},
		{"another object takes the name", func(w *world, m *move) {
			lm := m.latest()
			m.delete(w.t.Context())
			w.create(&v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: lm.Name, Namespace: lm.Namespace}, Spec: lm.Spec})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := w.ended(metav1.ConditionTrue, new(int32(0)))
			between := interceptor.NewClient(cluster.client, interceptor.Funcs{
				Delete: func(ctx context.Context, api client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
					c.change(w, m)
					return api.Delete(ctx, o, opts...)
				},
			})
			r := &controllers.TTLReconciler{Client: between, Reader: cluster.client, Clock: shiftedClock{ahead: time.Second}}
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: m.key()}); err != nil {
				t.Error(err)
			}
			lm := &v1alpha1.LiveMigration{}
			if err := cluster.client.Get(t.Context(), m.key(), lm); err != nil || !lm.DeletionTimestamp.IsZero() {
				t.Errorf("the object was deleted: %v", err)
			}
		})
	}
}

// TestTimeToLiveIsNotReadFromAnOldView of the object.
func TestTimeToLiveIsNotReadFromAnOldView(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.ended(metav1.ConditionTrue, new(int32(0)))
	old := m.latest()
	m.setTTL(new(int32(3600)))
	r := &controllers.TTLReconciler{Client: viewedAs(old), Reader: cluster.client, Clock: shiftedClock{ahead: time.Second}}
	result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: m.key()})
	if err != nil || result.RequeueAfter < 3500*time.Second {
		t.Errorf("the next look is in %s: %v", result.RequeueAfter, err)
	}
	lm := &v1alpha1.LiveMigration{}
	if err := cluster.client.Get(t.Context(), m.key(), lm); err != nil || !lm.DeletionTimestamp.IsZero() {
		t.Errorf("the object was deleted: %v", err)
	}
}
