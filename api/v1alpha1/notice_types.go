package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Notice is something worth knowing about a migration, whatever its outcome.
type Notice struct {
	// reason says in a word what the notice is about; the event has the same reason.
	// +required
	Reason NoticeReason `json:"reason,omitempty"`
	// message says what happened.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// time is when the manager learned of it.
	// +required
	Time metav1.MicroTime `json:"time,omitzero"`
}

// NoticeReason says what a notice is about.
//
// +kubebuilder:validation:Enum=HostPartsKept;KnownFaults;CompletionForced;PausedForCompletion;SwitchedOver;PostCopyStarted;PostCopyCompleted;DowntimeExceeded;GuestClockNotSet;GuestFrozen;GuestNotFrozen;GuestNotThawed;MediaEjected
type NoticeReason string

// The reasons of notices.
const (
	// NoticeHostPartsKept: parts of the guest's definition depend on its host, and were
	// kept as they are.
	NoticeHostPartsKept NoticeReason = "HostPartsKept"
	// NoticeKnownFaults: the versions of libvirt and QEMU on the two hosts have faults that
	// the migration may meet.
	NoticeKnownFaults NoticeReason = "KnownFaults"
	// NoticeCompletionForced: the migration is completed by post-copy or a pause. The
	// message says which request, timeout or strategy asked for it.
	NoticeCompletionForced NoticeReason = "CompletionForced"
	// NoticePausedForCompletion: the guest was paused on its source until all of it had
	// been copied.
	NoticePausedForCompletion NoticeReason = "PausedForCompletion"
	// NoticeSwitchedOver: the guest is on the target, where the network has to find it from now
	// on, be it with all of its memory or in post-copy. The message names the target and the
	// MAC addresses. It is written as soon as the target has reported the guest.
	NoticeSwitchedOver NoticeReason = "SwitchedOver"
	// NoticePostCopyStarted: the guest was switched to the target before all of its
	// memory had arrived.
	NoticePostCopyStarted NoticeReason = "PostCopyStarted"
	// NoticePostCopyCompleted: all of the guest's memory has arrived.
	NoticePostCopyCompleted NoticeReason = "PostCopyCompleted"
	// NoticeDowntimeExceeded: the guest was paused at its switch-over for longer than
	// options.maxDowntimeMilliseconds allows.
	NoticeDowntimeExceeded NoticeReason = "DowntimeExceeded"
	// NoticeGuestClockNotSet: the guest's agent has not set its clock, which options.guestAgent
	// asks for.
	NoticeGuestClockNotSet NoticeReason = "GuestClockNotSet"
	// NoticeGuestFrozen: the guest's file systems were frozen for the switch-over, and thawed on the
	// target, as options.guestAgent asks for. The message says for how long.
	NoticeGuestFrozen NoticeReason = "GuestFrozen"
	// NoticeGuestNotFrozen: they were not, or not until the switch-over.
	NoticeGuestNotFrozen NoticeReason = "GuestNotFrozen"
	// NoticeGuestNotThawed: the guest's file systems may still be frozen. The message says where
	// they are to be thawed.
	NoticeGuestNotThawed NoticeReason = "GuestNotThawed"
	// NoticeMediaEjected: media that the target does not have are not in the guest's drives
	// there, as options.ejectMissingMedia asks for.
	NoticeMediaEjected NoticeReason = "MediaEjected"
)
