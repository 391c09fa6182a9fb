package migration

import (
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Preallocates reports whether images take all of their space when they are made.
func Preallocates(lm *v1alpha1.LiveMigration) bool {
	o := StorageCopy(lm)
	return o != nil && o.Preallocate != nil && *o.Preallocate && o.Mode == v1alpha1.StorageCopyFull
}

// SpaceTaken returns disks with what their images will occupy on the target, where that is not
// what they occupy on the source.
func SpaceTaken(lm *v1alpha1.LiveMigration, disks []v1alpha1.GuestDisk) []v1alpha1.GuestDisk {
	out := slices.Clone(disks)
	for i := range out {
		out[i].AllocatedBytes = spaceTaken(lm, out[i])
	}
	return out
}

func spaceTaken(lm *v1alpha1.LiveMigration, d v1alpha1.GuestDisk) int64 {
	if Preallocates(lm) {
		return max(d.AllocatedBytes, d.CapacityBytes)
	}
	return d.AllocatedBytes
}
