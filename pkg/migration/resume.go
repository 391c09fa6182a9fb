package migration

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// seenLate reports whether the target was first read so long after the end on the source
// that the user has been told that the outcome is unknown. From then on, a pause there may be
// somebody's who runs another copy, or is about to. The times that are compared are of the two
// agents' clocks and, where the manager has seen both, of its own.
func seenLate(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) bool {
	late := func(end, look *metav1.MicroTime) bool {
		return end != nil && look != nil && look.Sub(end.Time) > ConfirmTimeout
	}
	a := lm.Status.Attempt
	return late(&source.End.Time, lm.Status.Target.ConfirmedTime) || late(a.EndSeenTime, a.ConfirmationSeenTime)
}

// resumable reports whether a guest stands paused for no reason but that somebody
// paused it: one whose disk fails must not be resumed.
func resumable(o *v1alpha1.DomainObservation) bool {
	if o.State != string(hypervisor.StatePaused) {
		return false
	}
	switch reason := hypervisor.Reason(o.Reason); reason { //nolint:exhaustive // All others have a reason of their own.
	case hypervisor.ReasonUser, hypervisor.ReasonUnknown, "":
		return true
	default:
		return false
	}
}
