package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=livemigrations,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=livemigrations/status,verbs=patch
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=livemigrations/finalizers,verbs=update
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=hypervisors,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// LiveMigrationReconciler lets migrations go ahead and says what becomes of
// them.
type LiveMigrationReconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Reader reads past all caches.
	Reader client.Reader
	Events events.EventRecorder
	Clock  clock.Clock

	// admission makes the decision to let a migration go ahead, and its record,
	// one step: no two of the same guest go ahead at once.
	admission sync.Mutex
}

// SetupWithManager registers the reconciler.
func (r *LiveMigrationReconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.LiveMigration{}).
		Watches(&v1alpha1.LiveMigration{}, handler.EnqueueRequestsFromMapFunc(r.waitingFor)).
		Watches(&v1alpha1.Hypervisor{}, handler.EnqueueRequestsFromMapFunc(r.concerning)).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the LiveMigration controller: %w", err)
	}
	return nil
}

// Reconcile implements reconcile.Reconciler.
func (r *LiveMigrationReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	lm := &v1alpha1.LiveMigration{}
	if err := r.Client.Get(ctx, req.NamespacedName, lm); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	lm = lm.DeepCopy()
	if needsFinalizer(lm) {
		if err := r.applyFinalizers(ctx, lm, v1alpha1.FinalizerGuestSafe); err != nil {
			return retryConflict(err)
		}
	}
	recheck, err := r.reconcileStatus(ctx, lm)
	if err != nil {
		return retryConflict(err)
	}
	if migration.Finished(lm) && hasFinalizer(lm) {
		if err := r.applyFinalizers(ctx, lm); err != nil {
			return retryConflict(err)
		}
	}
	if recheck.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(recheck.Sub(r.Clock.Now()), time.Millisecond)}, nil
}

// retryConflict waits for the news of an object that has changed while it was
// being reconciled: its event brings it back.
func retryConflict(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	}
	return ctrl.Result{}, err
}

// conflictRetry is the time until another look at an object whose event, for
// once, brings nothing new.
const conflictRetry = time.Second

func needsFinalizer(lm *v1alpha1.LiveMigration) bool {
	return lm.DeletionTimestamp.IsZero() && !migration.Finished(lm) && !hasFinalizer(lm)
}

func hasFinalizer(lm *v1alpha1.LiveMigration) bool {
	return slices.Contains(lm.Finalizers, v1alpha1.FinalizerGuestSafe)
}

// reconcileStatus decides and writes. It leaves lm as it is in the API server
// afterwards.
func (r *LiveMigrationReconciler) reconcileStatus(ctx context.Context, lm *v1alpha1.LiveMigration) (time.Time, error) {
	facts, err := r.observe(ctx, r.Client, lm)
	if err != nil {
		return time.Time{}, err
	}
	summary := migration.Summarize(facts, r.Clock.Now())
	if settlesPlace(lm, &summary.Status) {
		r.admission.Lock()
		defer r.admission.Unlock()
		if facts, err = r.observe(ctx, r.Reader, lm); err != nil {
			return time.Time{}, err
		}
		summary = migration.Summarize(facts, r.Clock.Now())
	}
	before := lm.DeepCopy()
	if err := r.applyStatus(ctx, lm, &summary.Status); err != nil {
		return time.Time{}, err
	}
	r.emitTransition(before, lm)
	return summary.Recheck, nil
}

// settlesPlace reports whether a decision depends on what other migrations do:
// then it is made again with their latest state.
func settlesPlace(lm *v1alpha1.LiveMigration, next *v1alpha1.LiveMigrationStatus) bool {
	had, has := lm.Status.Attempt, next.Attempt
	admitted := has != nil && (had == nil || had.ID != has.ID)
	return admitted || has == nil && next.Phase == v1alpha1.PhaseSucceeded
}

// observe gathers the facts by the given reader.
func (r *LiveMigrationReconciler) observe(ctx context.Context, reader client.Reader, lm *v1alpha1.LiveMigration) (migration.ManagerFacts, error) {
	facts := migration.ManagerFacts{Object: lm, NewAttempt: uuid.NewString}
	if migration.Finished(lm) {
		return facts, nil
	}
	var hypervisors v1alpha1.HypervisorList
	if err := reader.List(ctx, &hypervisors); err != nil {
		return facts, fmt.Errorf("listing the Hypervisors: %w", err)
	}
	for i := range hypervisors.Items {
		facts.Nodes = append(facts.Nodes, nodeOf(&hypervisors.Items[i]))
	}
	if !migration.Started(lm) {
		var all v1alpha1.LiveMigrationList
		if err := reader.List(ctx, &all); err != nil {
			return facts, fmt.Errorf("listing the LiveMigrations: %w", err)
		}
		facts.All = all.Items
	}
	return facts, nil
}

// waitingFor returns the migrations that may go on when one has ended.
func (r *LiveMigrationReconciler) waitingFor(ctx context.Context, o client.Object) []reconcile.Request {
	lm, ok := o.(*v1alpha1.LiveMigration)
	if !ok || !migration.Finished(lm) && lm.DeletionTimestamp.IsZero() {
		return nil
	}
	return r.requests(ctx, func(other *v1alpha1.LiveMigration) bool {
		return other.UID != lm.UID && other.Status.Attempt == nil
	})
}

// concerning returns the migrations that a change of a hypervisor may concern.
func (r *LiveMigrationReconciler) concerning(ctx context.Context, o client.Object) []reconcile.Request {
	return r.requests(ctx, func(lm *v1alpha1.LiveMigration) bool {
		return lm.Status.Attempt == nil || lm.Status.SourceNode == o.GetName() || lm.Status.TargetNode == o.GetName()
	})
}

func (r *LiveMigrationReconciler) requests(ctx context.Context, concerns func(*v1alpha1.LiveMigration) bool) []reconcile.Request {
	var all v1alpha1.LiveMigrationList
	if err := r.Client.List(ctx, &all); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the LiveMigrations failed")
		return nil
	}
	var out []reconcile.Request
	for i := range all.Items {
		if lm := &all.Items[i]; !migration.Finished(lm) && concerns(lm) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(lm)})
		}
	}
	return out
}
