package hypervisor

import (
	"context"
	"errors"
	"time"
)

// ImageSight is what a hypervisor says of a file in which a disk's data are, or would be.
type ImageSight struct {
	// Exists is whether there is such a file. If not, all but what is said of its file system is
	// empty.
	Exists bool
	// Format is that of the image, for example "qcow2".
	Format string
	// CapacityBytes is the size of the disk that is in it, AllocatedBytes what it occupies.
	CapacityBytes, AllocatedBytes uint64
	// Changed is when it was last written to; zero where that is not known.
	Changed time.Time
	// StatusChanged is when anything of it was last changed, its owner or its name included;
	// zero where that is not known. Nobody can set it at will.
	StatusChanged time.Time
	// FileSystemBytes is the size of the file system that its directory is on, and
	// AvailableBytes how much of that is left.
	FileSystemBytes, AvailableBytes uint64
}

// NewImage says how to make an image.
type NewImage struct {
	// Path is where to make it, in a directory that exists.
	Path   string
	Format string
	// CapacityBytes is the size of the disk, to the byte: QEMU copies into no other.
	CapacityBytes uint64
	// BackingPath and BackingFormat are the image on which it is based; empty for none.
	BackingPath, BackingFormat string
	// SecretUUID is the secret of the hypervisor's by which it is encrypted, with LUKS; empty for
	// none.
	SecretUUID string
	// Preallocate has the image take all of its space at once. An image that is based on another
	// cannot.
	Preallocate bool
}

// ReservedBytes is the size of a raw file that is in an image's place for a moment before the
// image is made. Whoever dies in that moment leaves it there.
const ReservedBytes = 512

// DiskSize is how large a disk of a running domain is.
type DiskSize struct {
	// CapacityBytes is what the guest sees, AllocatedBytes what the topmost image occupies.
	CapacityBytes, AllocatedBytes uint64
}

// ErrImageExists is the cause of errors of kind KindOther: there is a file already where one
// was to be made.
var ErrImageExists = errors.New("there is a file already")

// ImageKeeper makes and removes images where the hypervisor's host has them. It sees a
// directory as the hypervisor does, and images belong to whom the hypervisor gives them. What
// it cannot do in a directory, because that does not exist, or is not to be used so, has
// KindOther, KindOperationInvalid or KindConfigUnsupported.
type ImageKeeper interface {
	// LookAtImage reads the directory anew.
	LookAtImage(ctx context.Context, path string) (ImageSight, error)
	// LookAtImages does so for several files of a directory, at once.
	LookAtImages(ctx context.Context, dir string, names []string) ([]ImageSight, error)
	// MakeImage makes an image in which nothing is written yet. It never touches what is
	// there: the error's cause is ErrImageExists then.
	MakeImage(ctx context.Context, image NewImage) error
	// RemoveImage removes a file. One that does not exist is no error.
	RemoveImage(ctx context.Context, path string) error
	// DiskSize returns the size of a disk of a running domain, which is named as in its
	// definition.
	DiskSize(ctx context.Context, uuid, disk string) (DiskSize, error)
}

// DiskCopy says which disks a migration copies.
type DiskCopy struct {
	// Disks are their names in the domain's definition. Without any, nothing is copied:
	// libvirt would take an empty list for all of them.
	Disks []string
	// Incremental is whether only their topmost images are copied.
	Incremental bool
	// SynchronousWrites has the guest wait with each write until both images have it.
	SynchronousWrites bool
	// DetectZeroes leaves out what is nothing but zeroes. libvirt before 10.9.0 refuses it.
	DetectZeroes bool
}
