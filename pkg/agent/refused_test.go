package agent

import (
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestNothingIsPromisedToAGuestThatTheSourceRefuses: the target looks what is in its way, and that
// is all. Until then, it has what it is given.
func TestNothingIsPromisedToAGuestThatTheSourceRefuses(t *testing.T) {
	t.Parallel()
	for _, refused := range []bool{false, true} {
		lm := arriving(1<<30, 0, 1<<20)
		lm.Status.Target, lm.Status.Source.StartRequestedTime = nil, nil
		if refused {
			lm.Status.Source.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonSourceCheckFailed, Message: "No."}
		}
		offer := &v1alpha1.TargetOffer{PCIDevices: []v1alpha1.TargetPCIDevice{{Source: "0000:81:00.1", Target: "0000:3b:00.1"}}}
		if parts := partsOf(lm, offer); (len(parts) == 0) != refused {
			t.Errorf("refused: %t, and these are its: %v", refused, parts)
		}
		var space spacePool
		disks := []v1alpha1.GuestDisk{{Name: "vda", Path: "/images/web", Format: "qcow2", CapacityBytes: 1 << 20, AllocatedBytes: 1 << 20}}
		lm.Status.Source.Guest.Disks = disks
		places := []migration.ImagePlace{{Allowed: true, Image: hypervisor.ImageSight{AvailableBytes: 1 << 30}}}
		seen := &placesSeen{directories: map[string]migration.FileSystemSight{"/images": {SizeBytes: 1 << 31, LeastBytes: 1 << 30, MostBytes: 1 << 30}}}
		_, blockers, _ := space.plan(lm, disks, places, seen, func(places []migration.ImagePlace, left *migration.Space) ([]v1alpha1.TargetImage, []v1alpha1.Blocker) {
			return migration.PlanImages("node-b", disks, places, left, lm.CreationTimestamp.Time)
		})
		if len(blockers) > 0 || (len(space.promised) == 0) != refused || (len(space.places) == 0) != refused {
			t.Errorf("refused: %t, and it was promised %v in %v", refused, space.promised, space.places)
		}
	}
}
