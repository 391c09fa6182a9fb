package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// StorageCopyOptions say which of the guest's disks are copied to the target along with its
// memory, and how.
//
// +kubebuilder:validation:XValidation:rule="!has(self.preallocate) || !self.preallocate || self.mode == 'Full'",message="preallocate is for the mode Full: an image that is based on another is to hold only what differs"
// +kubebuilder:validation:XValidation:rule="!has(self.preallocate) || !self.preallocate || !has(self.detectZeroes) || !self.detectZeroes",message="preallocate and detectZeroes exclude each other: one has the image take all of its space, the other as little as it can"
type StorageCopyOptions struct {
	// mode is Full, which copies all of a disk into one image, or Incremental, which copies
	// what is in the disk's topmost image only: the image on which that one is based must be
	// on the target already, at the same path and with the same contents.
	// +required
	Mode StorageCopyMode `json:"mode,omitempty"`
	// disks are the disks that are copied, by their names in the guest's definition, such as
	// vda. Absent means all disks in files to which the guest may write and that the target
	// does not see in the same place; the agents find that out on both hosts.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Disks []DiskName `json:"disks,omitempty"`
	// synchronousWrites has the guest's writes go to both images at once, as soon as a disk
	// has been copied once. The guest's writes take longer then, but a guest that writes
	// faster than is copied arrives.
	// +optional
	SynchronousWrites *bool `json:"synchronousWrites,omitempty"`
	// detectZeroes has whatever is nothing but zeroes be left out, so that an image in the
	// format qcow2 takes no space for it on the target. It costs time of a CPU. libvirt on both
	// hosts must be 10.9.0 or newer.
	// +optional
	DetectZeroes *bool `json:"detectZeroes,omitempty"`
	// preallocate has the images take all of their space on the target as soon as they are
	// made, as those do that libvirt makes by itself: copying is faster then, and whoever fills
	// the file system meanwhile cannot keep the guest from arriving. Whether libvirt makes such
	// an image quickly depends on the file system; ext4 and XFS allow for it. Absent means that
	// images grow with what is copied.
	// +optional
	Preallocate *bool `json:"preallocate,omitempty"`
	// sourceImages says what becomes of the images on the source once the guest runs on the
	// target: Keep or Remove. Absent means Keep.
	// +optional
	SourceImages SourceImagePolicy `json:"sourceImages,omitempty"`
}

// StorageCopyMode is how disks are copied.
//
// +kubebuilder:validation:Enum=Full;Incremental
type StorageCopyMode string

// The modes.
const (
	// StorageCopyFull copies all that the guest sees of a disk.
	StorageCopyFull StorageCopyMode = "Full"
	// StorageCopyIncremental copies the topmost image alone.
	StorageCopyIncremental StorageCopyMode = "Incremental"
)

// SourceImagePolicy says what becomes of images whose guest has left.
//
// +kubebuilder:validation:Enum=Keep;Remove
type SourceImagePolicy string

// The policies.
const (
	// SourceImagesKeep leaves them where they are.
	SourceImagesKeep SourceImagePolicy = "Keep"
	// SourceImagesRemove removes those that were copied.
	SourceImagesRemove SourceImagePolicy = "Remove"
)

// DiskName is the name of a disk in the guest's definition, as in <target dev='vda'/>.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:Pattern=`^[a-z0-9]+$`
type DiskName string

// GuestDisk is a disk that is copied to the target, unless the target sees it where it is.
type GuestDisk struct {
	// name is the disk's name in the guest's definition.
	// +required
	Name DiskName `json:"name,omitempty"`
	// path is where its image is to be on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
	// format is that of the image.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Format string `json:"format,omitempty"`
	// capacityBytes is the size of the disk as the guest sees it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CapacityBytes int64 `json:"capacityBytes,omitempty"`
	// allocatedBytes is how much of that its images occupy on the source.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AllocatedBytes int64 `json:"allocatedBytes,omitempty"`
	// backing is the image on which an image that is copied incrementally is based.
	// +optional
	Backing *DiskBacking `json:"backing,omitempty"`
	// encryptionSecretUUID is the secret of the target's libvirt by which the image is encrypted
	// there, with LUKS. Absent if it is not encrypted.
	// +optional
	EncryptionSecretUUID *UUID `json:"encryptionSecretUUID,omitempty"`
	// marker is the name of a file that the source has made beside the image. If the target
	// finds it beside path, both hosts see the same disk, which is not copied then. Absent if
	// the disk is copied in any case.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Marker string `json:"marker,omitempty"`
	// obstacle is why the disk cannot be copied; it does not matter if it need not be.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Obstacle string `json:"obstacle,omitempty"`
}

// DiskBacking is an image on which another one is based.
type DiskBacking struct {
	// path is where it is on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
	// format is that of the image.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Format string `json:"format,omitempty"`
}

// SourceStorage is what the source does about the guest's disks.
type SourceStorage struct {
	// markers are the files that the source makes so that the target can tell whether it sees
	// the same disks. They are recorded before they are made, and removed as soon as the
	// target has looked.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	Markers []string `json:"markers,omitempty"`
	// images are those of the disks that are copied. Set when the migration is started.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Images []SourceImage `json:"images,omitempty"`
	// shared are the disks in files that are not copied, each with whether it is proven that
	// both hosts have one and the same image of it. Set when the migration is started.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Shared []SharedDisk `json:"shared,omitempty"`
	// provenSafe is whether that is proven of all disks to which the guest writes, and nothing
	// else makes it unsafe to move them. libvirt, which cannot know that, is then told to move
	// the guest all the same, as by options.allowUnsafe.
	// +optional
	ProvenSafe bool `json:"provenSafe,omitempty"`
	// ejected are the media that are not in the guest's drives on the target, which does not
	// have them, as options.ejectMissingMedia asks for. Set when the migration is started.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Ejected []EjectedMedium `json:"ejected,omitempty"`
}

// EjectedMedium is a medium that a guest leaves behind.
type EjectedMedium struct {
	// name is the drive's name in the guest's definition.
	// +required
	Name DiskName `json:"name,omitempty"`
	// path is where the medium is on the source.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
}

// SourceImage is an image on the source of a disk that is copied.
type SourceImage struct {
	// name is the disk's name in the guest's definition.
	// +required
	Name DiskName `json:"name,omitempty"`
	// path is where the image is.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
	// removedTime is when it was removed, after the guest had left it.
	// +optional
	RemovedTime *metav1.MicroTime `json:"removedTime,omitempty"`
	// error is why it could not be removed when that was last tried.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`
}

// TargetImage is what the target does about a disk.
type TargetImage struct {
	// name is the disk's name in the guest's definition.
	// +required
	Name DiskName `json:"name,omitempty"`
	// path is where the image is.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
	// state says whether the image was made for the guest, and what has become of it.
	// +required
	State TargetImageState `json:"state,omitempty"`
	// plannedTime is when there was nothing in its place, and the agent recorded that it is
	// about to make it.
	// +optional
	PlannedTime *metav1.MicroTime `json:"plannedTime,omitempty"`
	// marked is whether a file may be beside it, with the same name and .virtferry-mark behind
	// it, that keeps other nodes from making an image there. It is there from before the image
	// is made until the guest has come, or the image is removed.
	// +optional
	Marked bool `json:"marked,omitempty"`
	// availableBytes is how much space there was in its place then.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AvailableBytes int64 `json:"availableBytes,omitempty"`
	// error is why it could not be removed when that was last tried.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`
}

// TargetImageState is the state of an image on the target.
//
// +kubebuilder:validation:Enum=Shared;Planned;Made;Removed;NotOurs
type TargetImageState string

// The states of an image on the target.
const (
	// TargetImageShared: both hosts see the same image, which is not copied.
	TargetImageShared TargetImageState = "Shared"
	// TargetImagePlanned: there was none, and it is about to be made. In a dry run, it would be.
	TargetImagePlanned TargetImageState = "Planned"
	// TargetImageMade: it was made for this migration.
	TargetImageMade TargetImageState = "Made"
	// TargetImageRemoved: it was made for this migration, which has failed, and removed again.
	TargetImageRemoved TargetImageState = "Removed"
	// TargetImageNotOurs: something has come into its place that this migration has not made. It
	// is left alone.
	TargetImageNotOurs TargetImageState = "NotOurs"
)
