package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RequestStatus is a request that was made by annotation, and what became of it.
type RequestStatus struct {
	// type is what is asked for.
	// +required
	Type RequestType `json:"type,omitempty"`
	// token is the annotation's value, which distinguishes one request from the next. A
	// value that cannot be a token is replaced by "invalid-" and a part of its SHA-256
	// sum.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Token string `json:"token,omitempty"`
	// state is the state of the request.
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
	// RequestCancel asks for the migration to be aborted, so that the guest stays on its
	// source.
	RequestCancel RequestType = "Cancel"
	// RequestForceComplete asks for the migration to be completed whatever that means
	// for the guest: by post-copy if that is allowed, otherwise by pausing it.
	RequestForceComplete RequestType = "ForceComplete"
)

// RequestState is the state of a request.
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

// SteeringStatus is what the source's agent has done to a running migration. An agent that
// takes over the migration continues from here.
type SteeringStatus struct {
	// maxDowntimeMilliseconds is the downtime that the hypervisor is currently allowed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MaxDowntimeMilliseconds int64 `json:"maxDowntimeMilliseconds,omitempty"`
	// lastProgressTime is when the copy was last seen to make progress.
	// +optional
	LastProgressTime *metav1.MicroTime `json:"lastProgressTime,omitempty"`
	// lowestRemainingBytes is the least memory that was left to copy at the beginning of
	// a pass over it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	LowestRemainingBytes int64 `json:"lowestRemainingBytes,omitempty"`
	// postCopy is the switch to post-copy, once the agent has asked for it.
	// +optional
	PostCopy *SteeringStep `json:"postCopy,omitempty"`
	// postCopyTime is when the migration was first seen in post-copy.
	// +optional
	PostCopyTime *metav1.MicroTime `json:"postCopyTime,omitempty"`
	// pause is the pause of the guest so that the copy can finish, once the agent has
	// asked for it. The guest is resumed wherever it ends up.
	// +optional
	Pause *SteeringStep `json:"pause,omitempty"`
	// pausedTime is when libvirt paused the guest, or when the guest was first seen
	// paused after that.
	// +optional
	PausedTime *metav1.MicroTime `json:"pausedTime,omitempty"`
	// abort is the abort of the job, once the agent has asked for it.
	// +optional
	Abort *SteeringStep `json:"abort,omitempty"`
	// requests are the requests that the agent has accepted or refused.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +listMapKey=token
	// +kubebuilder:validation:MaxItems=16
	Requests []RequestReport `json:"requests,omitempty"`
}

// StepReasonRequested is the reason of a step that a request asks for.
const StepReasonRequested = "Requested"

// SteeringStep is something that the source's agent does once to a running migration. It
// is recorded before it is done.
type SteeringStep struct {
	// time is when the agent decided on it.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
	// reason says why in a word.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([A-Za-z]|[A-Za-z][A-Za-z0-9_,:]*[A-Za-z0-9_])$`
	Reason string `json:"reason,omitempty"`
	// message says why, with the numbers.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// error is why it failed: libvirt's message if it refused, or that it had no effect.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`
	// refused is whether libvirt certainly refused it, so that it has had no effect. Any
	// other error leaves that open.
	// +optional
	Refused bool `json:"refused,omitempty"`
}

// RequestReport is what the source's agent did about a request.
type RequestReport struct {
	// type is what is asked for.
	// +required
	Type RequestType `json:"type,omitempty"`
	// token distinguishes the request from others.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Token string `json:"token,omitempty"`
	// state is the state of the request.
	// +required
	State RequestState `json:"state,omitempty"`
	// message says what was done, or why nothing was.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// time is when the request reached this state.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
}

// RecoveryStatus is how an interrupted post-copy is resumed.
type RecoveryStatus struct {
	// brokenTime is when the interruption was first seen.
	// +required
	BrokenTime metav1.MicroTime `json:"brokenTime,omitzero"`
	// attempts is how often the agent has tried to resume it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempts int32 `json:"attempts,omitempty"`
	// lastAttemptTime is when it tried last.
	// +optional
	LastAttemptTime *metav1.MicroTime `json:"lastAttemptTime,omitempty"`
	// lastError is libvirt's message for the last attempt that failed.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastError string `json:"lastError,omitempty"`
	// withheldReason is why the agent does not resume it: what is known of the hosts'
	// versions says that this would do harm. Once they have changed, it is absent.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	WithheldReason string `json:"withheldReason,omitempty"`
	// resumedTime is when the copy was seen to continue.
	// +optional
	ResumedTime *metav1.MicroTime `json:"resumedTime,omitempty"`
}

// StallReason is why a migration cannot be brought to its end.
// +kubebuilder:validation:Enum=NoAnswer;AbortIneffective
type StallReason string

// The reasons of stalls.
const (
	// StallNoAnswer: libvirt does not answer about the guest or its migration.
	StallNoAnswer StallReason = "NoAnswer"
	// StallAbortIneffective: libvirt does not end the migration that it was asked to abort.
	StallAbortIneffective StallReason = "AbortIneffective"
)

// StallStatus is a migration that its agent cannot bring to its end.
type StallStatus struct {
	// time is since when: of the last answer, or of the first request to abort.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
	// reason is why.
	// +required
	Reason StallReason `json:"reason,omitempty"`
}
