package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GuestAgentOptions are what a guest's agent is asked for.
type GuestAgentOptions struct {
	// setTime has the guest's clock set by that of the target's host when the guest runs there:
	// it has stood still during the switch-over. Of a guest that is paused it is not set.
	// +optional
	SetTime *bool `json:"setTime,omitempty"`
	// freezeSeconds has the guest's file systems frozen right before the switch-over, for which the
	// agent runs the guest's own hooks, and thawed as soon as the guest runs on the target, or when
	// it stays on the source. It is for how long they stay frozen at most on the source, from when the
	// agent is asked: if the guest has not switched over by then, they are thawed, and the migration goes
	// on without. Whoever writes to them in the guest waits meanwhile. A migration needs no
	// freeze for its own sake. Absent means that nothing is frozen.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=60
	FreezeSeconds *int32 `json:"freezeSeconds,omitempty"`
}

// GuestFreeze is what came of freezing a guest's file systems on the source.
type GuestFreeze struct {
	// state is how far it has come. Freezing is recorded before the guest's agent is asked: unless
	// something else follows, they may be frozen.
	// +required
	State GuestFreezeState `json:"state,omitempty"`
	// time is when the source's agent was about to ask for it.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
	// frozenTime is when the guest's agent had said that they are frozen.
	// +optional
	FrozenTime *metav1.MicroTime `json:"frozenTime,omitempty"`
	// thawedTime is when they were thawed on this side.
	// +optional
	ThawedTime *metav1.MicroTime `json:"thawedTime,omitempty"`
	// message is why they were not frozen, or not until the switch-over.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// thawError is why they could not be thawed when that was last tried on this side.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	ThawError string `json:"thawError,omitempty"`
}

// GuestFreezeState says how far freezing a guest's file systems has come.
//
// +kubebuilder:validation:Enum=Freezing;Frozen;NotFrozen;Thawed
type GuestFreezeState string

// What may come of a freeze.
const (
	// GuestFreezing: the guest's agent is being asked, or what it did is not known.
	GuestFreezing GuestFreezeState = "Freezing"
	// GuestFrozen: they are frozen.
	GuestFrozen GuestFreezeState = "Frozen"
	// GuestNotFrozen: they certainly are not.
	GuestNotFrozen GuestFreezeState = "NotFrozen"
	// GuestThawed: they were thawed on the source.
	GuestThawed GuestFreezeState = "Thawed"
)

// GuestThaw is what came of thawing a guest's file systems on the target.
type GuestThaw struct {
	// state says whether they were thawed.
	// +required
	State GuestThawState `json:"state,omitempty"`
	// time is when they were, or when the first tries had failed.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
	// message is why they were not.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// GuestThawState says whether a guest's file systems were thawed.
//
// +kubebuilder:validation:Enum=Thawed;Failed
type GuestThawState string

// What may come of a thaw.
const (
	// GuestThawDone: they are thawed.
	GuestThawDone GuestThawState = "Thawed"
	// GuestThawFailed: they are not, as far as is known; the agent goes on trying.
	GuestThawFailed GuestThawState = "Failed"
)

// GuestClock is what came of setting a guest's clock.
type GuestClock struct {
	// state says whether it was set.
	// +required
	State GuestClockState `json:"state,omitempty"`
	// time is when it was, or when that was given up.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
	// message is why it was not.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// GuestClockState says whether a guest's clock was set.
//
// +kubebuilder:validation:Enum=Set;Failed
type GuestClockState string

// What may come of setting a clock.
const (
	// GuestClockSet: it was set.
	GuestClockSet GuestClockState = "Set"
	// GuestClockFailed: it was not, or it is not known.
	GuestClockFailed GuestClockState = "Failed"
)
