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
