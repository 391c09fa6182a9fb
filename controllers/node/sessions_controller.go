package node

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
)

// The fields by which an agent selects the LiveMigrations that name its node.
const (
	SourceNodeField = "status.sourceNode"
	TargetNodeField = "status.targetNode"
)

// startRetry is the time until an object is offered again to sessions that have
// not been started yet.
const startRetry = 50 * time.Millisecond

// SessionsReconciler hands LiveMigrations to the sessions of one side.
type SessionsReconciler struct {
	reader   client.Reader
	sessions *agent.Sessions
}

// SetupSessions makes mgr run the sessions of one side and hand them the
// LiveMigrations whose field names the node. They have a cache of their own,
// which holds only those.
func SetupSessions(mgr ctrl.Manager, name, field, node string, sessions *agent.Sessions) error {
	objects, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.LiveMigration{}: {Field: fields.OneTermEqualSelector(field, node)},
		},
	})
	if err != nil {
		return fmt.Errorf("creating the cache of %s: %w", name, err)
	}
	if err := mgr.Add(objects); err != nil {
		return fmt.Errorf("adding the cache of %s: %w", name, err)
	}
	if err := mgr.Add(sessions); err != nil {
		return fmt.Errorf("adding the sessions of %s: %w", name, err)
	}
	c, err := controller.New(name, mgr, controller.Options{Reconciler: &SessionsReconciler{reader: objects, sessions: sessions}})
	if err != nil {
		return fmt.Errorf("creating the controller %s: %w", name, err)
	}
	err = c.Watch(source.Kind(objects, &v1alpha1.LiveMigration{}, &handler.TypedEnqueueRequestForObject[*v1alpha1.LiveMigration]{}))
	if err != nil {
		return fmt.Errorf("watching LiveMigrations for %s: %w", name, err)
	}
	return nil
}

// Reconcile implements reconcile.Reconciler.
func (r *SessionsReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	lm := &v1alpha1.LiveMigration{}
	switch err := r.reader.Get(ctx, req.NamespacedName, lm); {
	case apierrors.IsNotFound(err):
		r.sessions.Remove(req.NamespacedName)
		return ctrl.Result{}, nil
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("reading the LiveMigration: %w", err)
	}
	if !r.sessions.Ensure(lm) {
		return ctrl.Result{RequeueAfter: startRetry}, nil
	}
	return ctrl.Result{}, nil
}
