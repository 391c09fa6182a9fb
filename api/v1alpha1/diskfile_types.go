package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DiskFile is a file of the guest's disks that is not known to be copied: the target is to see
// it where it is.
type DiskFile struct {
	// disk is the disk's name in the guest's definition.
	// +required
	Disk DiskName `json:"disk,omitempty"`
	// role is what the file is to the disk.
	// +required
	Role DiskFileRole `json:"role,omitempty"`
	// path is where it is to be on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
	// removable is whether it is a medium in a CD-ROM or floppy drive.
	// +optional
	Removable bool `json:"removable,omitempty"`
	// marker is the name of a file that the source has made beside it. If the target finds it
	// beside path, both hosts see the same directory. Absent if there is none.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Marker string `json:"marker,omitempty"`
	// changeTime is the time of its last change (ctime) in the source's file system, as it was
	// before the target looked. Absent if it is not known.
	// +optional
	ChangeTime *metav1.MicroTime `json:"changeTime,omitempty"`
}

// DiskFileRole says what a file is to a disk.
//
// +kubebuilder:validation:Enum=Image;Backing;Medium;Definition
type DiskFileRole string

// What a file is to a disk.
const (
	// DiskFileImage: the disk's data are in it, and the guest writes to it.
	DiskFileImage DiskFileRole = "Image"
	// DiskFileBacking: the disk's image is based on it.
	DiskFileBacking DiskFileRole = "Backing"
	// DiskFileMedium: the guest only reads it.
	DiskFileMedium DiskFileRole = "Medium"
	// DiskFileDefinition: only the guest's persistent definition has the disk.
	DiskFileDefinition DiskFileRole = "Definition"
)

// TargetDiskFile is what the target sees of a file of the guest's disks.
type TargetDiskFile struct {
	// path is where it is.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
	// state says what is there.
	// +required
	State TargetDiskFileState `json:"state,omitempty"`
	// changeTime is the time of its last change (ctime) in the target's file system.
	// +optional
	ChangeTime *metav1.MicroTime `json:"changeTime,omitempty"`
}

// TargetDiskFileState says what the target sees of a file.
//
// +kubebuilder:validation:Enum=Marked;Present;Missing;Unknown
type TargetDiskFileState string

// What the target sees of a file.
const (
	// TargetDiskFileMarked: there is such a file, and the source's marker beside it.
	TargetDiskFileMarked TargetDiskFileState = "Marked"
	// TargetDiskFilePresent: there is such a file. Whether it is the source's is not known.
	TargetDiskFilePresent TargetDiskFileState = "Present"
	// TargetDiskFileMissing: there is none.
	TargetDiskFileMissing TargetDiskFileState = "Missing"
	// TargetDiskFileUnknown: libvirt cannot tell, or the agent is not to look there.
	TargetDiskFileUnknown TargetDiskFileState = "Unknown"
)

// SharedDisk is a disk that both hosts are to have in one and the same image.
type SharedDisk struct {
	// name is the disk's name in the guest's definition.
	// +required
	Name DiskName `json:"name,omitempty"`
	// doubt is why that has not been proven. Absent if it has.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Doubt string `json:"doubt,omitempty"`
}

// BlockDevice is a block device of a guest's disk, which has to be the same on both hosts.
type BlockDevice struct {
	// disk is the disk's name in the guest's definition.
	// +required
	Disk DiskName `json:"disk,omitempty"`
	// path is where it is to be on the target.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
	// identity is what the device mapper of the source's host knows it by, which is the same on
	// all hosts that see the device.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Identity string `json:"identity,omitempty"`
}
