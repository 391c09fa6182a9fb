package migration

import (
	"cmp"
	"fmt"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// What becomes of a guest that may still be frozen when its migration ends. A guest whose file systems stay frozen
// is out of service, so its node's agent goes on, whoever dies.

// sourceAtEnd is the guest as the source has seen it last; nil before the end.
func sourceAtEnd(source *v1alpha1.SourceStatus) *v1alpha1.DomainObservation {
	if source == nil || source.End == nil {
		return nil
	}
	return &source.End.Domain
}

// ThawLeftOnSource reports whether the guest of a migration that has ended has stayed on its source, and may be frozen
// there, for all that is recorded in the agent's own section. It may stand paused.
func ThawLeftOnSource(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) bool {
	stays := SideOf(sourceAtEnd(section)) == SideLive
	return Finished(lm) && stays && (maybeFrozen(section) || maybeFrozenSince(section) && thawedEarly(section))
}

// ThawLeftOnTarget reports whether the guest of a migration that has ended has arrived on its target, and may be frozen
// there, for all that is recorded in the agent's own section. It may stand paused.
func ThawLeftOnTarget(lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) bool {
	return Finished(lm) && arrivedFrozen(lm, section)
}

// arrivedFrozen reports whether the guest is on the target, and may have arrived there frozen without having been
// thawed.
func arrivedFrozen(lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) bool {
	source := CurrentSource(lm)
	if section == nil || source == nil || section.ArrivedTime == nil || SideOf(section.Domain) != SideLive {
		return false
	}
	thawed := section.GuestThaw != nil && section.GuestThaw.State == v1alpha1.GuestThawDone
	return !thawed && mayArriveFrozen(lm, source)
}

// StillThere reports whether a domain is the guest that was observed at the end, in the same run: one that was
// started again since, or has come back, was not frozen by us.
func StillThere(atEnd *v1alpha1.DomainObservation, domain *hypervisor.Domain) bool {
	return atEnd != nil && domain != nil && domain.Active() && atEnd.ID != 0 && atEnd.ID == domain.ID
}

// leftFrozenOn says on which node a guest may still be frozen whose migration has just ended, and what is known of
// that; empty if it is nowhere.
func (s *summarizer) leftFrozenOn() (node, why string) {
	const untold = "the node's agent has not told in time whether they were thawed"
	const paused = "it stands paused, so that it cannot be asked to thaw them"
	source, target, st := CurrentSource(s.lm), CurrentTarget(s.lm), &s.lm.Status
	switch s.out.Status.Phase { //nolint:exhaustive // All others have not ended.
	case v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled:
		end := sourceAtEnd(source)
		switch {
		case SideOf(end) != SideLive || !maybeFrozen(source):
		case end.State != string(hypervisor.StateRunning):
			return st.SourceNode, cmp.Or(source.GuestFreeze.ThawError, paused)
		default:
			return st.SourceNode, cmp.Or(source.GuestFreeze.ThawError, untold)
		}
	case v1alpha1.PhaseSucceeded:
		switch {
		case !arrivedFrozen(s.lm, target):
		case target.GuestThaw != nil:
			return st.TargetNode, target.GuestThaw.Message
		case !runsHere(target.Domain):
			return st.TargetNode, paused
		default:
			return st.TargetNode, untold
		}
	}
	return "", ""
}

// guestNotThawed says where a guest may still be frozen, and what to do.
func (s *summarizer) guestNotThawed() string {
	node, why := s.leftFrozenOn()
	if target := CurrentTarget(s.lm); node == "" && ThawDueOnTarget(s.lm, target) && target.GuestThaw != nil {
		node, why = s.lm.Status.TargetNode, target.GuestThaw.Message // In post-copy, which may take long.
	}
	if node == "" {
		return ""
	}
	return fmt.Sprintf("The guest's file systems may still be frozen on %s: %s. The agent of that node goes on trying. If programs in the guest hang, %s",
		node, why, ask(node, fmt.Sprintf("run `virsh domfsthaw %s`", s.lm.Status.DomainName)))
}
