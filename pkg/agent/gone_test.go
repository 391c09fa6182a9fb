package agent

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestAMigrationWhoseObjectIsGone ends: one that copies is aborted, though nobody can be told,
// and of one that was not started nothing is left to do.
func TestAMigrationWhoseObjectIsGone(t *testing.T) {
	t.Run("while it copies", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.busy()
			lm := w.migrateWith(guestUUID, keepGoing(false))
			w.copying(lm)
			w.setAway(true)
			w.a.source.Remove(keyOf(lm))
			time.Sleep(30 * time.Second)
			w.requireCalls(fake.MethodAbortJob, 1)
			w.requireOnce("node-a")
			w.setAway(false)
			time.Sleep(10 * time.Second)
			synctest.Wait()
		})
	})
	t.Run("while it waits", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.api.full = true
			lm := w.migrate(guestUUID)
			w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
				return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
			})
			w.a.source.Remove(keyOf(lm))
			w.b.target.Remove(keyOf(lm))
			time.Sleep(time.Second)
			synctest.Wait()
			if w.a.source.Serves(keyOf(lm)) || w.b.target.Serves(keyOf(lm)) {
				t.Error("its service goes on")
			}
			w.requireCalls(fake.MethodMigrate, 0)
		})
	})
}
