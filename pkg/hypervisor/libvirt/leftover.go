package libvirt

import "github.com/virtferry/virtferry/pkg/hypervisor"

// fate is what is done to a domain that is to be destroyed as a leftover.
type fate string

const (
	// fateDestroyed: it is one.
	fateDestroyed fate = "destroyed"
	// fateGone: it is not active any more, so there is nothing to do.
	fateGone fate = "gone"
	// fateSpared: it is not one, or nobody can tell.
	fateSpared fate = "spared"
)

// fateOfIncoming decides about a domain that a migration to here may have left behind: it
// must stand paused for an incoming migration, with no job but that.
func fateOfIncoming(state hypervisor.State, reason hypervisor.Reason, job hypervisor.JobStats) fate {
	waits := reason == hypervisor.ReasonMigration
	return fateOf(state, waits && (!job.Active() || job.Operation == hypervisor.OperationMigrationIn))
}

// fateOfStale decides about a domain that a migration from here may have left behind: it
// must stand paused for a switch-over with no job, or in post-copy with no job but the
// migration's own.
func fateOfStale(state hypervisor.State, reason hypervisor.Reason, job hypervisor.JobStats) fate {
	switch reason { //nolint:exhaustive // No other is for a migration.
	case hypervisor.ReasonMigration:
		return fateOf(state, !job.Active())
	case hypervisor.ReasonPostcopy, hypervisor.ReasonPostcopyFailed:
		return fateOf(state, !job.Active() || job.MigratingOut())
	default:
		return fateOf(state, false)
	}
}

func fateOf(state hypervisor.State, leftover bool) fate {
	switch {
	case state == hypervisor.StateShutoff:
		return fateGone
	case state == hypervisor.StatePaused && leftover:
		return fateDestroyed
	default:
		return fateSpared
	}
}
