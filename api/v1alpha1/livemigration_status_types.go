package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LiveMigrationPhase sums a migration up in a word, for people. Programs read
// the conditions.
//
// +kubebuilder:validation:Enum=Pending;Preparing;Migrating;PostCopy;Recovering;Confirming;Cancelling;Succeeded;Failed;Cancelled;Unknown
type LiveMigrationPhase string

// The phases of a migration.
const (
	// PhasePending: not started; the manager is looking for the guest, or the migration
	// waits.
	PhasePending LiveMigrationPhase = "Pending"
	// PhasePreparing: the two agents check the guest and prepare their hosts.
	PhasePreparing LiveMigrationPhase = "Preparing"
	// PhaseMigrating: libvirt copies the guest.
	PhaseMigrating LiveMigrationPhase = "Migrating"
	// PhasePostCopy: the guest runs on the target while the rest of its memory
	// is copied.
	PhasePostCopy LiveMigrationPhase = "PostCopy"
	// PhaseRecovering: post-copy was interrupted; it is resumed as soon as the two hosts
	// can reach each other.
	PhaseRecovering LiveMigrationPhase = "Recovering"
	// PhaseConfirming: the copy has ended; both sides are being checked to find out
	// where the guest runs.
	PhaseConfirming LiveMigrationPhase = "Confirming"
	// PhaseCancelling: the migration is being aborted.
	PhaseCancelling LiveMigrationPhase = "Cancelling"
	// PhaseSucceeded: the guest runs on the target or, in a dry run, could be moved there.
	PhaseSucceeded LiveMigrationPhase = "Succeeded"
	// PhaseFailed: the migration has ended without success.
	PhaseFailed LiveMigrationPhase = "Failed"
	// PhaseCancelled: the migration was cancelled.
	PhaseCancelled LiveMigrationPhase = "Cancelled"
	// PhaseUnknown: an administrator has to look; see the Stalled condition.
	PhaseUnknown LiveMigrationPhase = "Unknown"
)

// LiveMigrationStatus is what Virtferry observes and does.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.completionTime) || has(self.completionTime)",message="completionTime is never removed"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.source) || has(self.source)",message="source is never removed"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.target) || has(self.target)",message="target is never removed"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.progress) || has(self.progress)",message="progress is never removed"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.attempt) || !has(oldSelf.source) || oldSelf.source.attemptID != oldSelf.attempt.id || !has(oldSelf.source.startRequestedTime) || (has(self.attempt) && self.attempt.id == oldSelf.attempt.id)",message="an attempt that has started is never removed or replaced"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.attempt) || !has(oldSelf.source) || oldSelf.source.attemptID != oldSelf.attempt.id || !has(oldSelf.source.startRequestedTime) || (has(self.domainUUID) == has(oldSelf.domainUUID) && (!has(self.domainUUID) || self.domainUUID == oldSelf.domainUUID) && has(self.sourceNode) == has(oldSelf.sourceNode) && (!has(self.sourceNode) || self.sourceNode == oldSelf.sourceNode) && has(self.targetNode) == has(oldSelf.targetNode) && (!has(self.targetNode) || self.targetNode == oldSelf.targetNode))",message="the guest and the nodes of an attempt that has started are never changed"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || (has(self.attempt) && self.source.attemptID == self.attempt.id) || (has(oldSelf.source) && self.source.attemptID == oldSelf.source.attemptID)",message="source must be about the current attempt"
// +kubebuilder:validation:XValidation:rule="!has(self.target) || (has(self.attempt) && self.target.attemptID == self.attempt.id) || (has(oldSelf.target) && self.target.attemptID == oldSelf.target.attemptID)",message="target must be about the current attempt"
type LiveMigrationStatus struct {
	// conditions: Succeeded, Ready, Reconciling, Stalled. Written by the
	// manager.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status is
	// about; -1 before the manager has seen the object. Written by the manager.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// phase sums the conditions up for people. Written by the manager.
	// +optional
	Phase LiveMigrationPhase `json:"phase,omitempty"`
	// domainUUID is the guest's UUID, as soon as it is known. Written by the manager,
	// and final once the migration is admitted.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`
	DomainUUID string `json:"domainUUID,omitempty"`
	// domainName is the guest's libvirt name, as soon as it is known. Written by
	// the manager.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DomainName string `json:"domainName,omitempty"`
	// sourceNode is the node that the guest is moved from. Written by the manager when
	// it admits the migration, and final once the migration has started. It stays empty
	// if the guest is on the target already.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SourceNode string `json:"sourceNode,omitempty"`
	// targetNode is the node that the guest is moved to. Written by the manager when it
	// admits the migration, and final once the migration has started.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TargetNode string `json:"targetNode,omitempty"`
	// queue is the migration's place in the queue. Written by the manager.
	// +optional
	Queue *QueueStatus `json:"queue,omitempty"`
	// resolvingTime is when the manager began to wait for a guest or node that it cannot
	// find. Written by the manager.
	// +optional
	ResolvingTime *metav1.MicroTime `json:"resolvingTime,omitempty"`
	// attempt is the one attempt that this migration makes. Written by the manager when
	// it admits the migration, and final once the migration has started.
	// +optional
	Attempt *AttemptStatus `json:"attempt,omitempty"`
	// source is what the source node's agent does and sees. Written by it.
	// +optional
	Source *SourceStatus `json:"source,omitempty"`
	// target is what the target node's agent does and sees. Written by it.
	// +optional
	Target *TargetStatus `json:"target,omitempty"`
	// progress of the copy. Written by the source node's agent.
	// +optional
	Progress *ProgressStatus `json:"progress,omitempty"`
	// requests are the requests made by annotation, in the order in which they are
	// carried out. Written by the manager. When there are more than 16, the oldest that
	// are settled are dropped.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +listMapKey=token
	// +kubebuilder:validation:MaxItems=16
	Requests []RequestStatus `json:"requests,omitempty"`
	// notices are what else is worth knowing about the migration. There was also one
	// event for each. Written by the manager, and never removed.
	// +optional
	// +listType=map
	// +listMapKey=reason
	// +kubebuilder:validation:MaxItems=16
	Notices []Notice `json:"notices,omitempty"`
	// forecast is how the migration can be expected to go. Set when a dry run has passed.
	// Written by the manager.
	// +optional
	// +structType=atomic
	Forecast *Forecast `json:"forecast,omitempty"`
	// downtimeMilliseconds is how long the guest was paused for the
	// switch-over, as the hypervisor measured it. Written by the manager.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DowntimeMilliseconds *int64 `json:"downtimeMilliseconds,omitempty"`
	// guestLeftFrozenOn is the node on which the guest may still have been frozen, by
	// options.guestAgent.freezeSeconds, when the outcome was settled. Its agent goes on trying to thaw the guest,
	// also if it is started again; source.guestFreeze or target.guestThaw tells of that. Written by the manager,
	// with completionTime.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	GuestLeftFrozenOn string `json:"guestLeftFrozenOn,omitempty"`
	// startTime is when the manager first saw the object. Written once by the
	// manager.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// completionTime is when the outcome was settled. Written once by the
	// manager.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="completionTime is written once"
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
}

// AttemptStatus identifies an attempt.
type AttemptStatus struct {
	// id names the attempt. Agents act on no other.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ID string `json:"id,omitempty"`
	// admittedTime is when the manager admitted the migration.
	// +required
	AdmittedTime metav1.MicroTime `json:"admittedTime,omitzero"`
	// copyGrantedTime is when the manager gave the attempt its slot for copying. The
	// source's agent does not start the migration before that.
	// +optional
	CopyGrantedTime *metav1.MicroTime `json:"copyGrantedTime,omitempty"`
	// storageMappings are those of the target's Hypervisor, as they were when the migration
	// was admitted. Later changes do not concern the attempt.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=from
	// +kubebuilder:validation:MaxItems=64
	StorageMappings []StorageMapping `json:"storageMappings,omitempty"`
	// endSeenTime is when the manager first saw source.end. How long the two sides take
	// to agree is measured by the manager's clock, because the nodes' clocks may be
	// wrong.
	// +optional
	EndSeenTime *metav1.MicroTime `json:"endSeenTime,omitempty"`
	// confirmationSeenTime is when the manager first saw target.confirmedTime.
	// +optional
	ConfirmationSeenTime *metav1.MicroTime `json:"confirmationSeenTime,omitempty"`
	// cleanUpTime is when nothing but cleaning up was left to do: resuming a guest that
	// was paused for its migration, or removing a definition or images that are left over.
	// +optional
	CleanUpTime *metav1.MicroTime `json:"cleanUpTime,omitempty"`
	// abandonedTime is when the manager gave the attempt up before it was started, and there
	// was something on one of the nodes to be removed first. It is not started any more.
	// +optional
	AbandonedTime *metav1.MicroTime `json:"abandonedTime,omitempty"`
	// sourceMissingTime is when the source node was first seen to have no Hypervisor:
	// somebody has deleted it to say that the node is gone. Set only once the migration
	// may have started.
	// +optional
	SourceMissingTime *metav1.MicroTime `json:"sourceMissingTime,omitempty"`
	// targetMissingTime is the same for the target node.
	// +optional
	TargetMissingTime *metav1.MicroTime `json:"targetMissingTime,omitempty"`
}

// SourceStatus is what the source node's agent does and sees. A delayed report cannot take
// back what a later one has said about the start and the end.
//
// +kubebuilder:validation:XValidation:rule="self.attemptID != oldSelf.attemptID || !has(oldSelf.startRequestedTime) || has(self.startRequestedTime)",message="startRequestedTime is never removed"
// +kubebuilder:validation:XValidation:rule="self.attemptID != oldSelf.attemptID || !has(oldSelf.end) || has(self.end)",message="end is never removed"
// +kubebuilder:validation:XValidation:rule="self.attemptID != oldSelf.attemptID || !has(self.revision) || !has(oldSelf.revision) || self.revision >= oldSelf.revision",message="revision never goes back: a later report has been recorded"
type SourceStatus struct {
	// attemptID is the attempt that this section is about.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	AttemptID string `json:"attemptID,omitempty"`
	// revision grows with each report that the node's agent sends; one that reaches the API
	// server after a later one is refused. It begins with the time at which the agent was
	// started, so that those of its successor are higher. Older agents send none.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Revision int64 `json:"revision,omitempty"`
	// guest is what the target has to know about the guest; set once it was looked at, even
	// if problem says that it cannot be moved.
	// +optional
	Guest *GuestFacts `json:"guest,omitempty"`
	// checkedTime is when the agent had checked everything that it would for the start of a
	// migration that is not started: it is a dry run, or one of the agents refuses the guest.
	// +optional
	CheckedTime *metav1.MicroTime `json:"checkedTime,omitempty"`
	// load is what there is to be copied of the guest. Measured by a dry run, and for a freeze.
	// +optional
	Load *GuestLoad `json:"load,omitempty"`
	// startRequestedTime is when the agent recorded that it is about to start
	// the migration. From then on the migration may be running.
	// +optional
	StartRequestedTime *metav1.MicroTime `json:"startRequestedTime,omitempty"`
	// guestPaused is whether the guest was paused before the migration started; if so,
	// it stays paused wherever it ends up.
	// +optional
	GuestPaused bool `json:"guestPaused,omitempty"`
	// hostInterfaces are those that options.detachHostInterfaces is about. That one is taken from
	// the guest is recorded before.
	// +optional
	// +listType=map
	// +listMapKey=macAddress
	// +kubebuilder:validation:MaxItems=64
	HostInterfaces []HostInterface `json:"hostInterfaces,omitempty"`
	// guestPersistent is whether the guest has a persistent definition; if so, it gets
	// one on the target as well.
	// +optional
	GuestPersistent bool `json:"guestPersistent,omitempty"`
	// warnings are the parts of the guest's definition that depend on the source's host
	// and were kept as they are, each with what to check. Set when the migration is
	// started, or has been checked in a dry run; if there are more than 16, the last entry says how many more.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	Warnings []string `json:"warnings,omitempty"`
	// knownFaults are faults of the versions of libvirt and QEMU on the two hosts that the
	// migration may meet, each with what to do about it. Set with warnings.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	KnownFaults []string `json:"knownFaults,omitempty"`
	// transfer is how the guest is sent. Set with warnings.
	// +optional
	Transfer *TransferPlan `json:"transfer,omitempty"`
	// storage is what the agent does about the guest's disks.
	// +optional
	Storage *SourceStorage `json:"storage,omitempty"`
	// jobStartedTime is when the migration job was first seen running.
	// +optional
	JobStartedTime *metav1.MicroTime `json:"jobStartedTime,omitempty"`
	// steering is what the agent has done to the running job.
	// +optional
	Steering *SteeringStatus `json:"steering,omitempty"`
	// recovery is set once post-copy has been interrupted.
	// +optional
	Recovery *RecoveryStatus `json:"recovery,omitempty"`
	// guestFreeze is what came of options.guestAgent.freezeSeconds.
	// +optional
	GuestFreeze *GuestFreeze `json:"guestFreeze,omitempty"`
	// stall is set while the agent cannot bring the migration to its end.
	// +optional
	Stall *StallStatus `json:"stall,omitempty"`
	// end is set once the migration job is over on this side.
	// +optional
	End *SourceEnd `json:"end,omitempty"`
	// problem is why the agent refuses the migration; set only before the start.
	// +optional
	Problem *Problem `json:"problem,omitempty"`
}

// SourceEnd is how the migration ended on the source.
type SourceEnd struct {
	// call is what libvirt's migrate call returned.
	// +required
	Call CallResult `json:"call,omitempty"`
	// errorKind classifies the error of a call that did not succeed.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ErrorKind string `json:"errorKind,omitempty"`
	// errorMessage is libvirt's error message for a call that did not succeed.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	ErrorMessage string `json:"errorMessage,omitempty"`
	// domain is the guest on this side after the end.
	// +required
	Domain DomainObservation `json:"domain,omitzero"`
	// observation counts the changes of domain, and how often the agent has asked for
	// the target to be checked again before it acts on what the target shows.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Observation int64 `json:"observation,omitempty"`
	// answersTarget is the target.observation that was known when domain was read.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AnswersTarget int64 `json:"answersTarget,omitempty"`
	// neverLeft is whether the guest is known not to have left this side: the agent
	// that made the call has followed it to its end without a gap, and the guest was
	// never suspended for a switch-over.
	// +optional
	NeverLeft bool `json:"neverLeft,omitempty"`
	// ranTime is when, after the end, the guest was first seen to run on this side.
	// +optional
	RanTime *metav1.MicroTime `json:"ranTime,omitempty"`
	// copyPausedTime is when the agent recorded that it pauses its copy of a guest that
	// runs on both sides. It does this once.
	// +optional
	CopyPausedTime *metav1.MicroTime `json:"copyPausedTime,omitempty"`
	// copySettledTime is when the state of that copy, or libvirt's reason for it, was
	// first seen to differ from those at copyPausedTime: it was paused, or somebody has
	// done something with it. It is left alone from then on.
	// +optional
	CopySettledTime *metav1.MicroTime `json:"copySettledTime,omitempty"`
	// time is when the end was seen.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
}

// CallResult is what a migrate call returned.
//
// +kubebuilder:validation:Enum=Succeeded;Failed;Unknown
type CallResult string

// The results of a migrate call.
const (
	// CallSucceeded: libvirt reported that the guest was migrated.
	CallSucceeded CallResult = "Succeeded"
	// CallFailed: libvirt reported that it was not.
	CallFailed CallResult = "Failed"
	// CallUnknown: the answer was lost with a connection or an agent, or leaves open
	// what became of the guest, because the two libvirt daemons have lost their
	// connection.
	CallUnknown CallResult = "Unknown"
)

// TargetStatus is what the target node's agent does and sees.
//
// +kubebuilder:validation:XValidation:rule="self.attemptID != oldSelf.attemptID || !has(self.revision) || !has(oldSelf.revision) || self.revision >= oldSelf.revision",message="revision never goes back: a later report has been recorded"
type TargetStatus struct {
	// attemptID is the attempt that this section is about.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	AttemptID string `json:"attemptID,omitempty"`
	// revision grows with each report that the node's agent sends; one that reaches the API
	// server after a later one is refused. It begins with the time at which the agent was
	// started, so that those of its successor are higher. Older agents send none.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9007199254740991
	Revision int64 `json:"revision,omitempty"`
	// readyTime is when the target was ready to receive the guest.
	// +optional
	ReadyTime *metav1.MicroTime `json:"readyTime,omitempty"`
	// checkedTime is when the agent had looked what else is in the way of a guest that the
	// source refuses. Nothing was made or promised for it here.
	// +optional
	CheckedTime *metav1.MicroTime `json:"checkedTime,omitempty"`
	// endpoint is where the source reaches this host. From it the source's agent builds
	// the URIs for its libvirt.
	// +optional
	Endpoint *TargetEndpoint `json:"endpoint,omitempty"`
	// offer is what this host fills in for the parts of the migrate data that the user
	// left out.
	// +optional
	Offer *TargetOffer `json:"offer,omitempty"`
	// host is what pins and bindings in the guest's definition are checked against.
	// +optional
	Host *TargetHost `json:"host,omitempty"`
	// images are what becomes of the disks that options.storageCopy is about. One that is to be
	// made is recorded before it is, and removed if the guest does not come.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Images []TargetImage `json:"images,omitempty"`
	// diskFiles are what this host sees of the guest's files, of which source.guest.diskFiles
	// tells.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	DiskFiles []TargetDiskFile `json:"diskFiles,omitempty"`
	// definedBefore is whether the domain had a persistent definition on this side
	// before the migration. One that came with a failed migration is removed.
	// +optional
	DefinedBefore *bool `json:"definedBefore,omitempty"`
	// incomingTime is when the incoming half of a migration was first seen on this side.
	// For a guest that somebody starts here from a definition, there is none.
	// +optional
	IncomingTime *metav1.MicroTime `json:"incomingTime,omitempty"`
	// incomingID is the host's number of the run of the domain that a migration brought, as
	// last seen. A guest that runs here under another number was started afterwards.
	// +optional
	// +kubebuilder:validation:Minimum=0
	IncomingID int64 `json:"incomingID,omitempty"`
	// incomingEndedTime is when the run that a migration had brought was first seen to be
	// over: the domain was not active, or was one that was started here, even if libvirt
	// holds it like an incoming half because somebody moves it on. From then on, nothing
	// here is taken for what the migration has brought, whatever its number, until another
	// incoming half is seen.
	// +optional
	IncomingEndedTime *metav1.MicroTime `json:"incomingEndedTime,omitempty"`
	// arrivedTime is when the guest was first seen on this side, running or complete and
	// paused, brought by a migration.
	// +optional
	ArrivedTime *metav1.MicroTime `json:"arrivedTime,omitempty"`
	// wholeTime is when this side's hypervisor first reported, after the source had
	// switched to post-copy, that all of the guest had arrived: it runs with the reason
	// Migrated, and no incoming job is left.
	// +optional
	WholeTime *metav1.MicroTime `json:"wholeTime,omitempty"`
	// lostTime is when the guest was found to be missing on this side although the
	// source had switched to post-copy.
	// +optional
	LostTime *metav1.MicroTime `json:"lostTime,omitempty"`
	// domain is the guest on this side, as last seen.
	// +optional
	Domain *DomainObservation `json:"domain,omitempty"`
	// observation counts the changes of domain, and how often the agent has asked for
	// the source to be checked again before it acts on what the source shows.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Observation int64 `json:"observation,omitempty"`
	// answersSource is the source.end.observation that was known when domain was read.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AnswersSource int64 `json:"answersSource,omitempty"`
	// confirmedTime is when domain was checked after the end on the source.
	// +optional
	ConfirmedTime *metav1.MicroTime `json:"confirmedTime,omitempty"`
	// downtimeMilliseconds is the guest's pause as this side's hypervisor
	// measured it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DowntimeMilliseconds *int64 `json:"downtimeMilliseconds,omitempty"`
	// hostInterfaces are those that the guest is given here, of source.hostInterfaces.
	// +optional
	// +listType=map
	// +listMapKey=macAddress
	// +kubebuilder:validation:MaxItems=64
	HostInterfaces []HostInterface `json:"hostInterfaces,omitempty"`
	// guestThaw is what came of thawing the guest after options.guestAgent.freezeSeconds.
	// +optional
	GuestThaw *GuestThaw `json:"guestThaw,omitempty"`
	// guestClock is what came of options.guestAgent.setTime.
	// +optional
	GuestClock *GuestClock `json:"guestClock,omitempty"`
	// problem is why the agent refuses the guest.
	// +optional
	Problem *Problem `json:"problem,omitempty"`
}
