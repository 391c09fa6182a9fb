package agent

import (
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestSpaceIsGivenBackAfterEachWayToEnd: nothing is promised any more to a migration that is over,
// and its places are free.
func TestSpaceIsGivenBackAfterEachWayToEnd(t *testing.T) {
	waits := func(w *world) { w.api.full = true }
	ends := func(ending fake.Ending) func(*world) {
		return func(w *world) { w.fleet.ScriptNext(guestUUID, fake.Script{Ending: ending}) }
	}
	cancel := func(w *world, lm *v1alpha1.LiveMigration) { w.ask(lm, v1alpha1.AnnotationCancel, "now") }
	for name, c := range map[string]struct {
		before func(w *world)
		during func(w *world, lm *v1alpha1.LiveMigration)
		dry    bool
		mapped string // Where the target has what is in /images.
	}{
		"it succeeds":                         {},
		"it succeeds, in another place":       {mapped: "/images/of-others"},
		"libvirt fails, in another place":     {before: ends(fake.EndsTargetLost), mapped: "/images/of-others"},
		"libvirt fails":                       {before: ends(fake.EndsTargetLost)},
		"the guest shuts down":                {before: ends(fake.EndsPoweredOff)},
		"it is cancelled before its start":    {before: waits, during: cancel},
		"it is refused":                       {before: func(w *world) { w.fleet.Host("node-b").SetSpace(1 << 20) }},
		"the source refuses it":               {before: func(w *world) { w.fleet.Host("node-a").SetTies(guestUUID, hypervisor.Ties{Snapshots: 1}) }},
		"nothing is to be moved":              {dry: true},
		"its place is another's":              {before: func(w *world) { w.fleet.Host("node-b").AddImage(itsMark, markOf("another")) }},
		"it is cancelled, with another place": {before: waits, during: cancel, mapped: "/images/of-others"},
		"the target's agent is another process": {before: waits, during: func(w *world, lm *v1alpha1.LiveMigration) {
			w.b.stop()
			w.b.start()
			time.Sleep(time.Second)
			cancel(w, lm)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				w.api.mappings = []v1alpha1.StorageMapping{{Kind: v1alpha1.StorageKindDirectory, From: "/images", To: c.mapped}}
				if c.mapped == "" {
					w.api.mappings = nil
				}
				if c.before != nil {
					c.before(w)
				}
				lm := w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					copies(v1alpha1.StorageCopyOptions{})(lm)
					lm.Spec.DryRun = new(c.dry)
				})
				if c.during != nil {
					w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
						return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
					})
					c.during(w, lm)
				}
				w.settle(lm)
				time.Sleep(time.Minute) // Until the sessions have ended.
				space := &w.b.node.space
				space.mu.Lock()
				defer space.mu.Unlock()
				if len(space.promised)+len(space.checked)+len(space.places) > 0 {
					t.Errorf("kept are %v, %v and %v", space.promised, space.checked, space.places)
				}
			})
		})
	}
}
