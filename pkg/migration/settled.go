package migration

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Settled reports whether there is nothing left for the manager to do about a migration:
// it has ended, nothing holds its object, and its status says so of the latest spec and
// of all requests.
func Settled(lm *v1alpha1.LiveMigration) bool {
	st := &lm.Status
	if !Finished(lm) || st.ObservedGeneration != lm.Generation {
		return false
	}
	if slices.Contains(lm.Finalizers, v1alpha1.FinalizerGuestSafe) || saysItGoesOn(st) {
		return false
	}
	for i := range st.Conditions {
		if st.Conditions[i].ObservedGeneration != lm.Generation {
			return false
		}
	}
	for _, a := range requestAnnotations {
		if value, asked := lm.Annotations[a.annotation]; asked && !recorded(st.Requests, a.request, value) {
			return false
		}
	}
	return st.DowntimeMilliseconds != nil || !downtimeKnown(lm)
}

// saysItGoesOn reports whether the status of a migration that has ended has something left
// of the time before: somebody else has applied it as well.
func saysItGoesOn(st *v1alpha1.LiveMigrationStatus) bool {
	succeeded := meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ConditionSucceeded)
	return meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionReconciling) != nil ||
		succeeded && meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionStalled) != nil ||
		st.Queue != nil && (st.Queue.WaitingFor != "" || st.Queue.Position != 0)
}

// goesOnNoMore takes out of a status what does not hold once the migration has ended.
func goesOnNoMore(st *v1alpha1.LiveMigrationStatus, succeeded bool) {
	meta.RemoveStatusCondition(&st.Conditions, v1alpha1.ConditionReconciling)
	if succeeded {
		meta.RemoveStatusCondition(&st.Conditions, v1alpha1.ConditionStalled)
	}
	if st.Queue != nil {
		st.Queue.WaitingFor, st.Queue.Position = "", 0
	}
}

func recorded(requests []v1alpha1.RequestStatus, request v1alpha1.RequestType, value string) bool {
	token := newRequest(request, value, time.Time{}).Token
	for i := range requests {
		if r := &requests[i]; r.Type == request && r.Token == token {
			return settled(r.State)
		}
	}
	return false
}

// downtimeKnown reports whether an agent has told how long the guest stood still.
func downtimeKnown(lm *v1alpha1.LiveMigration) bool {
	if p := lm.Status.Progress; p != nil && p.DowntimeMilliseconds != nil {
		return true
	}
	t := CurrentTarget(lm)
	return t != nil && t.DowntimeMilliseconds != nil
}
