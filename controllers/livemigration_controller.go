package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/internal/metrics"
	"github.com/virtferry/virtferry/pkg/migration"
)

// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=livemigrations,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=livemigrations/status,verbs=patch
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=livemigrations/finalizers,verbs=update
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=hypervisors,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// For who asks for metrics:
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// LiveMigrationReconciler lets migrations go ahead and says what becomes of
// them.
type LiveMigrationReconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Reader reads past all caches.
	Reader client.Reader
	Events events.EventRecorder
	Clock  clock.Clock
	// Namespace is where the ledger of slots is kept.
	Namespace string
	// Limits bound how many migrations go on at once.
	Limits migration.Limits
	// Metrics is where the reconciler registers what it tells Prometheus; nil where it
	// tells nothing.
	Metrics prometheus.Registerer

	once    sync.Once
	turns   *queue
	metrics *metrics.Manager
}

// concurrency is how many migrations are reconciled at a time. They wait for the API
// server more than they compute.
const concurrency = 64

// How long it takes until a reconciliation that has failed is tried again.
const (
	failureRetry     = 5 * time.Millisecond
	failureRetryMost = 30 * time.Second
)

// SetupWithManager registers the reconciler.
func (r *LiveMigrationReconciler) SetupWithManager(mgr ctrl.Manager) error {
	err := ctrl.NewControllerManagedBy(mgr).
		Named("livemigration").
		Watches(&v1alpha1.LiveMigration{}, migrationHandler{r.queue()}).
		Watches(&v1alpha1.Hypervisor{}, hypervisorHandler{r.queue()}).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: concurrency,
			// One that was promised a slot holds it until its status could be written.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](failureRetry, failureRetryMost),
		}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the LiveMigration controller: %w", err)
	}
	return r.setupMetrics(mgr.Elected())
}

// setupMetrics makes the metrics. What there is at the moment is told by the manager that
// leads: the others do not look.
func (r *LiveMigrationReconciler) setupMetrics(elected <-chan struct{}) error {
	r.metrics = metrics.NewManager(func() (metrics.State, bool) {
		select {
		case <-elected:
			return r.queue().census.state(), true
		default:
			return metrics.State{}, false
		}
	})
	if r.Metrics == nil {
		return nil
	}
	if err := r.Metrics.Register(r.metrics); err != nil {
		return fmt.Errorf("registering the metrics of migrations: %w", err)
	}
	return nil
}

func (r *LiveMigrationReconciler) queue() *queue {
	r.once.Do(func() { r.turns = newQueue(r.Client, r.Reader, r.Namespace, r.Limits, r.Clock) })
	return r.turns
}

// Reconcile implements reconcile.Reconciler.
func (r *LiveMigrationReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if req.NamespacedName == settleKey {
		return ctrl.Result{}, r.queue().Settle(ctx)
	}
	lm := &v1alpha1.LiveMigration{}
	switch err := r.Client.Get(ctx, req.NamespacedName, lm); {
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, r.queue().Settle(ctx)
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("reading the LiveMigration: %w", err)
	}
	if caches.Unreadable(lm) != "" {
		// What it lacks might be that it was started. It counts as under way.
		return ctrl.Result{}, nil
	}
	lm = lm.DeepCopy()
	recheck, err := r.reconcileStatus(ctx, lm)
	if err != nil {
		return retryConflict(err)
	}
	if migration.Finished(lm) && hasFinalizer(lm) && !r.queue().IsReleased(lm) {
		if err := r.removeFinalizer(ctx, lm); err != nil {
			return retryConflict(err)
		}
		r.queue().Released(lm)
	}
	if err := r.queue().Settle(ctx); err != nil {
		return ctrl.Result{}, err
	}
	if recheck.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(recheck.Sub(r.Clock.Now()), time.Millisecond)}, nil
}

// retryConflict waits for the news of an object that has changed while it was
// being reconciled: its event brings it back.
func retryConflict(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || errors.Is(err, errStale) {
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	}
	return ctrl.Result{}, err
}

// conflictRetry is the time until another look at an object whose event, for
// once, brings nothing new.
const conflictRetry = time.Second

func hasFinalizer(lm *v1alpha1.LiveMigration) bool {
	return slices.Contains(lm.Finalizers, v1alpha1.FinalizerGuestSafe)
}

// reconcileStatus decides and writes. It leaves lm as it is in the API server
// afterwards.
func (r *LiveMigrationReconciler) reconcileStatus(ctx context.Context, lm *v1alpha1.LiveMigration) (time.Time, error) {
	r.metrics.Saw(lm)
	if err := r.holdAgain(ctx, lm); err != nil {
		return time.Time{}, err
	}
	summary, err := r.decide(ctx, lm)
	if err != nil {
		return time.Time{}, err
	}
	before, next := lm.DeepCopy(), statusWith(lm, &summary.Status)
	if equality.Semantic.DeepEqual(next, &lm.Status) {
		return summary.Recheck, nil
	}
	if due := r.queue().NextWrite(lm); migration.MayWait(&lm.Status, next) && r.Clock.Now().Before(due) {
		return earlier(due, summary.Recheck), nil
	}
	if err := r.applyStatus(ctx, lm, next); err != nil {
		r.queue().Failed(lm, err)
		return time.Time{}, err
	}
	r.queue().Wrote(lm)
	r.metrics.Wrote(before, lm)
	r.emit(before, lm)
	return summary.Recheck, nil
}

// holdAgain puts the finalizer back on a migration that runs: who replaces an object takes
// its finalizers away.
func (r *LiveMigrationReconciler) holdAgain(ctx context.Context, lm *v1alpha1.LiveMigration) error {
	if hasFinalizer(lm) || !migration.Started(lm) || migration.Finished(lm) || !lm.DeletionTimestamp.IsZero() {
		return nil
	}
	if err := r.addFinalizer(ctx, lm); err != nil {
		return err
	}
	r.queue().Wrote(lm)
	return nil
}

// earlier is the earlier of two times, of which the second may be zero, for none.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// decide says what is to be done with a migration. One that may go ahead is held by its
// finalizer before.
func (r *LiveMigrationReconciler) decide(ctx context.Context, lm *v1alpha1.LiveMigration) (migration.Summary, error) {
	summary, err := r.queue().Decide(ctx, lm, uuid.NewString)
	if !errors.Is(err, errNotHeld) {
		return summary, err
	}
	if err := r.addFinalizer(ctx, lm); err != nil {
		r.queue().Failed(lm, err)
		return summary, err
	}
	r.queue().Wrote(lm)
	return r.queue().Decide(ctx, lm, uuid.NewString)
}
