package migration

import (
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestPreallocatedImagesTakeTheirSpaceAtOnce: before they are made, all of a disk's size is to come,
// however little is in it, and nothing any more afterwards.
func TestPreallocatedImagesTakeTheirSpaceAtOnce(t *testing.T) {
	const dir, size, used = "/images", 100 << 20, 30 << 20
	t.Parallel()
	lm := makeMigration("m").started().copying(v1alpha1.TargetImageMade).lm
	target := lm.Status.Target
	disk := v1alpha1.GuestDisk{Name: "vda", Path: dir + "/web", Format: "qcow2", CapacityBytes: size, AllocatedBytes: used}
	lm.Status.Source.Guest.Disks = []v1alpha1.GuestDisk{disk}
	for _, c := range []struct {
		preallocate *bool
		mode        v1alpha1.StorageCopyMode
		state       v1alpha1.TargetImageState
		taken, left int64
	}{
		{nil, v1alpha1.StorageCopyFull, v1alpha1.TargetImagePlanned, used, used},
		{new(false), v1alpha1.StorageCopyFull, v1alpha1.TargetImageMade, used, used},
		{new(true), v1alpha1.StorageCopyFull, v1alpha1.TargetImagePlanned, size, size},
		{new(true), v1alpha1.StorageCopyFull, v1alpha1.TargetImageMade, size, 0},
		{new(true), v1alpha1.StorageCopyIncremental, v1alpha1.TargetImageMade, used, used},
	} {
		lm.Spec.Options = &v1alpha1.MigrationOptions{StorageCopy: &v1alpha1.StorageCopyOptions{Mode: c.mode, Preallocate: c.preallocate}}
		target.Images = []v1alpha1.TargetImage{{Name: "vda", Path: disk.Path, State: c.state}}
		if taken := SpaceTaken(lm, lm.Status.Source.Guest.Disks)[0].AllocatedBytes; taken != c.taken {
			t.Errorf("%+v: the image takes %d bytes", c, taken)
		}
		made := hypervisor.ImageSight{Exists: true}
		if c.state == v1alpha1.TargetImageMade && Preallocates(lm) {
			made.AllocatedBytes = size
		}
		sight := FileSystemSight{SizeBytes: 1 << 30, LeastBytes: 1 << 29, MostBytes: 1 << 29}
		space := NewSpace(map[string]FileSystemSight{dir: sight}, []SpaceClaim{SpaceToCome(lm, target)}, map[string]hypervisor.ImageSight{disk.Path: made})
		if left := 1<<29 - space.Left(dir); left != c.left {
			t.Errorf("%+v: %d bytes are still to come", c, left)
		}
	}
	if lm.Status.Source.Guest.Disks[0].AllocatedBytes != used {
		t.Error("what the source says has been changed")
	}
}
