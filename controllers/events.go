package controllers

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// maxNote is how long an event's note may be, in bytes.
const maxNote = 1000

// emit tells by events what has changed, after it was written.
func (r *LiveMigrationReconciler) emit(before, after *v1alpha1.LiveMigration) {
	for _, e := range migration.Events(&before.Status, &after.Status) {
		kind := corev1.EventTypeNormal
		if e.Warning {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(after, nil, kind, e.Reason, "Migrate", "%s", migration.Shorten(e.Message, maxNote))
	}
}
