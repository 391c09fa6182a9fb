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
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Downtime-ms",type=integer,priority=1,JSONPath=`.status.downtimeMilliseconds`
// +kubebuilder:printcolumn:name="Elapsed-ms",type=integer,priority=1,JSONPath=`.status.progress.elapsedMilliseconds`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`
// +kubebuilder:selectablefield:JSONPath=`.spec.domain`
// +kubebuilder:selectablefield:JSONPath=`.spec.targetNode`
// +kubebuilder:selectablefield:JSONPath=`.status.phase`
// +kubebuilder:selectablefield:JSONPath=`.status.domainUUID`
// +kubebuilder:selectablefield:JSONPath=`.status.sourceNode`
// +kubebuilder:selectablefield:JSONPath=`.status.targetNode`
type LiveMigration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user asks for. It cannot be changed, but for
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
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.allowUnsafe) && self.options.allowUnsafe) == (has(oldSelf.options) && has(oldSelf.options.allowUnsafe) && oldSelf.options.allowUnsafe)",message="options.allowUnsafe cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.allowPostCopy) && self.options.allowPostCopy) == (has(oldSelf.options) && has(oldSelf.options.allowPostCopy) && oldSelf.options.allowPostCopy)",message="options.allowPostCopy cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.autoConverge)) == (has(oldSelf.options) && has(oldSelf.options.autoConverge))",message="options.autoConverge cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="(has(self.options) && has(self.options.convergence)) == (has(oldSelf.options) && has(oldSelf.options.convergence))",message="options.convergence cannot be changed; create another LiveMigration"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceNode) || self.sourceNode != self.targetNode",message="targetNode must differ from sourceNode"
type LiveMigrationSpec struct {
	// domain is the guest: its libvirt name or its UUID. A value that has the
	// form of a UUID is taken as one.
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
	// sourceNode is the node that the guest is to be moved from. Absent means
	// wherever it runs; where it is given and the guest runs elsewhere, the
	// migration fails before anything is touched.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="sourceNode must be the name of a node"
	SourceNode string `json:"sourceNode,omitempty"`
	// migrateData says what becomes of the parts of the guest's definition that
	// belong to its host. Absent parts are filled in by the target's agent.
	// +optional
	MigrateData *MigrateData `json:"migrateData,omitempty"`
	// options steer the migration.
	// +optional
	Options *MigrationOptions `json:"options,omitempty"`
	// ttlSecondsAfterFinished is how long the object is kept after the
	// migration has ended; absent means for ever. Do not set it on objects that
	// are applied from Git: deleted ones would be applied, and the guest moved,
	// again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// MigrationOptions steer a migration.
type MigrationOptions struct {
	// allowUnsafe lifts libvirt's refusal of migrations that may harm the
	// guest's disks, for example of a guest whose disks lie on storage that
	// libvirt does not know to be shared. Cannot be changed.
	// +optional
	AllowUnsafe *bool `json:"allowUnsafe,omitempty"`
	// maxDowntimeMilliseconds is the longest that the guest may be paused for
	// its switch-over. Absent means 500. May be changed while the migration
	// runs.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2000000
	MaxDowntimeMilliseconds *int64 `json:"maxDowntimeMilliseconds,omitempty"`
	// bandwidthMiBps limits the copying, in MiB per second. Absent means the
	// hypervisor's default. May be changed while the migration runs; where it is
	// removed then, the limit stays what it was.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8796093022207
	BandwidthMiBps *int64 `json:"bandwidthMiBps,omitempty"`
	// convergence says how the allowed downtime is worked up to
	// maxDowntimeMilliseconds while the guest is copied. Cannot be changed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="options.convergence cannot be changed; create another LiveMigration"
	Convergence *ConvergenceOptions `json:"convergence,omitempty"`
	// completionTimeoutSecondsPerGiB is how long the copying may take for each
	// GiB of memory and of disks that are copied along, the guest counting as
	// 2 GiB at least. Absent means 800; 0 means no limit. May be changed while
	// the migration runs.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	CompletionTimeoutSecondsPerGiB *int64 `json:"completionTimeoutSecondsPerGiB,omitempty"`
	// progressTimeoutSeconds is how long the copying may go on without coming
	// closer to its end. Absent or 0 means no limit. May be changed while the
	// migration runs.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	ProgressTimeoutSeconds *int64 `json:"progressTimeoutSeconds,omitempty"`
	// onTimeout is what happens when one of the timeouts has passed. Absent
	// means Abort. May be changed while the migration runs.
	// +optional
	OnTimeout TimeoutAction `json:"onTimeout,omitempty"`
	// allowPostCopy allows the switch to post-copy: the guest goes on running on
	// the target before all of its memory is there, and the rest follows. From
	// then on the guest depends on both hosts and the network between them, and
	// the migration cannot be cancelled. Cannot be changed.
	// +optional
	AllowPostCopy *bool `json:"allowPostCopy,omitempty"`
	// allowPause allows the strategy to pause a guest that writes to its memory
	// faster than it can be copied, for as long as copying the rest takes. A
	// request to force completion, and onTimeout: ForceComplete, need no such
	// leave. May be changed while the migration runs.
	// +optional
	AllowPause *bool `json:"allowPause,omitempty"`
	// autoConverge has the hypervisor slow the guest's CPUs down, step by step,
	// for as long as it writes to its memory too fast. Absent means never.
	// Cannot be changed.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="options.autoConverge cannot be changed; create another LiveMigration"
	AutoConverge *AutoConvergeOptions `json:"autoConverge,omitempty"`
}

// ConvergenceOptions say how a migration is brought to its switch-over.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.steps) || has(self.stepDelaySecondsPerGiB)) || (has(self.strategy) && self.strategy == 'Stepped')",message="steps and stepDelaySecondsPerGiB belong to the strategy Stepped"
type ConvergenceOptions struct {
	// strategy is Adaptive, which predicts from what is seen of the guest and of
	// the link, or Stepped, which raises the allowed downtime by the clock as
	// OpenStack Nova does. Absent means Adaptive.
	// +optional
	Strategy ConvergenceStrategy `json:"strategy,omitempty"`
	// steps is in how many steps Stepped raises the allowed downtime. Absent
	// means 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Steps *int32 `json:"steps,omitempty"`
	// stepDelaySecondsPerGiB is how long Stepped waits between two steps, for
	// each GiB of memory and of disks that are copied along. Absent means 75.
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
	// StrategyAdaptive predicts.
	StrategyAdaptive ConvergenceStrategy = "Adaptive"
	// StrategyStepped goes by the clock.
	StrategyStepped ConvergenceStrategy = "Stepped"
)

// TimeoutAction is what happens when a migration takes too long.
//
// +kubebuilder:validation:Enum=Abort;ForceComplete;KeepGoing
type TimeoutAction string

// The actions on a timeout.
const (
	// TimeoutAbort gives the migration up; the guest stays on its source.
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
	// incrementPercent is by how much more they are slowed down each time that
	// this was not enough. Absent means the hypervisor's default, 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=99
	IncrementPercent *int32 `json:"incrementPercent,omitempty"`
}

// LiveMigrationPhase sums a migration up in a word, for people. Programs read
// the conditions.
//
// +kubebuilder:validation:Enum=Pending;Preparing;Migrating;PostCopy;Recovering;Confirming;Cancelling;Succeeded;Failed;Cancelled;Unknown
type LiveMigrationPhase string

// The phases of a migration.
const (
	// PhasePending: not begun; the manager resolves it, or it waits.
	PhasePending LiveMigrationPhase = "Pending"
	// PhasePreparing: the two agents check and prepare.
	PhasePreparing LiveMigrationPhase = "Preparing"
	// PhaseMigrating: libvirt copies the guest.
	PhaseMigrating LiveMigrationPhase = "Migrating"
	// PhasePostCopy: the guest runs on the target while the rest of its memory
	// is copied.
	PhasePostCopy LiveMigrationPhase = "PostCopy"
	// PhaseRecovering: post-copy was interrupted; it is resumed as soon as the
	// two hosts reach each other.
	PhaseRecovering LiveMigrationPhase = "Recovering"
	// PhaseConfirming: the copying has ended; where the guest runs is being
	// confirmed.
	PhaseConfirming LiveMigrationPhase = "Confirming"
	// PhaseCancelling: the migration is being aborted.
	PhaseCancelling LiveMigrationPhase = "Cancelling"
	// PhaseSucceeded: the guest runs on the target.
	PhaseSucceeded LiveMigrationPhase = "Succeeded"
	// PhaseFailed: the migration has ended without success.
	PhaseFailed LiveMigrationPhase = "Failed"
	// PhaseCancelled: the migration was cancelled.
	PhaseCancelled LiveMigrationPhase = "Cancelled"
	// PhaseUnknown: a person has to look; see the Stalled condition.
	PhaseUnknown LiveMigrationPhase = "Unknown"
)

// LiveMigrationStatus is what Virtferry observes and does.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.completionTime) || has(self.completionTime)",message="completionTime is never removed"
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
	// domainUUID is the guest's UUID, as soon as it is known. Written by the
	// manager, and final once the migration goes ahead.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	DomainUUID string `json:"domainUUID,omitempty"`
	// sourceNode is the node that the guest is moved from. Written once by the
	// manager.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SourceNode string `json:"sourceNode,omitempty"`
	// targetNode is the node that the guest is moved to. Written once by the
	// manager.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	TargetNode string `json:"targetNode,omitempty"`
	// attempt is the one try that this migration makes. Written once by the
	// manager, when it lets the migration go ahead.
	// +optional
	Attempt *AttemptStatus `json:"attempt,omitempty"`
	// source is what the source node's agent does and sees. Written by it.
	// +optional
	Source *SourceStatus `json:"source,omitempty"`
	// target is what the target node's agent does and sees. Written by it.
	// +optional
	Target *TargetStatus `json:"target,omitempty"`
	// progress of the copying. Written by the source node's agent.
	// +optional
	Progress *ProgressStatus `json:"progress,omitempty"`
	// requests are what was asked for by annotation, in the order in which it
	// is done. Written by the manager. The oldest that are settled make way
	// when there are more than 16.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +listMapKey=token
	// +kubebuilder:validation:MaxItems=16
	Requests []RequestStatus `json:"requests,omitempty"`
	// downtimeMilliseconds is how long the guest was paused for the
	// switch-over, as the hypervisor measured it. Written by the manager.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DowntimeMilliseconds *int64 `json:"downtimeMilliseconds,omitempty"`
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

// AttemptStatus identifies a try.
type AttemptStatus struct {
	// id names the attempt. Agents act on no other.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ID string `json:"id,omitempty"`
	// admittedTime is when the manager let the attempt go ahead.
	// +required
	AdmittedTime metav1.MicroTime `json:"admittedTime,omitzero"`
}

// RequestStatus is a request that was made by annotation, and what became of it.
type RequestStatus struct {
	// type is what is asked for.
	// +required
	Type RequestType `json:"type,omitempty"`
	// token is the annotation's value, which tells one request from the next. A
	// value that cannot be a token is replaced by "invalid-" and a part of its
	// SHA-256 sum.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Token string `json:"token,omitempty"`
	// state is how far the request has come.
	// +required
	State RequestState `json:"state,omitempty"`
	// message says what became of the request.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// requestedTime is when the request was first seen.
	// +required
	RequestedTime metav1.MicroTime `json:"requestedTime,omitzero"`
	// settledTime is when the request was done or refused.
	// +optional
	SettledTime *metav1.MicroTime `json:"settledTime,omitempty"`
}

// RequestType is what a request asks for.
//
// +kubebuilder:validation:Enum=Cancel;ForceComplete
type RequestType string

// The types of requests.
const (
	// RequestCancel asks for the end of the migration, with the guest on its
	// source.
	RequestCancel RequestType = "Cancel"
	// RequestForceComplete asks for the migration to be completed whatever it
	// costs the guest: by post-copy where that is allowed, else by pausing it.
	RequestForceComplete RequestType = "ForceComplete"
)

// RequestState is how far a request has come.
//
// +kubebuilder:validation:Enum=Queued;InProgress;Done;Refused
type RequestState string

// The states of a request.
const (
	// RequestQueued: waiting until it can be carried out.
	RequestQueued RequestState = "Queued"
	// RequestInProgress: the source's agent is carrying it out.
	RequestInProgress RequestState = "InProgress"
	// RequestDone: it was carried out.
	RequestDone RequestState = "Done"
	// RequestRefused: it was not, and never will be; the message says why.
	RequestRefused RequestState = "Refused"
)

// SourceStatus is what the source node's agent does and sees.
type SourceStatus struct {
	// attemptID is the attempt that this section is about.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	AttemptID string `json:"attemptID,omitempty"`
	// guest is what the target has to know of the guest; set once the checks
	// have passed.
	// +optional
	Guest *GuestFacts `json:"guest,omitempty"`
	// startRequestedTime is when the agent recorded that it is about to start
	// the migration. From then on the migration may be running.
	// +optional
	StartRequestedTime *metav1.MicroTime `json:"startRequestedTime,omitempty"`
	// guestPaused is whether the guest was paused before the migration was
	// started; then it stays paused on either side.
	// +optional
	GuestPaused bool `json:"guestPaused,omitempty"`
	// guestPersistent is whether the guest has a definition that outlives it;
	// then it has one on the target as well.
	// +optional
	GuestPersistent bool `json:"guestPersistent,omitempty"`
	// jobStartedTime is when the migration job was first seen running.
	// +optional
	JobStartedTime *metav1.MicroTime `json:"jobStartedTime,omitempty"`
	// steering is what the agent has done to the running job.
	// +optional
	Steering *SteeringStatus `json:"steering,omitempty"`
	// recovery is there once post-copy was interrupted.
	// +optional
	Recovery *RecoveryStatus `json:"recovery,omitempty"`
	// end is set once the migration job is over on this side.
	// +optional
	End *SourceEnd `json:"end,omitempty"`
	// problem is why the agent refuses to go on; set only before the start.
	// +optional
	Problem *Problem `json:"problem,omitempty"`
}

// SteeringStatus is what the source's agent has done to a running migration. An
// agent that takes the migration over goes on from here.
type SteeringStatus struct {
	// maxDowntimeMilliseconds is the downtime that the hypervisor was last
	// allowed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxDowntimeMilliseconds int64 `json:"maxDowntimeMilliseconds,omitempty"`
	// lastProgressTime is when the copying was last seen to come closer to its
	// end.
	// +optional
	LastProgressTime *metav1.MicroTime `json:"lastProgressTime,omitempty"`
	// postCopy is the switch to post-copy, once the agent has asked for it.
	// +optional
	PostCopy *SteeringStep `json:"postCopy,omitempty"`
	// postCopyTime is when the migration was first seen in post-copy.
	// +optional
	PostCopyTime *metav1.MicroTime `json:"postCopyTime,omitempty"`
	// pause is the pausing of the guest so that its copying ends, once the agent
	// has asked for it. The guest is resumed where it ends up.
	// +optional
	Pause *SteeringStep `json:"pause,omitempty"`
	// abort is the abort of the job, once the agent has asked for it.
	// +optional
	Abort *SteeringStep `json:"abort,omitempty"`
	// requests are the requests that the agent has taken up.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +listMapKey=token
	// +kubebuilder:validation:MaxItems=16
	Requests []RequestReport `json:"requests,omitempty"`
}

// SteeringStep is something that the source's agent does to a running migration
// once. It is recorded before it is done.
type SteeringStep struct {
	// time is when the agent decided on it.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
	// reason says why in a word.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// message says why, with the numbers.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// error is libvirt's message if it refused.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`
}

// RequestReport is what the source's agent did about a request.
type RequestReport struct {
	// type is what is asked for.
	// +required
	Type RequestType `json:"type,omitempty"`
	// token tells the request from others.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Token string `json:"token,omitempty"`
	// state is how far it has come.
	// +required
	State RequestState `json:"state,omitempty"`
	// message says what was done, or why nothing was.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// time is when it came to this.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
}

// RecoveryStatus is how an interrupted post-copy is resumed.
type RecoveryStatus struct {
	// brokenTime is when the interruption was first seen.
	// +required
	BrokenTime metav1.MicroTime `json:"brokenTime,omitzero"`
	// attempts is how often the agent has tried to resume.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempts int32 `json:"attempts,omitempty"`
	// lastAttemptTime is when it tried last.
	// +optional
	LastAttemptTime *metav1.MicroTime `json:"lastAttemptTime,omitempty"`
	// lastError is libvirt's message of the last attempt that failed.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastError string `json:"lastError,omitempty"`
	// resumedTime is when the copying was seen to go on.
	// +optional
	ResumedTime *metav1.MicroTime `json:"resumedTime,omitempty"`
}

// GuestFacts are the facts about a guest that the target has to know.
type GuestFacts struct {
	// name is the guest's libvirt name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
	// hostUUID is the UUID of the source's libvirt.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	HostUUID string `json:"hostUUID,omitempty"`
	// serialPorts is how many TCP ports the guest's serial consoles listen on.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	SerialPorts int32 `json:"serialPorts,omitempty"`
}

// SourceEnd is how the migration ended on the source.
type SourceEnd struct {
	// call is what libvirt's migrate call returned.
	// +required
	Call CallResult `json:"call,omitempty"`
	// errorKind sorts the error of a call that did not succeed.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ErrorKind string `json:"errorKind,omitempty"`
	// errorMessage is libvirt's message of a call that did not succeed.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	ErrorMessage string `json:"errorMessage,omitempty"`
	// domain is the guest on this side after the end.
	// +required
	Domain DomainObservation `json:"domain,omitzero"`
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
	// CallSucceeded: libvirt says that the guest was migrated.
	CallSucceeded CallResult = "Succeeded"
	// CallFailed: libvirt says that it was not.
	CallFailed CallResult = "Failed"
	// CallUnknown: the answer was lost with a connection or an agent.
	CallUnknown CallResult = "Unknown"
)

// TargetStatus is what the target node's agent does and sees.
type TargetStatus struct {
	// attemptID is the attempt that this section is about.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	AttemptID string `json:"attemptID,omitempty"`
	// readyTime is when the target was ready to receive the guest.
	// +optional
	ReadyTime *metav1.MicroTime `json:"readyTime,omitempty"`
	// destinationURI is where the source's libvirt reaches this one.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	DestinationURI string `json:"destinationURI,omitempty"`
	// migrateURI is where the source sends the guest's memory.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	MigrateURI string `json:"migrateURI,omitempty"`
	// offer is what this host gives for the parts of the migrate data that the
	// user left out.
	// +optional
	Offer *MigrateData `json:"offer,omitempty"`
	// arrivedTime is when the guest was first seen running, or whole and
	// paused, on this side.
	// +optional
	ArrivedTime *metav1.MicroTime `json:"arrivedTime,omitempty"`
	// domain is the guest on this side, as last seen.
	// +optional
	Domain *DomainObservation `json:"domain,omitempty"`
	// confirmedTime is when domain was read after the end on the source.
	// +optional
	ConfirmedTime *metav1.MicroTime `json:"confirmedTime,omitempty"`
	// downtimeMilliseconds is the guest's pause as this side's hypervisor
	// measured it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DowntimeMilliseconds *int64 `json:"downtimeMilliseconds,omitempty"`
	// problem is why the agent refuses the guest.
	// +optional
	Problem *Problem `json:"problem,omitempty"`
}

// DomainObservation is a guest on one side at one moment.
type DomainObservation struct {
	// state is libvirt's state of the domain, or Absent where libvirt does not
	// know it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	State string `json:"state,omitempty"`
	// reason is libvirt's reason for the state.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
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
	Reason string `json:"reason,omitempty"`
	// message says what is wrong and what to do.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Message string `json:"message,omitempty"`
}

// ProgressStatus is how far the copying has come.
type ProgressStatus struct {
	// percent of the memory and disks that has been copied. It never falls, and
	// is 100 only once the migration has succeeded on the source's word.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
	// memory counts the guest's memory.
	// +optional
	Memory *TransferStatus `json:"memory,omitempty"`
	// disk counts the guest's disks that are copied along.
	// +optional
	Disk *TransferStatus `json:"disk,omitempty"`
	// memoryIteration counts the passes over the guest's memory, from one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MemoryIteration int64 `json:"memoryIteration,omitempty"`
	// dirtyBytesPerSecond is how fast the guest writes to its memory.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DirtyBytesPerSecond int64 `json:"dirtyBytesPerSecond,omitempty"`
	// bytesPerSecond is how fast memory is copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`
	// expectedDowntimeMilliseconds is the hypervisor's estimate of the pause
	// for the switch-over; absent until there is one and after the end.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ExpectedDowntimeMilliseconds *int64 `json:"expectedDowntimeMilliseconds,omitempty"`
	// throttlePercent is by how much auto-convergence slows the guest down.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	ThrottlePercent int32 `json:"throttlePercent,omitempty"`
	// postCopyRequests is how many pages the target had to ask for in post-copy.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PostCopyRequests int64 `json:"postCopyRequests,omitempty"`
	// switchover is what brought the guest to the target, once it is there:
	// Converged, PostCopy or Paused.
	// +optional
	Switchover SwitchoverReason `json:"switchover,omitempty"`
	// elapsedMilliseconds is the age of the migration job.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ElapsedMilliseconds int64 `json:"elapsedMilliseconds,omitempty"`
	// downtimeMilliseconds is the guest's real pause, once the job has ended
	// and the source's hypervisor has told it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DowntimeMilliseconds *int64 `json:"downtimeMilliseconds,omitempty"`
}

// SwitchoverReason is what brought a guest to its target.
//
// +kubebuilder:validation:Enum=Converged;PostCopy;Paused
type SwitchoverReason string

// The reasons of a switch-over.
const (
	// SwitchoverConverged: the rest could be copied within the allowed downtime.
	SwitchoverConverged SwitchoverReason = "Converged"
	// SwitchoverPostCopy: the guest went ahead, and the rest followed.
	SwitchoverPostCopy SwitchoverReason = "PostCopy"
	// SwitchoverPaused: the guest was paused so that the copying could end.
	SwitchoverPaused SwitchoverReason = "Paused"
)

// TransferStatus counts what is copied, in bytes.
type TransferStatus struct {
	// totalBytes is the size of all that is to be copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TotalBytes int64 `json:"totalBytes"`
	// processedBytes has been copied so far, rewritten parts counted again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ProcessedBytes int64 `json:"processedBytes"`
	// remainingBytes is still to be copied.
	// +optional
	// +kubebuilder:validation:Minimum=0
	RemainingBytes int64 `json:"remainingBytes"`
}
