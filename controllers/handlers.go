package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/migration"
)

type work = workqueue.TypedRateLimitingInterface[reconcile.Request]

// migrationHandler tells the queue of each migration before it has it reconciled, in the
// order of the events: of two that were applied one after the other, the queue knows the
// first whenever it decides on the second.
type migrationHandler struct{ turns *queue }

var _ handler.EventHandler = migrationHandler{}

// Create implements handler.EventHandler.
func (h migrationHandler) Create(_ context.Context, e event.CreateEvent, q work) { h.put(e.Object, q) }

// Update implements handler.EventHandler.
func (h migrationHandler) Update(_ context.Context, e event.UpdateEvent, q work) {
	if old, ok := e.ObjectOld.(*v1alpha1.LiveMigration); ok && old.UID != e.ObjectNew.GetUID() {
		// It was deleted and made again while the watch was broken.
		h.turns.Remove(old)
		h.turns.census.noteUnreadable(old, false)
	}
	h.put(e.ObjectNew, q)
}

// Delete implements handler.EventHandler.
func (h migrationHandler) Delete(_ context.Context, e event.DeleteEvent, q work) {
	if lm, ok := e.Object.(*v1alpha1.LiveMigration); ok {
		h.turns.serve(q)
		h.turns.Remove(lm)
		h.turns.census.noteUnreadable(lm, false)
		q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(lm)})
	}
}

// Generic implements handler.EventHandler. There are no such events.
func (h migrationHandler) Generic(context.Context, event.GenericEvent, work) {}

func (h migrationHandler) put(o client.Object, q work) {
	lm, ok := o.(*v1alpha1.LiveMigration)
	if !ok {
		return
	}
	h.turns.serve(q)
	h.turns.census.noteUnreadable(lm, caches.Unreadable(lm) != "")
	// Whatever may change somebody's turn is followed by a look for it.
	if changes := h.turns.Put(lm); changes || !migration.Settled(lm) {
		q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(lm)})
	}
}

// hypervisorHandler tells the queue of each node, which wakes the migrations that the
// news concern.
type hypervisorHandler struct{ turns *queue }

var _ handler.EventHandler = hypervisorHandler{}

// Create implements handler.EventHandler.
func (h hypervisorHandler) Create(_ context.Context, e event.CreateEvent, q work) { h.put(e.Object, q) }

// Update implements handler.EventHandler.
func (h hypervisorHandler) Update(_ context.Context, e event.UpdateEvent, q work) {
	h.put(e.ObjectNew, q)
}

// Delete implements handler.EventHandler.
func (h hypervisorHandler) Delete(_ context.Context, e event.DeleteEvent, q work) {
	h.turns.serve(q)
	h.turns.RemoveNode(e.Object.GetName())
	h.turns.census.removeNode(e.Object.GetName())
}

// Generic implements handler.EventHandler. There are no such events.
func (h hypervisorHandler) Generic(context.Context, event.GenericEvent, work) {}

func (h hypervisorHandler) put(o client.Object, q work) {
	if hv, ok := o.(*v1alpha1.Hypervisor); ok {
		h.turns.serve(q)
		h.turns.PutNode(nodeOf(hv))
		h.turns.census.putNode(hv.Name, stateOf(hv))
	}
}

// serve makes the queue wake migrations through their controller's work queue.
func (q *queue) serve(w work) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wake = func(key types.NamespacedName) { w.Add(reconcile.Request{NamespacedName: key}) }
	q.wakeAfter = func(key types.NamespacedName, d time.Duration) { w.AddAfter(reconcile.Request{NamespacedName: key}, d) }
}
