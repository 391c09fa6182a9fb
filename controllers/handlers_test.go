package controllers

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/virtferry/virtferry/internal/caches"
)

// TestNewsOfAMigration: what is known of an object is kept when it changes, and not when it is
// another one of the same name.
func TestNewsOfAMigration(t *testing.T) {
	q, _ := newTurns()
	work := priorityqueue.New[reconcile.Request]("test")
	defer work.ShutDown()
	h := migrationHandler{q}
	old := newMigration("m", "web", "node-b", "5")
	h.Create(t.Context(), event.CreateEvent{Object: old}, work)
	entry := q.entries[old.UID]
	changed := newMigration("m", "web", "node-b", "6")
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: old, ObjectNew: changed}, work)
	if entry == nil || q.entries[old.UID] != entry || entry.lm != changed {
		t.Errorf("after a change, %+v is known", q.entries[old.UID])
	}
	unreadable := newMigration("m", "web", "node-b", "7")
	unreadable.Annotations = map[string]string{caches.UnreadableMark: "why"}
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: changed, ObjectNew: unreadable}, work)
	if n := q.census.state().UnreadableMigrations; n != 1 {
		t.Errorf("%d cannot be decoded, want 1", n)
	}
	another := newMigration("m", "web", "node-b", "8")
	another.UID = "another"
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: unreadable, ObjectNew: another}, work)
	if q.entries[old.UID] != nil || q.entries[another.UID] == nil {
		t.Errorf("after it was made again, %v are known", q.entries)
	}
	if n := q.census.state().UnreadableMigrations; n != 0 {
		t.Errorf("after that, %d cannot be decoded", n)
	}
	h.Delete(t.Context(), event.DeleteEvent{Object: another}, work)
	if len(q.entries) != 0 {
		t.Errorf("after it was deleted, %v are known", q.entries)
	}
	if key, _ := work.Get(); key.NamespacedName != client.ObjectKeyFromObject(old) {
		t.Errorf("reconciled is %s", key)
	}
}
