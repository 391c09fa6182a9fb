package migration

import (
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
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

// LooksOnly reports whether the attempt moves nothing: the guest seems to be on the
// target already, whose agent is to say whether it is.
func LooksOnly(lm *v1alpha1.LiveMigration) bool {
	return lm.Status.Attempt != nil && lm.Status.SourceNode == ""
}

// DryRun reports whether the migration is only to be checked.
func DryRun(lm *v1alpha1.LiveMigration) bool { return lm.Spec.DryRun != nil && *lm.Spec.DryRun }

// Refused reports whether one of the agents has refused the guest before the start. What the
// attempt has made until then is still there.
func Refused(lm *v1alpha1.LiveMigration) bool {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	return !Started(lm) && (source != nil && source.Problem != nil || target != nil && target.Problem != nil)
}

// ChecksOnly reports whether the attempt goes on, if it does, only to find out what is in the
// guest's way: then nothing more is taken, made or promised for it.
func ChecksOnly(lm *v1alpha1.LiveMigration) bool { return DryRun(lm) || Refused(lm) }

// MovesNothing reports whether the attempt moves no guest, whatever comes of it.
func MovesNothing(lm *v1alpha1.LiveMigration) bool { return LooksOnly(lm) || DryRun(lm) }

// CancelRequested reports whether the migration is to be cancelled: by a request
// that stands, or by the deletion of its object.
func CancelRequested(lm *v1alpha1.LiveMigration) bool {
	return !lm.DeletionTimestamp.IsZero() || cancelled(lm.Status.Requests)
}

// InPostCopy reports whether the guest has been switched to post-copy: then the
// migration cannot be undone.
func InPostCopy(source *v1alpha1.SourceStatus) bool {
	return source != nil && source.Steering != nil && source.Steering.PostCopyTime != nil
}

// Whole reports whether all of a guest has arrived on the target in post-copy. It
// stays true whatever becomes of the guest there.
func Whole(target *v1alpha1.TargetStatus) bool { return target != nil && target.WholeTime != nil }

// ShowsWhole reports whether a target that has been read after the switch to post-copy
// shows that all of the guest has arrived. libvirt gives this reason when QEMU says that
// the migration is complete, and ends its job then; somebody who suspends and resumes
// the guest before takes the reason away. Whatever job there is besides came after it.
func ShowsWhole(d *v1alpha1.DomainObservation) bool {
	return d.State == string(hypervisor.StateRunning) && d.Reason == string(hypervisor.ReasonMigrated) &&
		d.Job != string(hypervisor.OperationMigrationIn)
}

// PausedByUs reports whether the source's agent paused a guest that ran before,
// which then has to be resumed wherever it ends up. A pause that libvirt refused was
// none: if the guest stands still all the same, somebody else has seen to that.
func PausedByUs(source *v1alpha1.SourceStatus) bool {
	return source != nil && !source.GuestPaused && source.Steering != nil && source.Steering.Pause != nil && !source.Steering.Pause.Refused
}

// Interrupted reports whether post-copy was interrupted and has not gone on
// since.
func Interrupted(source *v1alpha1.SourceStatus) bool {
	return source != nil && source.End == nil && source.Recovery != nil && source.Recovery.ResumedTime == nil
}

// Supersedes reports whether a section of the current attempt says of the start or the
// end what another one of the same attempt lacks, or has later news of the guest after
// it. None of that is ever taken back: another process of the source's agent has gone
// further.
func Supersedes(recorded, known *v1alpha1.SourceStatus) bool {
	if recorded == nil || known == nil || recorded.AttemptID != known.AttemptID {
		return false
	}
	return recorded.StartRequestedTime != nil && known.StartRequestedTime == nil ||
		recorded.End != nil && (known.End == nil || recorded.End.Observation > known.End.Observation)
}

// ResumeWithheld reports whether post-copy is interrupted and must not be resumed.
func ResumeWithheld(source *v1alpha1.SourceStatus) bool {
	return Interrupted(source) && source.Recovery.WithheldReason != ""
}

// SourceChanged reports whether the source's agent has something to say that is
// more than progress.
func SourceChanged(before, after *v1alpha1.SourceStatus) bool {
	b, a := before.DeepCopy(), after.DeepCopy()
	for _, s := range []*v1alpha1.SourceStatus{b, a} {
		if s.Steering == nil {
			s.Steering = &v1alpha1.SteeringStatus{}
		}
		s.Steering.LastProgressTime, s.Steering.LowestRemainingBytes, s.Steering.MaxDowntimeMilliseconds = nil, 0, 0
	}
	return !equality.Semantic.DeepEqual(b, a)
}

// AttemptID names a migration's present attempt; it is empty while there is none.
func AttemptID(lm *v1alpha1.LiveMigration) string {
	if lm.Status.Attempt == nil {
		return ""
	}
	return lm.Status.Attempt.ID
}
