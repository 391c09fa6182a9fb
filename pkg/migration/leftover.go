package migration

import (
	"fmt"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// What a migration may leave behind, and what of it is nobody's guest.

// mayRemoveIncoming: at the moment of a switch-over the guest on the target looks
// like a shell. A guest on the source that the migration itself has paused is no
// proof that there was none.
func mayRemoveIncoming(source *v1alpha1.SourceStatus) bool {
	return source.End.Domain.State != string(hypervisor.StatePaused) || source.GuestPaused
}

// mayDestroySource: the guest must be seen to run on the target, but for one that
// its user had paused. Where it went on in post-copy, all of it must be there.
func mayDestroySource(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	if sourceSideOf(source, target) == SideStale {
		return true
	}
	return target.Domain.State == string(hypervisor.StateRunning) || source.GuestPaused
}

// pauseMayCome reports whether the guest was to be paused, and nobody knows what became of
// that: it runs, but libvirt may carry out a call that was abandoned.
func pauseMayCome(source *v1alpha1.SourceStatus) bool {
	return PausedByUs(source) && source.Steering.Pause.Error != "" && source.Steering.PausedTime == nil &&
		source.End.Domain.State == string(hypervisor.StateRunning)
}

// copyPaused says why the source's copy stands paused, and what to do. What the target's
// libvirt shows as migrated has gone on to another host, so that it is not the only copy.
func copyPaused(lm *v1alpha1.LiveMigration) string {
	because := fmt.Sprintf(". It was paused there because it ran on %s as well. ", lm.Status.TargetNode)
	if SideOf(CurrentTarget(lm).Domain) == SideMigrated {
		return because + fmt.Sprintf("That copy has been migrated to another host since: %s, unless it is certain that the guest runs nowhere else",
			ask(lm.Status.SourceNode, "destroy the paused one with `virsh destroy`"))
	}
	return because + "Now that it is the only copy, " + ask(lm.Status.SourceNode, "resume it with `virsh resume`")
}

// movedOn is said of two running copies of which somebody has migrated the target's to
// another host, where this migration does not reach.
const movedOn = "the guest ran on both hosts, and somebody has migrated the target's copy to another host since, where it may run still; ask an " +
	"administrator to look at the guest's console on both, and to destroy the copy that is not to be kept"

// ranOnBoth reports whether the guest was seen to have arrived on the target, where it is no
// more, while the source's copy, which had been suspended for that, goes on.
func ranOnBoth(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	if !hasArrived(target) || neverStoodStill(source) || source.End.Domain.State != string(hypervisor.StateRunning) {
		return false
	}
	side := SideOf(target.Domain)
	return SideOf(&source.End.Domain) == SideLive && (side == SideGone || side == SideStopped || side == SideMigrated)
}
