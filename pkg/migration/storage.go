package migration

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Which disks are copied, where to, and what may be removed again.

const (
	// maxDisks and maxPath are what the API takes.
	maxDisks = 64
	maxPath  = 4096
	// emptyImage is more than an image occupies in which nothing was written.
	emptyImage = 1 << 20
	// emptyEncrypted is the same for one that is encrypted, in which there are keys.
	emptyEncrypted = 4 << 20
	// timestampTolerance is by how much a file system's time may lag behind the clock.
	timestampTolerance = time.Second
	// mostBytes is more than any file system has; a sum of such numbers still is one.
	mostBytes = 1 << 60
	// rawFormat is that of images that are nothing but what is on the disk.
	rawFormat = "raw"
	// oneFile is the kind of disks that can be copied.
	oneFile = "file"
)

// DiskFacts are what the source's agent knows of a disk of the guest.
type DiskFacts struct {
	Name string
	// Type is that of the disk's source on the target, such as file; Format the image's.
	Type, Format string
	// SourcePath is its file, and Path where that is on the target; empty for what is no
	// file, or has no medium.
	SourcePath, Path string
	Writable         bool
	// Chained is whether its image is based on another one; BackingPath and BackingFormat are
	// that one's on the target, if it is a file.
	Chained                    bool
	BackingPath, BackingFormat string
	// ChainUnknown is whether nobody says that.
	ChainUnknown bool
	// SecretUUID is what its image is encrypted by on the target; empty if it is not.
	SecretUUID v1alpha1.UUID
	// Obstacle is why it cannot be copied into a new image; empty where it can.
	Obstacle string
	Size     hypervisor.DiskSize
}

// ChooseDisks returns the disks that are to be copied: those that the user names or, where
// there is no list, those that the guest writes to in files, unless the target finds the
// marker beside them. Read-only disks and media are never copied, and what is no file is for
// both hosts to see. Blockers say what is wrong with the list.
func ChooseDisks(o *v1alpha1.StorageCopyOptions, all []DiskFacts, markers *Markers) (chosen []v1alpha1.GuestDisk, blockers []v1alpha1.Blocker) {
	known := map[string]bool{}
	for _, d := range all {
		known[d.Name] = true
		named := slices.Contains(o.Disks, v1alpha1.DiskName(d.Name))
		switch why := notAFileToWrite(d); {
		case named && why != "":
			blockers = append(blockers, notCopyable(d.Name, why))
		case named:
			// Nothing is looked for beside it, so the target could say nothing else.
			disk := guestDisk(o.Mode, d, "")
			if disk.Obstacle != "" {
				blockers = append(blockers, notCopyable(d.Name, disk.Obstacle))
				continue
			}
			chosen = append(chosen, disk)
		case len(o.Disks) == 0 && why == "":
			chosen = append(chosen, guestDisk(o.Mode, d, markers.For(FilePlace{SourcePath: d.SourcePath, Path: d.Path})))
		}
	}
	for _, name := range o.Disks {
		if !known[string(name)] {
			blockers = append(blockers, v1alpha1.Blocker{Code: v1alpha1.BlockerDiskUnknown, Message: fmt.Sprintf(
				"The guest has no disk %s, which options.storageCopy names. Create another LiveMigration that names disks as the guest's definition does", name)})
		}
	}
	if len(chosen) > maxDisks {
		return nil, append(blockers, v1alpha1.Blocker{Code: v1alpha1.BlockerDiskNotCopyable, Message: fmt.Sprintf(
			"The guest has %d disks that may have to be copied, and no more than %d can be. Ask an administrator to put some of them on storage that both hosts share, and then create another LiveMigration", len(chosen), maxDisks)})
	}
	return chosen, blockers
}

func notAFileToWrite(d DiskFacts) string {
	switch {
	case !d.Writable:
		return "the guest only reads it, so an administrator has to put it in the same place on the target"
	case d.Type != oneFile || d.SourcePath != "" && d.Path == "":
		return "it is not in a file on both hosts"
	case d.Path == "":
		return "it has no medium"
	default:
		return ""
	}
}

func notCopyable(disk, why string) v1alpha1.Blocker {
	return v1alpha1.Blocker{Code: v1alpha1.BlockerDiskNotCopyable, Message: fmt.Sprintf(
		"The disk %s cannot be copied: %s. Create another LiveMigration without it in options.storageCopy.disks; if both hosts have to see it, ask an administrator to see to that first", disk, why)}
}

func guestDisk(mode v1alpha1.StorageCopyMode, d DiskFacts, marker string) v1alpha1.GuestDisk {
	out := v1alpha1.GuestDisk{
		Name: v1alpha1.DiskName(d.Name), Path: d.Path, Format: d.Format, Marker: marker, Obstacle: d.Obstacle,
		CapacityBytes: clamp(d.Size.CapacityBytes), AllocatedBytes: clamp(min(d.Size.CapacityBytes, d.Size.AllocatedBytes)),
	}
	if d.SecretUUID != "" {
		out.EncryptionSecretUUID = &d.SecretUUID
	}
	switch why := noBase(d); {
	case len(d.Path) > maxPath:
		out.Path, out.Obstacle = d.Path[:maxPath], "its path is too long"
	case mode == v1alpha1.StorageCopyIncremental && why != "":
		out.Obstacle = cmp.Or(out.Obstacle, why)
	case mode == v1alpha1.StorageCopyIncremental && d.Chained:
		out.Backing = &v1alpha1.DiskBacking{Path: d.BackingPath, Format: d.BackingFormat}
	case d.Chained:
		out.AllocatedBytes = out.CapacityBytes // As much may be in the images on which it is based.
	}
	return out
}

// noBase says why an image on the target cannot be based on what a disk's is based on; empty if it
// can, or if the disk's is based on nothing.
func noBase(d DiskFacts) string {
	switch {
	case d.ChainUnknown:
		return "libvirt does not tell what its image is based on, so that only storageCopy.mode Full is safe"
	case d.Chained && d.SecretUUID != "":
		return "its image is encrypted and based on another one, which can be copied in full only"
	case d.Chained && d.BackingPath == "":
		return "its image is based on something that is no file, or that the target's libvirt is to find, which cannot be given to the copy"
	default:
		return ""
	}
}

// ImagePlace is what the target's agent knows of where a disk's image is to be.
type ImagePlace struct {
	// Allowed is whether the node lets guests have images there, and on what they are based.
	Allowed bool
	// LinkedTo is where it leads by a symbolic link, which is not allowed; empty if nothing is known
	// of such a link.
	LinkedTo string
	// Problem is why libvirt cannot tell of it; all below is unknown then.
	Problem string
	// MarkerSeen is whether the marker of the source is there.
	MarkerSeen bool
	Image      hypervisor.ImageSight
}

// PlanImages decides what becomes of each disk on the target: places[i] is that of disks[i], and
// space what is left there. It says everything that stands in the way. Nothing is planned where
// there is a file that is not known to be the guest's own disk.
func PlanImages(node string, disks []v1alpha1.GuestDisk, places []ImagePlace, space *Space, now time.Time) (images []v1alpha1.TargetImage, blockers []v1alpha1.Blocker) {
	needed := map[string]int64{} // By directory.
	taken := map[string]bool{}
	for i, d := range disks {
		place := places[i]
		image := v1alpha1.TargetImage{Name: d.Name, Path: d.Path, State: v1alpha1.TargetImageShared}
		if place.Allowed && place.LinkedTo == "" && place.Problem == "" && place.MarkerSeen && place.Image.Exists {
			images = append(images, image)
			continue
		}
		if b := blocked(node, d, place, taken[d.Path]); b != nil {
			blockers = append(blockers, *b)
			continue
		}
		taken[d.Path] = true
		dir := path.Dir(d.Path)
		needed[dir] = min(needed[dir]+min(d.AllocatedBytes, mostBytes), mostBytes)
		image.State, image.PlannedTime, image.AvailableBytes = v1alpha1.TargetImagePlanned, new(metav1.NewMicroTime(now)), space.Left(dir)
		images = append(images, image)
	}
	return images, append(blockers, space.lacking(node, needed)...)
}

// blocked says why an image cannot be made; nil if it can.
func blocked(node string, d v1alpha1.GuestDisk, place ImagePlace, taken bool) *v1alpha1.Blocker {
	again := "and then create another LiveMigration"
	switch {
	case !place.Allowed:
		return &v1alpha1.Blocker{Code: v1alpha1.BlockerPathNotAllowed, Message: fmt.Sprintf(
			"%s does not allow guests to have images at %q, where the disk %s is to be copied to. Give it another place by migrateData.volumes or spec.storageMappings of the Hypervisor %[1]s, or ask an administrator to extend the agent's --allowed-paths, %[4]s",
			node, d.Path, d.Name, again)}
	case place.LinkedTo != "":
		return &v1alpha1.Blocker{Code: v1alpha1.BlockerPathNotAllowed, Message: fmt.Sprintf(
			"The place of the disk %s on %s, %q, or what its image is based on there, leads to %q by a symbolic link, where guests may not have images. Give it another place by migrateData.volumes or spec.storageMappings of the Hypervisor %[2]s, or ask an administrator to remove the link or to extend the agent's --allowed-paths, %[5]s",
			d.Name, node, d.Path, place.LinkedTo, again)}
	case place.Problem != "":
		return &v1alpha1.Blocker{Code: v1alpha1.BlockerImagePlaceUnusable, Message: fmt.Sprintf(
			"libvirt on %s cannot make an image for the disk %s in %s: %s. Ask an administrator to make that a directory that libvirt can use, %s", node, d.Name, path.Dir(d.Path), place.Problem, again)}
	case place.Image.Exists && !place.MarkerSeen, taken:
		return &v1alpha1.Blocker{Code: v1alpha1.BlockerImageExists, Message: fmt.Sprintf(
			"There is a file already at %s on %s, where an image for the disk %s is to be made. If it is the same disk, leave %[3]s out of options.storageCopy.disks; if nobody needs it, ask an administrator to remove it, %[4]s",
			d.Path, node, d.Name, again)}
	case d.Obstacle != "":
		b := notCopyable(string(d.Name), fmt.Sprintf("%s, and %s does not see it in %s", d.Obstacle, node, path.Dir(d.Path)))
		return &b
	case d.CapacityBytes <= 0:
		b := notCopyable(string(d.Name), "libvirt on the source does not know its size")
		return &b
	default:
		return nil
	}
}

// CopyPlan says which disks the migration copies, of those that the source has reported,
// given what the target says of them. The error says what is wrong with that.
func CopyPlan(lm *v1alpha1.LiveMigration, all []DiskFacts) (images []v1alpha1.SourceImage, err error) {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	for _, d := range source.Guest.Disks {
		fact := slices.IndexFunc(all, func(f DiskFacts) bool { return f.Name == string(d.Name) })
		image := slices.IndexFunc(target.Images, func(i v1alpha1.TargetImage) bool { return i.Name == d.Name })
		switch {
		case fact < 0 || all[fact].Path != d.Path || clamp(all[fact].Size.CapacityBytes) != d.CapacityBytes:
			return nil, fmt.Errorf("the guest's disk %s has been changed since it was looked at", d.Name)
		case image < 0 || target.Images[image].Path != d.Path:
			return nil, fmt.Errorf("the target says nothing of the disk %s", d.Name)
		}
		switch state := target.Images[image].State; {
		case state == v1alpha1.TargetImageShared && d.Marker != "":
		case baseChanged(lm, d, all[fact]):
			return nil, fmt.Errorf("what the guest's disk %s is based on is not what the target was told", d.Name)
		case state == v1alpha1.TargetImageMade, state == v1alpha1.TargetImagePlanned && DryRun(lm):
			images = append(images, v1alpha1.SourceImage{Name: d.Name, Path: all[fact].SourcePath})
		default:
			return nil, fmt.Errorf("the target says that the image of the disk %s is %s", d.Name, state)
		}
	}
	return images, nil
}

// BaresDisks returns a disk that is encrypted where it is, and would be sent for all to read who
// see the network: QEMU sends what is in its image. It is empty if there is none, or if the user
// has said that nothing is to be encrypted.
func BaresDisks(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, images []v1alpha1.SourceImage) v1alpha1.DiskName {
	o := lm.Spec.Options
	accepted := o != nil && o.Transfer != nil && o.Transfer.Encryption == v1alpha1.EncryptionDisabled
	if accepted || source.Transfer != nil && source.Transfer.Encrypted {
		return ""
	}
	for _, d := range source.Guest.Disks {
		copied := slices.ContainsFunc(images, func(i v1alpha1.SourceImage) bool { return i.Name == d.Name })
		if copied && d.EncryptionSecretUUID != nil {
			return d.Name
		}
	}
	return ""
}

// baseChanged reports whether the target's image of a disk may not be based on what the disk is:
// only what is in the topmost image is copied then. An older agent may have said so.
func baseChanged(lm *v1alpha1.LiveMigration, d v1alpha1.GuestDisk, fact DiskFacts) bool {
	if o := StorageCopy(lm); o == nil || o.Mode != v1alpha1.StorageCopyIncremental {
		return false
	}
	return fact.ChainUnknown || fact.Chained != (d.Backing != nil) || d.Backing != nil && d.Backing.Path != fact.BackingPath
}

// FlattenedDisks are the disks that the target has, or in a dry run would have, all of in an image
// that was made for the migration.
func FlattenedDisks(lm *v1alpha1.LiveMigration) []string {
	o, target := StorageCopy(lm), CurrentTarget(lm)
	if o == nil || o.Mode != v1alpha1.StorageCopyFull || target == nil {
		return nil
	}
	var names []string
	for _, image := range target.Images {
		if isOurs(image) {
			names = append(names, string(image.Name))
		}
	}
	return names
}

// DiskCopy is what libvirt is asked to copy, given what was recorded at the start.
func DiskCopy(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) hypervisor.DiskCopy {
	var out hypervisor.DiskCopy
	o := StorageCopy(lm)
	if o == nil || source == nil || source.Storage == nil {
		return out
	}
	for _, image := range source.Storage.Images {
		out.Disks = append(out.Disks, string(image.Name))
	}
	out.Incremental = o.Mode == v1alpha1.StorageCopyIncremental
	out.SynchronousWrites = o.SynchronousWrites != nil && *o.SynchronousWrites
	out.DetectZeroes = o.DetectZeroes != nil && *o.DetectZeroes
	return out
}

// StorageCopy returns what the user wants to have copied; nil is nothing.
func StorageCopy(lm *v1alpha1.LiveMigration) *v1alpha1.StorageCopyOptions {
	if o := lm.Spec.Options; o != nil {
		return o.StorageCopy
	}
	return nil
}

// IsOurs reports whether a file, found where an image was about to be made, is that image: by
// somebody whose answer was lost. There was nothing in its place when that was recorded.
func IsOurs(d v1alpha1.GuestDisk, image v1alpha1.TargetImage, sight hypervisor.ImageSight) bool {
	empty := uint64(emptyImage)
	if d.EncryptionSecretUUID != nil {
		empty = emptyEncrypted
	}
	return sight.Exists && image.PlannedTime != nil && sight.Format == d.Format && clamp(sight.CapacityBytes) == d.CapacityBytes &&
		sight.AllocatedBytes < empty && !sight.Changed.Before(image.PlannedTime.Add(-timestampTolerance))
}

// WasReplaced reports whether a file cannot be the image any more that was made for a disk:
// somebody has put another one in its place. What is in a raw image may look like anything.
func WasReplaced(d v1alpha1.GuestDisk, sight hypervisor.ImageSight) bool {
	if sight.Format != d.Format {
		return d.Format != rawFormat
	}
	return clamp(sight.CapacityBytes) != d.CapacityBytes
}

// ImagesLeft are the images on the target that were made for the migration, or may have been,
// and the marks beside them, and were not removed.
func ImagesLeft(lm *v1alpha1.LiveMigration, target *v1alpha1.TargetStatus) []string {
	var left []string
	if target == nil || DryRun(lm) {
		return nil
	}
	for _, i := range target.Images {
		if isOurs(i) {
			left = append(left, i.Path)
		}
	}
	return append(left, marksLeft(lm, target)...)
}

// isOurs reports whether an image was made for the migration, or may have been, and not
// removed.
func isOurs(i v1alpha1.TargetImage) bool {
	return i.State == v1alpha1.TargetImageMade || i.State == v1alpha1.TargetImagePlanned
}

// Abandoned reports whether the attempt was given up before its start.
func Abandoned(lm *v1alpha1.LiveMigration) bool {
	return lm.Status.Attempt != nil && lm.Status.Attempt.AbandonedTime != nil && !Started(lm)
}

// MakesImages reports whether the target is still to make images.
func MakesImages(lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) bool {
	return section.ReadyTime == nil && len(ImagesLeft(lm, section)) > 0
}

// markersDue reports whether the source's markers have served: the target has looked, or will
// not any more.
func markersDue(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) bool {
	return section != nil && section.Storage != nil && len(section.Storage.Markers) > 0 && section.StartRequestedTime == nil &&
		(CurrentTarget(lm) != nil || CancelRequested(lm) || Abandoned(lm))
}

// cameNever reports whether the images on the target have never been the guest's: it runs on
// the source, or has shut itself down there, and nobody has seen it on the target. Whatever is
// uncertain, such as why it has stopped, leaves them alone: an emulator that has crashed may
// have sent all of the guest before.
func cameNever(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	if source.End == nil || source.End.Call == v1alpha1.CallSucceeded || InPostCopy(source) || target.ArrivedTime != nil || Whole(target) {
		return false
	}
	switch SideOf(target.Domain) { //nolint:exhaustive // All others have it, or may have had it.
	case SideGone, SideStopped:
	default:
		return false
	}
	end := &source.End.Domain
	side := sourceSideOf(source, target)
	return side == SideLive || side == SideStopped && end.Reason == string(hypervisor.ReasonShutdown)
}

// withoutImages makes a failure pend while the target has images that were made for the
// migration.
func withoutImages(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, out Outcome, now time.Time) Outcome {
	left := ImagesLeft(lm, CurrentTarget(lm))
	if len(left) == 0 {
		return out
	}
	out.RemoveImages = TargetAnswers(source, CurrentTarget(lm)) && cameNever(source, CurrentTarget(lm))
	if recheck := cleanUpBy(lm, now); out.RemoveImages && now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		out.Message += fmt.Sprintf("; the images that were made for it on %s are being removed", lm.Status.TargetNode)
		return out
	}
	out.Message += imagesRemain(lm, left)
	return out
}

// imagesRemain says which images are left on the target of a guest that has not come.
func imagesRemain(lm *v1alpha1.LiveMigration, left []string) string {
	return fmt.Sprintf("; images that were made for it are left on %s (%s): %s, once it is certain that the guest does not run there",
		lm.Status.TargetNode, strings.Join(left, ", "), ask(lm.Status.TargetNode, "remove them with `virsh vol-delete`"))
}

// withoutSourceImages makes a success pend while the source has images that the user wants to
// have removed. The guest must run on the target, and nothing of it be left on the source.
func withoutSourceImages(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, out Outcome, now time.Time) Outcome {
	left := sourceImagesLeft(lm, source)
	if len(left) == 0 || out.Verdict == VerdictPending {
		return out
	}
	side := SideOf(&source.End.Domain)
	out.RemoveSourceImages = !source.End.Domain.Defined && (side == SideGone || side == SideMigrated) &&
		lm.Status.Target.Domain.State == string(hypervisor.StateRunning)
	if recheck := cleanUpBy(lm, now); out.RemoveSourceImages && now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		out.Message += fmt.Sprintf("; its old images on %s are being removed", lm.Status.SourceNode)
		return out
	}
	out.Message += fmt.Sprintf("; its old images are left on %s (%s): %s", lm.Status.SourceNode, strings.Join(left, ", "),
		ask(lm.Status.SourceNode, "remove them with `virsh vol-delete`"))
	return out
}

func sourceImagesLeft(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) []string {
	o := StorageCopy(lm)
	if o == nil || o.SourceImages != v1alpha1.SourceImagesRemove || source.Storage == nil {
		return nil
	}
	var left []string
	for _, i := range source.Storage.Images {
		if i.RemovedTime == nil {
			left = append(left, i.Path)
		}
	}
	return left
}
