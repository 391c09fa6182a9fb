package controllers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// emitTransition emits an event for a change of the reason of the Succeeded
// condition. Events carry no progress: they are one for each step.
func (r *LiveMigrationReconciler) emitTransition(before, after *v1alpha1.LiveMigration) {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionSucceeded)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionSucceeded)
	if is == nil || was != nil && was.Reason == is.Reason {
		return
	}
	if is.Reason == v1alpha1.ReasonWaitingForSlot {
		return // Thousands may come to wait at once, and nothing has been done yet.
	}
	kind := corev1.EventTypeNormal
	if meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionStalled) || is.Reason == v1alpha1.ReasonArrivedNotRunning {
		kind = corev1.EventTypeWarning
	}
	const most = 1000 // The API takes notes of up to 1 kB.
	note := migration.Shorten(is.Message, most)
	r.Events.Eventf(after, nil, kind, is.Reason, "Migrate", "%s", note)
}
