package migration

import (
	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// What the sides of an attempt are, where that depends on what is known of both.

// sourceSideOf reduces the source's last sight of the guest. What looks like an
// incoming migration there is the guest itself, paused for its switch-over. Of a
// guest that has arrived whole on the target, whatever is left or has stopped on the
// source is but an old copy.
func sourceSideOf(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) Side {
	o := &source.End.Domain
	switch side := SideOf(o); {
	case leftByAnother(source, target, side):
		return SideLeaving
	case held(source, target):
		return SideHeld
	case side == SidePostcopy && InPostCopy(source) && Whole(target):
		return SideStale
	case side == SideStopped && arrivedWhole(source, target):
		return SideMigrated
	default:
		return side
	}
}

// leftByAnother reports whether a half, or a guest that stands paused for its switch-over, has
// been left by a migration that somebody else has started, to whatever host. Ours was not in
// post-copy when it ended, and the guest was not seen to run on the target; or ours was never
// seen on either side, and libvirt has refused it.
func leftByAnother(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus, side Side) bool {
	switch {
	case InPostCopy(source):
		return false
	case side == SidePostcopy:
		return target == nil || !hasArrived(target) && SideOf(target.Domain) != SidePostcopy
	case target != nil && (target.IncomingTime != nil || showsHalf(target)):
		return false
	default:
		return side == SideIncoming && source.JobStartedTime == nil && source.End.Call == v1alpha1.CallFailed
	}
}

// arrivedWhole reports whether all of the guest was seen on the target.
func arrivedWhole(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	if InPostCopy(source) {
		return Whole(target)
	}
	return hasArrived(target)
}

// targetSideOf reduces the target's last sight of the guest. Only what this migration has
// brought is the guest having arrived, unless the source knows better, even if somebody is
// already moving it on.
func targetSideOf(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) Side {
	if target == nil {
		return SideUnseen
	}
	side := SideOf(target.Domain)
	switch {
	case side == SideIncoming && hasArrived(target) && !startedAnew(target):
		// The whole guest, which was to be moved on: its switch-over is over, or never will be.
		return SideLeaving
	case side == SideIncoming && ShowsIncoming(target.Domain) && !showsHalf(target):
		return SideLeaving // Another whole guest, likewise.
	case side != SideLive && side != SideLeaving, !startedThere(source, target):
		return side
	case hasArrived(target) && !neverStoodStill(source):
		return SideRestarted
	default:
		return SideStarted
	}
}

// neverStoodStill reports whether the source shows a guest that has never been suspended:
// libvirt gives one that goes on after its switch-over another reason for running. It cannot
// have arrived anywhere.
func neverStoodStill(source *v1alpha1.SourceStatus) bool {
	if source == nil || source.End == nil || source.End.Domain.State != string(hypervisor.StateRunning) {
		return false
	}
	reason := hypervisor.Reason(source.End.Domain.Reason)
	return reason != hypervisor.ReasonMigrationCanceled && reason != hypervisor.ReasonUnpaused
}

// startedThere reports whether a guest on the target was not brought there, even if a half
// of it was there before. While the source holds the guest for its switch-over, one that
// libvirt has booted on the target was not: the source's copy has what was in its memory.
func startedThere(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	switch {
	case target.Domain.Reason == string(hypervisor.ReasonMigrated), hasLeft(source):
		return false
	case neverLeft(source), startedAnew(target), held(source, target) && target.Domain.Reason == string(hypervisor.ReasonBooted):
		return true
	default:
		return !hasArrived(target) && !Brought(target)
	}
}

// held reports whether the source has the guest still paused for a switch-over that is over.
func held(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	return source != nil && source.End != nil && SideOf(&source.End.Domain) == SideIncoming && source.End.Domain.Job == "" &&
		!leftByAnother(source, target, SideIncoming)
}
