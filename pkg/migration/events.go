package migration

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Event is something to tell once.
type Event struct {
	// Warning is whether a person should look.
	Warning bool
	// Reason is one of the Succeeded condition, or of a notice.
	Reason  string
	Message string
}

// Events returns what is to be told once the manager has changed a status from before to
// after: each new notice, and each new reason of the Succeeded condition. Progress is
// never told.
func Events(before, after *v1alpha1.LiveMigrationStatus) []Event {
	warnings := []v1alpha1.NoticeReason{
		v1alpha1.NoticeHostPartsKept, v1alpha1.NoticeKnownFaults, v1alpha1.NoticeDowntimeExceeded, v1alpha1.NoticeGuestClockNotSet,
		v1alpha1.NoticeGuestNotFrozen, v1alpha1.NoticeGuestNotThawed,
	}
	var out []Event
	switched := false
	for _, n := range after.Notices {
		if hasNotice(before, n.Reason) {
			continue
		}
		switched = switched || n.Reason == v1alpha1.NoticePostCopyStarted
		out = append(out, Event{Warning: slices.Contains(warnings, n.Reason), Reason: string(n.Reason), Message: n.Message})
	}
	was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionSucceeded)
	is := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionSucceeded)
	switch {
	case is == nil || was != nil && was.Reason == is.Reason:
	case switched && is.Reason == v1alpha1.ReasonPostCopy: // The notice tells that.
	case is.Reason == v1alpha1.ReasonWaitingForSlot: // Thousands may come to wait at once, and nothing has been done yet.
	default:
		out = append(out, Event{Warning: alarming(after, is.Reason), Reason: is.Reason, Message: is.Message})
	}
	return out
}

// alarming reports whether a step calls for a person. A migration that was cancelled has
// done what somebody asked for.
func alarming(st *v1alpha1.LiveMigrationStatus, reason string) bool {
	switch reason {
	case v1alpha1.ReasonCancelled:
		return false
	case v1alpha1.ReasonArrivedNotRunning, v1alpha1.ReasonRecovering:
		return true
	default:
		return meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ConditionStalled)
	}
}
