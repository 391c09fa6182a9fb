package migration

import (
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Media in the guest's drives, which it may leave behind.

// EjectsMedia reports whether media that the target does not have are to be ejected.
func EjectsMedia(lm *v1alpha1.LiveMigration) bool {
	o := lm.Spec.Options
	return o != nil && o.EjectMissingMedia != nil && *o.EjectMissingMedia
}

// OnlyMedia returns those files that are media in drives, of which nothing is compared.
func OnlyMedia(files []v1alpha1.DiskFile) []v1alpha1.DiskFile {
	var out []v1alpha1.DiskFile
	for _, f := range files {
		if f.Removable {
			f.Marker, f.ChangeTime = "", nil
			out = append(out, f)
		}
	}
	return out
}

// MediaToEject are where media would have to be on the target that are to be ejected, because
// the target has said that it does not have them. A floppy disk that is copied stays in its
// drive.
func MediaToEject(lm *v1alpha1.LiveMigration) []string {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	if !EjectsMedia(lm) || source == nil || source.Guest == nil || target == nil {
		return nil
	}
	var out []string
	for _, f := range source.Guest.DiskFiles {
		copied := slices.ContainsFunc(source.Guest.Disks, func(d v1alpha1.GuestDisk) bool { return d.Name == f.Disk })
		missing := slices.ContainsFunc(target.DiskFiles, func(t v1alpha1.TargetDiskFile) bool {
			return t.Path == f.Path && t.State == v1alpha1.TargetDiskFileMissing
		})
		if f.Removable && !copied && missing {
			out = append(out, f.Path)
		}
	}
	return out
}
