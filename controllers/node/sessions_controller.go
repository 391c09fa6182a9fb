package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/migration"
)

// The fields by which an agent selects the LiveMigrations that name its node.
const (
	SourceNodeField = "status.sourceNode"
	TargetNodeField = "status.targetNode"
	phaseField      = "status.phase"
)

// startRetry is the time until an object is offered again to sessions that have
// not been started yet.
const startRetry = 50 * time.Millisecond

// SessionsReconciler hands LiveMigrations to the sessions of one side.
type SessionsReconciler struct {
	// cached has the objects that are not finished, and live reads past it.
	cached client.Reader
	live   client.Reader
	// names reports whether an object names the node on this side.
	names    func(lm *v1alpha1.LiveMigration) bool
	sessions *agent.Sessions

	mu sync.Mutex
	// adopted is whether the sessions were handed what there was at the start.
	adopted bool
}

// SetupSessions makes mgr run the sessions of one side and hand them the
// LiveMigrations whose field names the node. They have a cache of their own,
// which holds only those of them that are not finished: the history of a node is
// longer than what it has to do. What has ended and has left something to do is read once.
// The health that is returned is that of this cache.
func SetupSessions(mgr ctrl.Manager, name, field, node string, sessions *agent.Sessions) (*caches.Health, error) {
	factory, err := caches.NewFactory(mgr.GetConfig(), mgr.GetScheme(), mgr.GetLogger(), clock.RealClock{})
	if err != nil {
		return nil, err
	}
	if err := mgr.AddReadyzCheck("cache-"+name, factory.Health.Check); err != nil {
		return nil, fmt.Errorf("adding the readiness check of %s: %w", name, err)
	}
	objects, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultTransform: cache.TransformStripManagedFields(),
		NewInformer:      factory.Selecting(name, unfinishedOf(field, node)),
	})
	if err != nil {
		return nil, fmt.Errorf("creating the cache of %s: %w", name, err)
	}
	if err := mgr.Add(objects); err != nil {
		return nil, fmt.Errorf("adding the cache of %s: %w", name, err)
	}
	if err := mgr.Add(sessions); err != nil {
		return nil, fmt.Errorf("adding the sessions of %s: %w", name, err)
	}
	r := &SessionsReconciler{
		// What cannot be decoded must not end a session: that is an error, until it can be.
		cached: objects, live: mgr.GetAPIReader(), sessions: sessions,
		names: naming(field, node),
	}
	left := &leftovers{
		live: mgr.GetAPIReader(), node: node, names: r.names, sessions: sessions,
		clock: clock.RealClock{}, log: mgr.GetLogger().WithName("leftovers").WithValues("side", name),
	}
	if err := mgr.Add(left); err != nil {
		return nil, fmt.Errorf("adding what looks for leftovers of %s: %w", name, err)
	}
	c, err := controller.New(name, mgr, controller.Options{Reconciler: r})
	if err != nil {
		return nil, fmt.Errorf("creating the controller %s: %w", name, err)
	}
	err = c.Watch(source.Kind(objects, &v1alpha1.LiveMigration{}, &handler.TypedEnqueueRequestForObject[*v1alpha1.LiveMigration]{}))
	if err != nil {
		return nil, fmt.Errorf("watching LiveMigrations for %s: %w", name, err)
	}
	return factory.Health, nil
}

// naming tells whether an object's field names the node.
func naming(field, node string) func(*v1alpha1.LiveMigration) bool {
	if field == SourceNodeField {
		return func(lm *v1alpha1.LiveMigration) bool { return lm.Status.SourceNode == node }
	}
	return func(lm *v1alpha1.LiveMigration) bool { return lm.Status.TargetNode == node }
}

// unfinishedOf selects the objects whose field names the node, and that have not
// ended. Selectors know no conditions; the phase follows them.
func unfinishedOf(field, node string) fields.Selector {
	not := func(phase v1alpha1.LiveMigrationPhase) fields.Selector {
		return fields.OneTermNotEqualSelector(phaseField, string(phase))
	}
	return fields.AndSelectors(fields.OneTermEqualSelector(field, node),
		not(v1alpha1.PhaseSucceeded), not(v1alpha1.PhaseFailed), not(v1alpha1.PhaseCancelled))
}

// Reconcile implements reconcile.Reconciler.
func (r *SessionsReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if done, err := r.adopt(ctx); err != nil || !done {
		return ctrl.Result{RequeueAfter: startRetry}, err
	}
	lm := &v1alpha1.LiveMigration{}
	switch err := r.cached.Get(ctx, req.NamespacedName, lm); {
	case apierrors.IsNotFound(err):
		return ctrl.Result{}, r.leave(ctx, req)
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("reading the LiveMigration: %w", err)
	}
	// Otherwise a session goes on by what it was told last.
	if caches.Unreadable(lm) == "" {
		r.sessions.Ensure(lm)
	}
	return ctrl.Result{}, nil
}

// adopt hands all that there is at the start to the sessions, once. It reports false
// if they have not been started yet.
func (r *SessionsReconciler) adopt(ctx context.Context) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.adopted {
		return true, nil
	}
	var all v1alpha1.LiveMigrationList
	if err := r.cached.List(ctx, &all); err != nil {
		return false, fmt.Errorf("listing the LiveMigrations: %w", err)
	}
	objects := make([]*v1alpha1.LiveMigration, 0, len(all.Items))
	for i := range all.Items {
		if caches.Unreadable(&all.Items[i]) == "" {
			objects = append(objects, &all.Items[i])
		}
	}
	r.adopted = r.sessions.Adopt(objects)
	return r.adopted, nil
}

// leave tells the session of an object that the cache has lost why: it has ended, which
// its session must see, or is gone, or no longer names the node.
func (r *SessionsReconciler) leave(ctx context.Context, req ctrl.Request) error {
	if !r.sessions.Serves(req.NamespacedName) {
		return nil
	}
	lm := &v1alpha1.LiveMigration{}
	err := r.live.Get(ctx, req.NamespacedName, lm)
	switch {
	case apierrors.IsNotFound(err):
		r.sessions.Remove(req.NamespacedName)
	case err != nil:
		return fmt.Errorf("reading the LiveMigration that has left the cache: %w", err)
	case migration.Finished(lm), r.names(lm):
		r.sessions.Ensure(lm)
	default:
		r.sessions.Remove(req.NamespacedName)
	}
	return nil
}
