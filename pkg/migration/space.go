package migration

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// How much of the target's space is left for images. What others were promised is taken off, and
// directories of one file system have it in common.

// spaceSlack is how much two directories of one file system may be seen to differ by, since they
// are looked at one after the other.
const spaceSlack = 1 << 30

// FileSystemSight is what is known of the file system that a directory is on.
type FileSystemSight struct {
	// SizeBytes is how large it is.
	SizeBytes uint64
	// LeastBytes and MostBytes are the least and the most that was left in it, of all looks.
	LeastBytes, MostBytes uint64
}

// FileSystemOf returns what one look at a directory says of its file system.
func FileSystemOf(sight hypervisor.ImageSight) FileSystemSight {
	return FileSystemSight{SizeBytes: sight.FileSystemBytes, LeastBytes: sight.AvailableBytes, MostBytes: sight.AvailableBytes}
}

// With returns what two looks say together.
func (s FileSystemSight) With(later FileSystemSight) FileSystemSight {
	return FileSystemSight{
		SizeBytes: later.SizeBytes, LeastBytes: min(s.LeastBytes, later.LeastBytes), MostBytes: max(s.MostBytes, later.MostBytes),
	}
}

// gap is how far what was left in one is from what was left in the other, by all looks.
func (s FileSystemSight) gap(other FileSystemSight) uint64 {
	low, high := max(s.LeastBytes, other.LeastBytes), min(s.MostBytes, other.MostBytes)
	return max(low, high) - high
}

// SharesSpace reports whether what is written to one directory has to be taken to be missing in
// another. Nothing identifies a file system to those who see it through libvirt only, nor
// does its device number: subvolumes, exports and binds of one have several. But all of them
// show one size, and one rest, if they are looked at in the same moment; those that are
// carved out of a pool, as with ZFS, differ in size and show one rest. Two that are alike in
// both by chance count as one, which promises too little rather than too much.
func (s FileSystemSight) SharesSpace(other FileSystemSight) bool {
	if s.SizeBytes == other.SizeBytes {
		return s.gap(other) <= spaceSlack
	}
	return s.gap(other) == 0
}

// Doubtful reports whether another look could show that two share their space, where one has
// not: something may be written, or removed, between two looks.
func (s FileSystemSight) Doubtful(other FileSystemSight) bool {
	return !s.SharesSpace(other) && (s.SizeBytes == other.SizeBytes || s.gap(other) <= spaceSlack)
}

// DoubtfulDirectories are those at which another look is needed, in the order of their names.
func DoubtfulDirectories(seen map[string]FileSystemSight) []string {
	var out []string
	for dir, sight := range seen {
		for other, otherSight := range seen {
			if other != dir && sight.Doubtful(otherSight) {
				out = append(out, dir)
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

// SpaceClaim is how much the images of a migration will still take. An empty one is nothing.
type SpaceClaim struct {
	// Images are how many bytes there are to be in each, by its path.
	Images map[string]int64
	// RemainingBytes is more than all of them together will still take.
	RemainingBytes int64
}

// SpaceToCome is how much the images of a migration will still take: in each, there is to be
// what the source's occupies, and in all of them no more than is still to be copied. It is
// nothing once the copy has ended.
func SpaceToCome(lm *v1alpha1.LiveMigration, target *v1alpha1.TargetStatus) SpaceClaim {
	source := CurrentSource(lm)
	if len(ImagesLeft(lm, target)) == 0 || source == nil || source.Guest == nil || source.End != nil || Finished(lm) {
		return SpaceClaim{}
	}
	out := SpaceClaim{Images: map[string]int64{}, RemainingBytes: remainingBytes(lm)}
	for _, i := range target.Images {
		at := slices.IndexFunc(source.Guest.Disks, func(d v1alpha1.GuestDisk) bool { return d.Name == i.Name })
		if at >= 0 && isOurs(i) {
			out.Images[i.Path] = min(spaceTaken(lm, source.Guest.Disks[at]), mostBytes)
		}
	}
	return out
}

// remainingBytes is more than is still to be copied of all disks.
func remainingBytes(lm *v1alpha1.LiveMigration) int64 {
	p := lm.Status.Progress
	if !Started(lm) || p == nil || p.Disk == nil || p.Disk.TotalBytes <= 0 {
		return mostBytes
	}
	return p.Disk.RemainingBytes
}

// Space is how much is left on a host for the images of one migration.
type Space struct {
	// first is the directory that stands for all of a file system, by each of them.
	first map[string]string
	// left is in bytes, by that directory.
	left map[string]int64
}

// NewSpace returns what is left in the directories that were seen, by what others have been
// promised. Files are those of their images that were seen, by path: what is in them already
// is not left any more. A claim to a directory that was not seen counts in all file systems.
func NewSpace(seen map[string]FileSystemSight, others []SpaceClaim, files map[string]hypervisor.ImageSight) *Space {
	s := &Space{first: map[string]string{}, left: map[string]int64{}}
	for _, dir := range slices.Sorted(maps.Keys(seen)) {
		s.place(dir, seen)
	}
	for dir, first := range s.first {
		bytes := clamp(seen[dir].LeastBytes)
		if before, known := s.left[first]; known {
			bytes = min(bytes, before)
		}
		s.left[first] = bytes
	}
	for _, claim := range others {
		for first := range s.left {
			s.left[first] -= min(s.left[first], claim.on(first, s.first, files))
		}
	}
	return s
}

// place finds out to which file system a directory belongs. One that is like two others makes them
// one.
func (s *Space) place(dir string, seen map[string]FileSystemSight) {
	s.first[dir] = dir
	for other := range s.first {
		first, own := s.first[other], s.first[dir]
		if first == own || !seen[dir].SharesSpace(seen[other]) {
			continue
		}
		for d, f := range s.first {
			if f == max(first, own) {
				s.first[d] = min(first, own)
			}
		}
	}
}

// on is how much the images will still take on one file system.
func (c SpaceClaim) on(fileSystem string, first map[string]string, files map[string]hypervisor.ImageSight) int64 {
	var sum int64
	for image, bytes := range c.Images {
		if on, known := first[path.Dir(image)]; known && on != fileSystem {
			continue
		}
		sum = min(sum+max(0, bytes-clamp(files[image].AllocatedBytes)), mostBytes)
	}
	return min(sum, max(0, c.RemainingBytes))
}

// Left is how much is left in a directory that was seen.
func (s *Space) Left(dir string) int64 { return s.left[s.first[dir]] }

// lacking says where there is not enough for what is needed, by directory.
func (s *Space) lacking(node string, needed map[string]int64) []v1alpha1.Blocker {
	sums := map[string]int64{} // By file system.
	for dir, bytes := range needed {
		sums[s.first[dir]] = min(sums[s.first[dir]]+bytes, mostBytes)
	}
	var blockers []v1alpha1.Blocker
	for _, first := range slices.Sorted(maps.Keys(sums)) {
		if sums[first] > s.left[first] {
			blockers = append(blockers, v1alpha1.Blocker{Code: v1alpha1.BlockerNoSpaceForImages, Message: fmt.Sprintf(
				"There are %d MiB left in %s on %s, and the guest's disks take %d MiB. Ask an administrator to make room there, or choose another target or, by migrateData, another place on it",
				s.left[first]>>20, s.in(first, needed), node, sums[first]>>20)})
		}
	}
	return blockers
}

// in names the directories of a file system: those that are asked for, and whether there are others.
func (s *Space) in(fileSystem string, asked map[string]int64) string {
	var own, others []string
	for _, dir := range slices.Sorted(maps.Keys(s.first)) {
		_, isAsked := asked[dir]
		switch {
		case s.first[dir] != fileSystem:
		case isAsked:
			own = append(own, dir)
		default:
			others = append(others, dir)
		}
	}
	text := strings.Join(own, " and ")
	switch all := len(own) + len(others); {
	case all == 1:
		return text
	case len(others) == 0:
		return text + " together (as large and as full as each other, they count as one file system)"
	default:
		return text + " (as large and as full as " + strings.Join(others, " and ") + ", to which others copy images, so that they count as one file system)"
	}
}
