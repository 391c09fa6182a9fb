package migration

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// MissingTimeout is how long a node must have had no Hypervisor before it counts as gone
// for good. An agent that lives puts one back within seconds, so the deletion is a
// person's word.
const MissingTimeout = 60 * time.Second

// noteMissing remembers since when the nodes of a migration that may have been started
// have no Hypervisor.
func noteMissing(lm *v1alpha1.LiveMigration, nodes *Inventory, now time.Time) {
	if !Started(lm) || Finished(lm) {
		return
	}
	a := lm.Status.Attempt
	note := func(name string, since **metav1.MicroTime) {
		switch _, known := nodes.Node(name); {
		case known:
			*since = nil
		case *since == nil:
			*since = new(metav1.NewMicroTime(now))
		}
	}
	note(lm.Status.SourceNode, &a.SourceMissingTime)
	note(lm.Status.TargetNode, &a.TargetMissingTime)
}

// missing is what the manager knows of nodes without a Hypervisor.
type missing struct {
	source, target bool
	// recheck is when that changes by the passage of time alone; zero for never.
	recheck time.Time
}

// missingNodes says which nodes are gone. What the target showed when the source's node was
// gone is known only where the target is read all the time, or is gone itself.
func missingNodes(a *v1alpha1.AttemptStatus, targetRead bool, now time.Time) missing {
	var m missing
	gone := func(since *metav1.MicroTime) bool {
		if since == nil {
			return false
		}
		due := since.Add(MissingTimeout)
		if now.Before(due) && (m.recheck.IsZero() || due.Before(m.recheck)) {
			m.recheck = due
		}
		return !now.Before(due)
	}
	m.target = gone(a.TargetMissingTime)
	m.source = gone(a.SourceMissingTime) && (m.target || targetRead)
	return m
}

// presume returns the migration as it is where the nodes that are gone have no guest any
// more. Nobody is there to clean up, nor to be waited for.
func (m missing) presume(lm *v1alpha1.LiveMigration, now time.Time) *v1alpha1.LiveMigration {
	if !m.source && !m.target {
		return lm
	}
	lm = lm.DeepCopy()
	source, target, past := CurrentSource(lm), CurrentTarget(lm), metav1.NewMicroTime(now.Add(-ConfirmTimeout))
	absent := v1alpha1.DomainObservation{State: v1alpha1.StateAbsent}
	if m.source {
		if source.End == nil {
			source.End = &v1alpha1.SourceEnd{Call: v1alpha1.CallUnknown, Time: past}
		}
		source.End.Domain = absent
	}
	if m.target && target != nil {
		target.Domain = &absent
	}
	if source.End != nil && target != nil {
		target.ConfirmedTime, target.AnswersSource = &past, max(target.AnswersSource, source.End.Observation)
		a := lm.Status.Attempt
		a.EndSeenTime, a.ConfirmationSeenTime, a.CleanUpTime = &past, &past, &past
	}
	return lm
}

// says adds to a message why nobody is asked any more.
func (m missing) says(lm *v1alpha1.LiveMigration) string {
	const format = ". %s no longer has a Hypervisor, so it counts as gone, with everything that ran there"
	var out string
	if m.source {
		out = fmt.Sprintf(format, lm.Status.SourceNode)
	}
	if m.target {
		out += fmt.Sprintf(format, lm.Status.TargetNode)
	}
	return out
}
