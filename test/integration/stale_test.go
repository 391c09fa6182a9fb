//go:build integration

package integration

import (
	"context"
	"testing"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers"
)

// TestOldViewsChangeNothing reconciles a migration that has succeeded as a manager
// does whose cache is late: it sees each of the states that the object went
// through, long after. Nothing may be written, and nothing told twice.
func TestOldViewsChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	stop := w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b))
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	stop()

	settled := m.latest()
	for _, old := range m.history() {
		recorder := events.NewFakeRecorder(10)
		late := viewedAs(old)
		r := &controllers.LiveMigrationReconciler{
			Client: late, Reader: cluster.client, Events: recorder, Clock: shiftedClock{ahead: time.Hour},
			Namespace: w.name, Limits: plenty(),
		}
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: m.key()}); err != nil {
			t.Errorf("seen as %s at %s: %v", old.Status.Phase, old.ResourceVersion, err)
		}
		m.requireUnchanged(settled)
		if len(recorder.Events) > 0 {
			t.Errorf("seen as %s, an event was told again: %s", old.Status.Phase, <-recorder.Events)
		}
	}
}

// viewedAs returns a client that sees a LiveMigration in an old state.
func viewedAs(old *v1alpha1.LiveMigration) client.Client {
	return interceptor.NewClient(cluster.client, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			lm, ok := o.(*v1alpha1.LiveMigration)
			if !ok || key != client.ObjectKeyFromObject(old) {
				return c.Get(ctx, key, o, opts...)
			}
			old.DeepCopyInto(lm)
			return nil
		},
	})
}
