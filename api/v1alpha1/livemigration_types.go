package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LiveMigration moves one running libvirt guest to another node, once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=lm,categories=virtferry
// +kubebuilder:printcolumn:name="Domain",type=string,JSONPath=`.spec.domain`
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.status.sourceNode`
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.targetNode`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="%",type=integer,JSONPath=`.status.progress.percent`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Guest",type=string,priority=1,JSONPath=`.status.domainName`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Downtime-ms",type=integer,priority=1,JSONPath=`.status.downtimeMilliseconds`
// +kubebuilder:printcolumn:name="Elapsed-ms",type=integer,priority=1,JSONPath=`.status.progress.elapsedMilliseconds`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`
// +kubebuilder:selectablefield:JSONPath=`.spec.domain`
// +kubebuilder:selectablefield:JSONPath=`.spec.targetNode`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:selectablefield:JSONPath=`.status.domainUUID`
// +kubebuilder:selectablefield:JSONPath=`.status.domainName`
// +kubebuilder:selectablefield:JSONPath=`.status.sourceNode`
// +kubebuilder:selectablefield:JSONPath=`.status.targetNode`
// +kubebuilder:selectablefield:JSONPath=`.status.guestLeftFrozenOn`
type LiveMigration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user asks for. It cannot be changed, except for priority,
	// ttlSecondsAfterFinished and the options that steer a running migration.
	// +required
	Spec LiveMigrationSpec `json:"spec,omitzero"`
	// status is what Virtferry observes and does.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status LiveMigrationStatus `json:"status,omitzero"`
}

// LiveMigrationList is a list of LiveMigrations.
//
// +kubebuilder:object:root=true
type LiveMigrationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []LiveMigration `json:"items"`
}

// LiveMigrationSpec is what the user asks for.
//
// +kubebuilder:validation:XValidation:rule="self.domain == oldSelf.domain",message="domain cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="self.targetNode == oldSelf.targetNode",message="targetNode cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="has(self.sourceNode) == has(oldSelf.sourceNode) && (!has(self.sourceNode) || self.sourceNode == oldSelf.sourceNode)",message="sourceNode cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="has(self.migrateData) == has(oldSelf.migrateData) && (!has(self.migrateData) || self.migrateData == oldSelf.migrateData)",message="migrateData cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.detachHostInterfaces) && self.options.detachHostInterfaces) == (has(oldSelf.options) && has(oldSelf.options.detachHostInterfaces) && oldSelf.options.detachHostInterfaces)",message="options.detachHostInterfaces cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.ejectMissingMedia) && self.options.ejectMissingMedia) == (has(oldSelf.options) && has(oldSelf.options.ejectMissingMedia) && oldSelf.options.ejectMissingMedia)",message="options.ejectMissingMedia cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.allowUnsafe) && self.options.allowUnsafe) == (has(oldSelf.options) && has(oldSelf.options.allowUnsafe) && oldSelf.options.allowUnsafe)",message="options.allowUnsafe cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.allowPostCopy) && self.options.allowPostCopy) == (has(oldSelf.options) && has(oldSelf.options.allowPostCopy) && oldSelf.options.allowPostCopy)",message="options.allowPostCopy cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.autoConverge)) == (has(oldSelf.options) && has(oldSelf.options.autoConverge))",message="options.autoConverge cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.storageCopy)) == (has(oldSelf.options) && has(oldSelf.options.storageCopy))",message="options.storageCopy cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.convergence)) == (has(oldSelf.options) && has(oldSelf.options.convergence))",message="options.convergence cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.transfer)) == (has(oldSelf.options) && has(oldSelf.options.transfer))",message="options.transfer cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.dryRun) && self.dryRun) == (has(oldSelf.dryRun) && oldSelf.dryRun)",message="dryRun cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceNode) || self.sourceNode != self.targetNode",message="targetNode must differ from sourceNode"
type LiveMigrationSpec struct {
	// domain is the guest: its libvirt name or its UUID. A value in the form of a UUID
	// is treated as one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!self.contains('/') && !self.matches('[[:cntrl:]]')",message="domain must be a libvirt domain name or UUID, without slashes or control characters"
	Domain string `json:"domain,omitempty"`
	// targetNode is the node to move the guest to.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="targetNode must be the name of a node"
	TargetNode string `json:"targetNode,omitempty"`
	// sourceNode is the node to move the guest from. Absent means wherever it runs; if
	// it is given and the guest runs elsewhere, the migration fails before anything is
	// touched.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="sourceNode must be the name of a node"
	SourceNode string `json:"sourceNode,omitempty"`
	// migrateData says what the parts of the guest's definition that belong to its host
	// become on the target. The target's agent fills in absent parts where it can.
	// +optional
	MigrateData *MigrateData `json:"migrateData,omitempty"`
	// options steer the migration.
	// +optional
	Options *MigrationOptions `json:"options,omitempty"`
	// dryRun has everything checked on both nodes that is checked before a migration,
	// and nothing moved. The object succeeds if the migration could be started. Cannot be
	// changed.
	// +optional
	DryRun *bool `json:"dryRun,omitempty"`
	// priority says which of the migrations that wait for a free slot goes first: the
	// one with the highest priority and, among equals, the oldest. So that no migration
	// waits for ever, one point of priority counts as ten minutes of waiting. Absent
	// means 0. May be changed while the migration waits.
	// +optional
	// +kubebuilder:validation:Minimum=-100
	// +kubebuilder:validation:Maximum=100
	Priority *int32 `json:"priority,omitempty"`
	// ttlSecondsAfterFinished is how long the object is kept after the migration has
	// ended; absent means for ever. Do not set it on objects that are applied from Git:
	// a deleted object would be applied again, and the guest moved again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// MigrationOptions steer a migration.
//
// +kubebuilder:validation:XValidation:rule="!has(self.allowPostCopy) || !self.allowPostCopy || !has(self.transfer) || !has(self.transfer.parallelConnections)",message="transfer.parallelConnections excludes allowPostCopy"
type MigrationOptions struct {
	// allowUnsafe overrides libvirt's refusal of migrations that may damage the guest's
	// disks, for example of a guest whose disks are on storage that libvirt does not
	// know to be shared. Cannot be changed.
	// +optional
	AllowUnsafe *bool `json:"allowUnsafe,omitempty"`
	// skipCPUCheck has the guest's CPU not be compared with what the target offers before the
	// migration is started. libvirt compares once more when the target receives the guest,
	// whatever is given here. May be changed until then.
	// +optional
	SkipCPUCheck *bool `json:"skipCPUCheck,omitempty"`
	// skipMemoryCheck has the guest's memory not be compared with what is free on the target:
	// for hosts that give their guests more than they have. Huge pages are compared all the
	// same. May be changed until the migration is started.
	// +optional
	SkipMemoryCheck *bool `json:"skipMemoryCheck,omitempty"`
	// ignoreKnownFaults are faults of libvirt's and QEMU's versions that the two hosts do not
	// have although their versions say so, as where a distribution has mended one without a
	// new number: the user is not told of them, and nothing is held back or left out for
	// them. May be changed while the migration runs.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	IgnoreKnownFaults []KnownFault `json:"ignoreKnownFaults,omitempty"`
	// maxDowntimeMilliseconds is the longest that the guest may be paused for
	// its switch-over. Absent means 500. May be changed while the migration
	// runs.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2000000
	MaxDowntimeMilliseconds *int64 `json:"maxDowntimeMilliseconds,omitempty"`
	// bandwidthMiBps limits the bandwidth of the copy, in MiB per second. Absent means
	// the hypervisor's default. May be changed while the migration runs; if it is
	// removed then, the last limit stays in force.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8796093022207
	BandwidthMiBps *int64 `json:"bandwidthMiBps,omitempty"`
	// transfer says how the guest is sent: encryption, connections, compression. Cannot be
	// changed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="options.transfer cannot be changed; create another LiveMigration"
	Transfer *TransferOptions `json:"transfer,omitempty"`
	// convergence says how the allowed downtime is raised to maxDowntimeMilliseconds
	// while the guest is copied. Cannot be changed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="options.convergence cannot be changed; create another LiveMigration"
	Convergence *ConvergenceOptions `json:"convergence,omitempty"`
	// completionTimeoutSecondsPerGiB is how long the copy may take for each GiB of
	// memory and of copied disks. A guest counts as at least 2 GiB. Absent means 800; 0
	// means no limit. May be changed while the migration runs.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	CompletionTimeoutSecondsPerGiB *int64 `json:"completionTimeoutSecondsPerGiB,omitempty"`
	// progressTimeoutSeconds is how long the copy may go on without making progress.
	// Absent or 0 means no limit. May be changed while the migration runs.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	ProgressTimeoutSeconds *int64 `json:"progressTimeoutSeconds,omitempty"`
	// onTimeout is what happens when one of the timeouts has passed. Absent
	// means Abort. May be changed while the migration runs.
	// +optional
	OnTimeout TimeoutAction `json:"onTimeout,omitempty"`
	// allowPostCopy allows the switch to post-copy: the guest continues on the target
	// before all of its memory has arrived, and the rest follows. From then on the guest
	// depends on both hosts and the network between them, and the migration cannot be
	// cancelled. Cannot be changed.
	// +optional
	AllowPostCopy *bool `json:"allowPostCopy,omitempty"`
	// allowPause allows the strategy to pause a guest that writes to its memory
	// faster than it can be copied, for as long as copying the rest takes. A
	// request to force completion, and onTimeout: ForceComplete, pause it
	// without this. May be changed while the migration runs.
	// +optional
	AllowPause *bool `json:"allowPause,omitempty"`
	// autoConverge lets the hypervisor slow the guest's CPUs down, step by step, while
	// the guest writes to its memory too fast. Absent means never. Cannot be changed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="options.autoConverge cannot be changed; create another LiveMigration"
	AutoConverge *AutoConvergeOptions `json:"autoConverge,omitempty"`
	// storageCopy has disks copied that only the source has. Absent means that none is: the
	// target must see all of the guest's disks. Cannot be changed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="options.storageCopy cannot be changed; create another LiveMigration"
	StorageCopy *StorageCopyOptions `json:"storageCopy,omitempty"`
	// guestAgent is what QEMU's guest agent, a program in the guest, is asked for. One that
	// does not answer does not fail the migration. May be changed while the migration runs.
	// +optional
	GuestAgent *GuestAgentOptions `json:"guestAgent,omitempty"`
	// detachHostInterfaces has the guest's interfaces that are PCI devices of their host, such as
	// functions of SR-IOV, taken from the guest right before the migration is started, and given
	// back afterwards where the guest runs: on the target those that its definition there
	// has, as migrateData maps them, and on the source its own. The guest is without them
	// meanwhile. Cannot be changed.
	// +optional
	DetachHostInterfaces *bool `json:"detachHostInterfaces,omitempty"`

	// ejectMissingMedia has media of the guest's CD-ROM and floppy drives ejected for its move
	// whose files the target does not have. Without it, the guest is refused. The drives are
	// empty on the target; on the source, they keep their media if the guest stays there.
	// Cannot be changed.
	// +optional
	EjectMissingMedia *bool `json:"ejectMissingMedia,omitempty"`
}

// KnownFault names a fault of certain versions of libvirt and QEMU.
//
// +k8s:enum
type KnownFault string

// The faults that are known.
const (
	// FaultPostCopyResumeCrashesTarget: the target's libvirt crashes when a post-copy that was
	// interrupted is resumed towards it.
	FaultPostCopyResumeCrashesTarget KnownFault = "PostCopyResumeCrashesTarget"
	// FaultDaemonCrashesWhenRestarted: the source's libvirt crashes if it is restarted while a
	// guest leaves.
	FaultDaemonCrashesWhenRestarted KnownFault = "DaemonCrashesWhenRestarted"
	// FaultBlockJobsNotEnded: the source's libvirt may show jobs of the guest's disks that are over.
	FaultBlockJobsNotEnded KnownFault = "BlockJobsNotEnded"
	// FaultVMXRefused: the target may refuse a guest with vmx for its CPU.
	FaultVMXRefused KnownFault = "VMXRefused"
	// FaultCPURefused: the target may refuse a guest for its CPU.
	FaultCPURefused KnownFault = "CPURefused"
	// FaultThreadsRefused: the target may refuse a guest whose CPU has several threads a core.
	FaultThreadsRefused KnownFault = "ThreadsRefused"
	// FaultLongEncryptionCrashesSource: a large guest that is sent encrypted may be lost.
	FaultLongEncryptionCrashesSource KnownFault = "LongEncryptionCrashesSource"
	// FaultParallelCompressionMissingOnSource, FaultParallelCompressionMissingOnTarget: libvirt
	// there does not compress with several connections.
	FaultParallelCompressionMissingOnSource KnownFault = "ParallelCompressionMissingOnSource"
	FaultParallelCompressionMissingOnTarget KnownFault = "ParallelCompressionMissingOnTarget"
	// FaultZeroCopyMissing, FaultZeroCopyMissingInQEMU: libvirt or QEMU does not send without
	// copying.
	FaultZeroCopyMissing       KnownFault = "ZeroCopyMissing"
	FaultZeroCopyMissingInQEMU KnownFault = "ZeroCopyMissingInQEMU"
	// FaultSwitchoverBandwidthMissing, FaultSwitchoverBandwidthMissingInQEMU: libvirt or QEMU
	// cannot be told what the switch-over has.
	FaultSwitchoverBandwidthMissing       KnownFault = "SwitchoverBandwidthMissing"
	FaultSwitchoverBandwidthMissingInQEMU KnownFault = "SwitchoverBandwidthMissingInQEMU"
	// FaultVirtioQueuesRefused, FaultVirtioQueuesRefusedInPostCopy: the target's QEMU may refuse
	// the queues of the guest's virtio devices, and in post-copy the guest would be lost by that.
	FaultVirtioQueuesRefused           KnownFault = "VirtioQueuesRefused"
	FaultVirtioQueuesRefusedInPostCopy KnownFault = "VirtioQueuesRefusedInPostCopy"
	// FaultEmulatedWritesLost: the source's QEMU, which emulates the guest's CPU, may leave writes
	// of the guest behind where post-copy is allowed.
	FaultEmulatedWritesLost KnownFault = "EmulatedWritesLost"
	// FaultDiskCopyBroken: the source's libvirt cannot copy disks.
	FaultDiskCopyBroken KnownFault = "DiskCopyBroken"
	// FaultDisksUnencrypted: disks are copied as they are although the memory is encrypted.
	FaultDisksUnencrypted KnownFault = "DisksUnencrypted"
	// FaultEncryptedDiskCopyWithPostCopy: the target's certificate may be refused where disks
	// are copied and the migration may be switched to post-copy.
	FaultEncryptedDiskCopyWithPostCopy KnownFault = "EncryptedDiskCopyWithPostCopy"
	// FaultEncryptedDiskCopyInParallel: it may be refused where the memory goes over several
	// connections.
	FaultEncryptedDiskCopyInParallel KnownFault = "EncryptedDiskCopyInParallel"
	// FaultDetectZeroesMissingOnSource, FaultDetectZeroesMissingOnTarget: libvirt there does not
	// leave zeroes out of disks.
	FaultDetectZeroesMissingOnSource KnownFault = "DetectZeroesMissingOnSource"
	FaultDetectZeroesMissingOnTarget KnownFault = "DetectZeroesMissingOnTarget"
)

// ConvergenceOptions say how a migration is brought to its switch-over.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.steps) || has(self.stepDelaySecondsPerGiB)) || (has(self.strategy) && self.strategy == 'Stepped')",message="steps and stepDelaySecondsPerGiB belong to the strategy Stepped"
type ConvergenceOptions struct {
	// strategy is Adaptive, which predicts from the observed behaviour of the guest and
	// the link, or Stepped, which raises the allowed downtime on a fixed schedule as
	// OpenStack Nova does. Absent means Adaptive.
	// +optional
	Strategy ConvergenceStrategy `json:"strategy,omitempty"`
	// steps is the number of steps in which Stepped raises the allowed downtime. Absent
	// means 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Steps *int32 `json:"steps,omitempty"`
	// stepDelaySecondsPerGiB is how long Stepped waits between two steps, for each GiB
	// of memory and of copied disks. Absent means 75.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	StepDelaySecondsPerGiB *int32 `json:"stepDelaySecondsPerGiB,omitempty"`
}

// ConvergenceStrategy names a way to bring a migration to its switch-over.
//
// +kubebuilder:validation:Enum=Adaptive;Stepped
type ConvergenceStrategy string

// The strategies.
const (
	// StrategyAdaptive predicts the downtime of a switch-over.
	StrategyAdaptive ConvergenceStrategy = "Adaptive"
	// StrategyStepped follows a fixed schedule.
	StrategyStepped ConvergenceStrategy = "Stepped"
)

// TimeoutAction is what happens when a migration takes too long.
//
// +kubebuilder:validation:Enum=Abort;ForceComplete;KeepGoing
type TimeoutAction string

// The actions on a timeout.
const (
	// TimeoutAbort aborts the migration; the guest stays on its source.
	TimeoutAbort TimeoutAction = "Abort"
	// TimeoutForceComplete switches to post-copy where that is allowed, and
	// pauses the guest until it has been copied where it is not.
	TimeoutForceComplete TimeoutAction = "ForceComplete"
	// TimeoutKeepGoing lets the migration go on.
	TimeoutKeepGoing TimeoutAction = "KeepGoing"
)

// AutoConvergeOptions are the parameters of auto-convergence.
type AutoConvergeOptions struct {
	// initialPercent is by how much the guest's CPUs are slowed down at first.
	// Absent means the hypervisor's default, 20.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=99
	InitialPercent *int32 `json:"initialPercent,omitempty"`
	// incrementPercent is by how much more they are slowed down each time that this is
	// not enough. Absent means the hypervisor's default, 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=99
	IncrementPercent *int32 `json:"incrementPercent,omitempty"`
}
