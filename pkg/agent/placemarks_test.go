package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

const (
	copiedImage = "/images/web.qcow2"
	itsMark     = "/images/web.qcow2.virtferry-mark"
)

// markOf is a mark of an attempt.
func markOf(attempt string) hypervisor.ImageSight {
	return hypervisor.ImageSight{Format: "raw", CapacityBytes: migration.MarkBytes(attempt)}
}

// TestAPlaceThatAnotherNodeUsesIsLeftAlone: that one sees the same directory, and may be about
// to make or to remove an image there, though there is none.
func TestAPlaceThatAnotherNodeUsesIsLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		w.fleet.Host("node-b").AddImage(itsMark, markOf("another"))
		lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{})))
		p := targetProblem(lm)
		if lm.Status.Phase != v1alpha1.PhaseFailed || p == nil || p.Blockers[0].Code != v1alpha1.BlockerImageExists || !strings.Contains(p.Message, itsMark) {
			t.Errorf("it ends in %s: %+v", lm.Status.Phase, p)
		}
		w.requireFiles("node-b", itsMark)
	})
}

// TestAPlaceThatAnotherNodeHasTakenIsLeftAlone: an administrator has removed the image and its
// mark, and then another migration has made its own there, which looks just the same.
func TestAPlaceThatAnotherNodeHasTakenIsLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		w.api.full = true
		lm := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{}))
		w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
		})
		b := w.fleet.Host("node-b")
		b.AddImage(copiedImage, hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 1 << 30})
		b.AddImage(itsMark, markOf("another"))
		w.ask(lm, v1alpha1.AnnotationCancel, "now")
		after := w.settle(lm)
		w.requireFiles("node-b", copiedImage+" "+itsMark)
		if image := after.Status.Target.Images[0]; image.State != v1alpha1.TargetImageNotOurs || image.Marked {
			t.Errorf("the image is %+v", image)
		}
	})
}

// TestAMarkIsMadeOnce, and found again by whoever does not know whether it was made.
func TestAMarkIsMadeOnce(t *testing.T) {
	lost := &hypervisor.Error{Kind: hypervisor.KindConnectionLost, Message: "the connection was lost"}
	for name, there := range map[string]map[string]hypervisor.ImageSight{
		"nothing":             {},
		"the mark":            {itsMark: {}},
		"the mark and a file": {itsMark: {}, copiedImage: {Format: "raw", CapacityBytes: hypervisor.ReservedBytes}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				b := w.fleet.Host("node-b")
				b.FailNext(fake.MethodMakeImage, lost) // It was made all the same.
				lm := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{}))
				w.await(lm, "the target", func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Target != nil && len(lm.Status.Target.Images) > 0
				})
				for file, sight := range there {
					if file == itsMark {
						sight = markOf(migration.AttemptID(w.api.get(lm)))
					}
					sight.Changed = time.Now()
					b.AddImage(file, sight)
				}
				if len(there) == 2 {
					w.b.stop()
					w.b.start() // Another process does not know what the first has made.
				}
				if after := w.settle(lm); after.Status.Phase != v1alpha1.PhaseSucceeded || after.Status.Target.Images[0].Marked {
					t.Errorf("it ends in %s with %+v: %+v", after.Status.Phase, after.Status.Target.Images, after.Status.Conditions)
				}
				w.requireFiles("node-b", copiedImage)
			})
		})
	}
}

// TestAMarkThatCannotBeRemovedIsTold, and the migration succeeds all the same.
func TestAMarkThatCannotBeRemovedIsTold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		denied := &hypervisor.Error{Op: "removing an image", Kind: hypervisor.KindOther, Message: "Permission denied"}
		failures := make([]error, 1000)
		for i := range failures {
			failures[i] = denied
		}
		w.fleet.Host("node-b").FailNext(fake.MethodRemoveImage, failures...)
		lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{})))
		if image := lm.Status.Target.Images[0]; lm.Status.Phase != v1alpha1.PhaseSucceeded || !image.Marked || image.Error != "Permission denied" {
			t.Errorf("it ends in %s with %+v", lm.Status.Phase, image)
		}
		if message := lm.Status.Conditions[0].Message; !strings.Contains(message, itsMark) || !strings.Contains(message, "virsh vol-delete") {
			t.Errorf("the message is %q", message)
		}
	})
}
