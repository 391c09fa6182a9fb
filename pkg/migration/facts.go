package migration

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// CurrentSource returns the source agent's section of the current attempt, or
// nil where there is none.
func CurrentSource(lm *v1alpha1.LiveMigration) *v1alpha1.SourceStatus {
	if s := lm.Status.Source; s != nil && lm.Status.Attempt != nil && s.AttemptID == lm.Status.Attempt.ID {
		return s
	}
	return nil
}

// CurrentTarget returns the target agent's section of the current attempt, or
// nil where there is none.
func CurrentTarget(lm *v1alpha1.LiveMigration) *v1alpha1.TargetStatus {
	if t := lm.Status.Target; t != nil && lm.Status.Attempt != nil && t.AttemptID == lm.Status.Attempt.ID {
		return t
	}
	return nil
}

// Finished reports whether the migration has its final outcome. One whose
// outcome is unknown has not.
func Finished(lm *v1alpha1.LiveMigration) bool {
	c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	return c != nil && c.Status != metav1.ConditionUnknown
}

// Started reports whether the source's agent may have started the migration.
func Started(lm *v1alpha1.LiveMigration) bool {
	s := CurrentSource(lm)
	return s != nil && s.StartRequestedTime != nil
}

// CancelRequested reports whether the migration is to be cancelled.
func CancelRequested(lm *v1alpha1.LiveMigration) bool {
	return !lm.DeletionTimestamp.IsZero()
}
