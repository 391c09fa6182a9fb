package migration

import (
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
	var out []Event
	switched := false
	for _, n := range after.Notices {
		if hasNotice(before, n.Reason) {
			continue
		}
		switched = switched || n.Reason == v1alpha1.NoticePostCopyStarted
		warning := n.Reason == v1alpha1.NoticeHostPartsKept || n.Reason == v1alpha1.NoticeKnownFaults || n.Reason == v1alpha1.NoticeDowntimeExceeded
		out = append(out, Event{Warning: warning, Reason: string(n.Reason), Message: n.Message})
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
