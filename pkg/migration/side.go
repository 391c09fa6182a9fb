package migration

import (
	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Side is what one host's hypervisor says of a guest, reduced to what the
// outcome depends on.
type Side string

// What a side may be.
const (
	// SideUnseen: there is no report that is recent enough.
	SideUnseen Side = "Unseen"
	// SideGone: the hypervisor does not know the domain.
	SideGone Side = "Gone"
	// SideMigrated: the domain is shut off because it was migrated away.
	SideMigrated Side = "Migrated"
	// SideStopped: the domain is shut off for any other reason.
	SideStopped Side = "Stopped"
	// SideLive: the domain is a whole guest, running or paused, and is not
	// being migrated.
	SideLive Side = "Live"
	// SideLeaving: the domain is being migrated away.
	SideLeaving Side = "Leaving"
	// SideIncoming: the domain is the paused shell of an incoming migration, or one
	// that is being made for it.
	SideIncoming Side = "Incoming"
	// SideHeld: on the source, the domain is a whole guest that libvirt has
	// paused for a switch-over which is over.
	SideHeld Side = "Held"
	// SideStarted: on the target, the domain is a whole guest that the migration has not
	// brought: somebody has started it there from a definition, and may be moving it on.
	SideStarted Side = "Started"
	// SideRestarted: on the target, the domain is a whole guest that somebody has started
	// there after the migration had brought it and it had gone on there.
	SideRestarted Side = "Restarted"
	// SideStale: on the source, the domain is the half that post-copy left there of a
	// guest that has arrived whole on the target.
	SideStale Side = "Stale"
	// SidePostcopy: the domain is one half of a post-copy migration; neither
	// half is a whole guest.
	SidePostcopy Side = "Postcopy"
)

// SideOf reduces an observation; nil is SideUnseen.
func SideOf(o *v1alpha1.DomainObservation) Side {
	if o == nil {
		return SideUnseen
	}
	if o.State == v1alpha1.StateAbsent {
		return SideGone
	}
	reason := hypervisor.Reason(o.Reason)
	if reason == hypervisor.ReasonPostcopy || reason == hypervisor.ReasonPostcopyFailed {
		return SidePostcopy
	}
	if o.Job == string(hypervisor.OperationMigrationOut) {
		return SideLeaving
	}
	switch state := hypervisor.State(o.State); {
	case state == hypervisor.StatePaused && (reason == hypervisor.ReasonMigration || reason == hypervisor.ReasonStartingUp ||
		o.Job == string(hypervisor.OperationMigrationIn)):
		return SideIncoming
	case hypervisor.Domain{State: state, Reason: reason}.Active():
		return SideLive
	case reason == hypervisor.ReasonMigrated:
		return SideMigrated
	default:
		return SideStopped
	}
}

// Observe turns what a hypervisor says of a domain into an observation; a nil
// domain is one that the hypervisor does not know.
func Observe(d *hypervisor.Domain, job hypervisor.JobStats) v1alpha1.DomainObservation {
	if d == nil {
		return v1alpha1.DomainObservation{State: v1alpha1.StateAbsent}
	}
	o := v1alpha1.DomainObservation{State: string(d.State), Reason: string(d.Reason), ID: d.ID, Defined: d.Persistent}
	if job.Active() {
		o.Job = string(job.Operation)
	}
	return o
}
