package v1alpha1

// DomainObservation is a guest on one side at one moment.
type DomainObservation struct {
	// state is libvirt's state of the domain, or Absent if libvirt does not know it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	State string `json:"state,omitempty"`
	// reason is libvirt's reason for the state.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// id is the host's number of this run of the domain; absent if it is not active. A
	// domain that is started again has another.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ID int64 `json:"id,omitempty"`
	// job is the operation of the domain's current job, if it has one.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Job string `json:"job,omitempty"`
	// defined is whether the domain has a persistent definition.
	// +optional
	Defined bool `json:"defined,omitempty"`
}

// StateAbsent is DomainObservation's state of a domain that libvirt does not
// know.
const StateAbsent = "Absent"

// Problem is why an agent refuses a migration.
type Problem struct {
	// reason is a reason of the Succeeded condition.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([A-Za-z]|[A-Za-z][A-Za-z0-9_,:]*[A-Za-z0-9_])$`
	Reason string `json:"reason,omitempty"`
	// message says what is wrong and what to do.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Message string `json:"message,omitempty"`
	// blockers are all that stands in the way, each by itself, as far as this side knows. If
	// there are more than 64, the last entry says how many more.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Blockers []Blocker `json:"blockers,omitempty"`
}

// Blocker is something that stands in the way of a migration.
type Blocker struct {
	// code says in a word what kind it is of.
	// +required
	Code BlockerCode `json:"code,omitempty"`
	// message says what is wrong and what to do.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// BlockerCode is a kind of blocker. There may be others than those listed here.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z]*$`
type BlockerCode string

// The kinds of blockers. What is wrong with the rewriting of the guest's definition has the
// code Rewrite and the kind of the problem, such as RewriteMissingData.
const (
	// BlockerDomainNotOnSource: the guest does not run on the source.
	BlockerDomainNotOnSource BlockerCode = "DomainNotOnSource"
	// BlockerJobRunning: libvirt is busy with the guest: another migration, a backup, or a disk that is copied or merged.
	BlockerJobRunning BlockerCode = "JobRunning"
	// BlockerDefinitionUnreadable: the guest's definition cannot be read.
	BlockerDefinitionUnreadable BlockerCode = "DefinitionUnreadable"
	// BlockerSnapshotsKept and BlockerCheckpointsKept: libvirt keeps some, which would stay behind.
	BlockerSnapshotsKept   BlockerCode = "SnapshotsKept"
	BlockerCheckpointsKept BlockerCode = "CheckpointsKept"
	// BlockerTargetReportMalformed: what the target's agent reports cannot be right.
	BlockerTargetReportMalformed BlockerCode = "TargetReportMalformed"
	// BlockerHostUUIDNotUnique: both hosts have the same UUID.
	BlockerHostUUIDNotUnique BlockerCode = "HostUUIDNotUnique"
	// BlockerGuestActiveOnTarget: a guest with the same UUID is active on the target.
	BlockerGuestActiveOnTarget BlockerCode = "GuestActiveOnTarget"
	// BlockerNameTaken: another guest of the target has the guest's name.
	BlockerNameTaken BlockerCode = "NameTaken"
	// BlockerPathMalformed: a path of the migrate data is not a plain absolute one.
	BlockerPathMalformed BlockerCode = "PathMalformed"
	// BlockerPathNotAllowed: the target does not let guests use a path of the migrate data, or of
	// its Hypervisor's storageMappings.
	BlockerPathNotAllowed BlockerCode = "PathNotAllowed"
	// BlockerPortsExhausted: the target has no port left for a serial console.
	BlockerPortsExhausted BlockerCode = "PortsExhausted"
	// BlockerEmulatorUnsupported: the target's emulator cannot run such a machine, or is not
	// there.
	BlockerEmulatorUnsupported BlockerCode = "EmulatorUnsupported"
	// BlockerCPUIncompatible: the target cannot give the guest its CPU.
	BlockerCPUIncompatible BlockerCode = "CPUIncompatible"
	// BlockerPostCopyUnavailable: the target cannot receive guests in post-copy, to which the
	// migration may be switched.
	BlockerPostCopyUnavailable BlockerCode = "PostCopyUnavailable"
	// BlockerFirmwareMissing: the target lacks files that the guest boots from.
	BlockerFirmwareMissing BlockerCode = "FirmwareMissing"
	// BlockerFirmwareDiffers: files that the guest boots from have another size on the target.
	BlockerFirmwareDiffers BlockerCode = "FirmwareDiffers"
	// BlockerHostInterfaceOnlyLive: an interface that is to be taken from the guest could not be
	// given back: its definition does not have it.
	BlockerHostInterfaceOnlyLive BlockerCode = "HostInterfaceOnlyLive"
	// BlockerHostInterfaceKept: the guest does not let go of an interface.
	BlockerHostInterfaceKept BlockerCode = "HostInterfaceKept"
	// BlockerSecretMissing: the target's libvirt lacks secrets of the guest, or their values.
	BlockerSecretMissing BlockerCode = "SecretMissing"
	// BlockerSecretDriverSilent: the target's libvirt does not answer about secrets.
	BlockerSecretDriverSilent BlockerCode = "SecretDriverSilent"
	// BlockerSecretNotNeeded: the migrate data gives a secret that the guest does not refer to, or
	// gives one twice.
	BlockerSecretNotNeeded BlockerCode = "SecretNotNeeded"
	// BlockerSecretUnreadable: a Secret of the cluster does not exist, or may not be read.
	BlockerSecretUnreadable BlockerCode = "SecretUnreadable"
	// BlockerEncryptionUnavailable: the migration must be encrypted, and a host cannot.
	BlockerEncryptionUnavailable BlockerCode = "EncryptionUnavailable"
	// BlockerPeerSocketMissing: no socket leads from the source to libvirt on the target, or libvirt
	// does not answer at it.
	BlockerPeerSocketMissing BlockerCode = "PeerSocketMissing"
	// BlockerReportTooLarge: what has to be told of the guest and of what it needs takes more room
	// than its LiveMigration has.
	BlockerReportTooLarge BlockerCode = "ReportTooLarge"
	// BlockerVersionUnsupported: a version of libvirt or QEMU cannot do what is asked for.
	BlockerVersionUnsupported BlockerCode = "VersionUnsupported"
	// BlockerMemoryInsufficient: the target has not enough memory free for the guest.
	BlockerMemoryInsufficient BlockerCode = "MemoryInsufficient"
	// BlockerHugePagesInsufficient: the target has not enough huge pages of the size free.
	BlockerHugePagesInsufficient BlockerCode = "HugePagesInsufficient"
	// BlockerHostUseUnknown: the target's libvirt does not answer for guests that are there, so
	// that nobody knows what a guest can be given that has CPUs or devices for itself.
	BlockerHostUseUnknown BlockerCode = "HostUseUnknown"
	// BlockerCPUsInsufficient: the target has not enough CPUs, to which no other guest is
	// pinned, for a guest that is pinned, or not in as few NUMA cells.
	BlockerCPUsInsufficient BlockerCode = "CPUsInsufficient"
	// BlockerHostDeviceMissing: the target has no free device of a kind that the guest has.
	BlockerHostDeviceMissing BlockerCode = "HostDeviceMissing"
	// BlockerHostDeviceTaken: a device of the target that the migrate data give is another
	// guest's, or promised to one.
	BlockerHostDeviceTaken BlockerCode = "HostDeviceTaken"
	// BlockerNetworkMissing and BlockerNetworkInactive: a network of the guest is not there on
	// the target, or not started.
	BlockerNetworkMissing  BlockerCode = "NetworkMissing"
	BlockerNetworkInactive BlockerCode = "NetworkInactive"
	// BlockerBridgeMissing: a bridge of the guest is not there on the target.
	BlockerBridgeMissing BlockerCode = "BridgeMissing"
	// BlockerStoragePoolMissing and BlockerStoragePoolInactive: the storage pool that the target's
	// Hypervisor gives for one of the guest's is not there, or not started.
	BlockerStoragePoolMissing  BlockerCode = "StoragePoolMissing"
	BlockerStoragePoolInactive BlockerCode = "StoragePoolInactive"
	// BlockerDiskUnknown: a disk that is to be copied is none of the guest's.
	BlockerDiskUnknown BlockerCode = "DiskUnknown"
	// BlockerDiskNotCopyable: a disk has to be copied and cannot be.
	BlockerDiskNotCopyable BlockerCode = "DiskNotCopyable"
	// BlockerDiskMissing: the target does not have a file, or a block device, of a disk that is not copied.
	BlockerDiskMissing BlockerCode = "DiskMissing"
	// BlockerDiskDiffers: the target has another block device by the name of one of a disk.
	BlockerDiskDiffers BlockerCode = "DiskDiffers"
	// BlockerMediumMissing: the target does not have a medium, or a disk that the guest reads.
	BlockerMediumMissing BlockerCode = "MediumMissing"
	// BlockerImageExists: there is a file on the target where a disk's image is to be made.
	BlockerImageExists BlockerCode = "ImageExists"
	// BlockerImagePlaceUnusable: libvirt cannot make images in a directory of one of the hosts.
	BlockerImagePlaceUnusable BlockerCode = "ImagePlaceUnusable"
	// BlockerNoSpaceForImages: there is not enough space on the target for what is copied.
	BlockerNoSpaceForImages BlockerCode = "NoSpaceForImages"
	// BlockerMore: there are more than can be listed.
	BlockerMore BlockerCode = "More"
	// BlockerSecretRefused: the target's libvirt does not take a secret.
	BlockerSecretRefused BlockerCode = "SecretRefused"
)
