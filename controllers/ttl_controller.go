package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TTLReconciler deletes LiveMigrations that have ended when their time to live
// is over.
type TTLReconciler struct {
	Client client.Client
	// Reader reads past all caches.
	Reader client.Reader
	Clock  clock.Clock
}

// SetupWithManager registers the reconciler.
func (r *TTLReconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("livemigration-ttl").
		For(&v1alpha1.LiveMigration{}, builder.WithPredicates(predicate.NewPredicateFuncs(expires))).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the time-to-live controller: %w", err)
	}
	return nil
}

// expires reports whether an object's time to live counts.
func expires(o client.Object) bool {
	lm, ok := o.(*v1alpha1.LiveMigration)
	return ok && lm.Spec.TTLSecondsAfterFinished != nil && lm.Status.CompletionTime != nil
}

// Reconcile implements reconcile.Reconciler.
func (r *TTLReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	lm := &v1alpha1.LiveMigration{}
	if err := r.Client.Get(ctx, req.NamespacedName, lm); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	wait, due := r.due(lm)
	if !due {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	// The time to live may have been changed a moment ago.
	if err := r.Reader.Get(ctx, req.NamespacedName, lm); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if wait, due = r.due(lm); !due {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	err := r.Client.Delete(ctx, lm, client.Preconditions{UID: &lm.UID, ResourceVersion: &lm.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return retryConflict(fmt.Errorf("deleting the LiveMigration: %w", err))
	}
	return ctrl.Result{}, nil
}

// due reports whether the time to live is over or else, if there is one, how
// long it still lasts. What cannot be decoded is left alone.
func (r *TTLReconciler) due(lm *v1alpha1.LiveMigration) (wait time.Duration, due bool) {
	ttl, done := lm.Spec.TTLSecondsAfterFinished, lm.Status.CompletionTime
	if caches.Unreadable(lm) != "" || ttl == nil || done == nil || !migration.Finished(lm) || !lm.DeletionTimestamp.IsZero() {
		return 0, false
	}
	wait = done.Add(time.Duration(*ttl) * time.Second).Sub(r.Clock.Now())
	return wait, wait <= 0
}
