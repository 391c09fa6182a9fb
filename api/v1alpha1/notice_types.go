package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Notice is something that is worth knowing about a migration, whatever becomes of it.
type Notice struct {
	// reason says what it is in a word; the event has the same.
	// +required
	Reason NoticeReason `json:"reason,omitempty"`
	// message says it in full.
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
// +kubebuilder:validation:Enum=HostPartsKept;CompletionForced;PausedForCompletion;PostCopyStarted;PostCopyCompleted;DowntimeExceeded
type NoticeReason string

// The reasons of notices.
const (
	// NoticeHostPartsKept: parts of the guest's definition depend on its host, and were
	// kept as they are.
	NoticeHostPartsKept NoticeReason = "HostPartsKept"
	// NoticeCompletionForced: the migration is completed by post-copy or a pause. The
	// message says which request, timeout or strategy asked for it.
	NoticeCompletionForced NoticeReason = "CompletionForced"
	// NoticePausedForCompletion: the guest was paused on its source until all of it had
	// been copied.
	NoticePausedForCompletion NoticeReason = "PausedForCompletion"
	// NoticePostCopyStarted: the guest went on to the target before its memory.
	NoticePostCopyStarted NoticeReason = "PostCopyStarted"
	// NoticePostCopyCompleted: all of the guest's memory has followed it.
	NoticePostCopyCompleted NoticeReason = "PostCopyCompleted"
	// NoticeDowntimeExceeded: the guest stood still for longer than
	// options.maxDowntimeMilliseconds allows.
	NoticeDowntimeExceeded NoticeReason = "DowntimeExceeded"
)
