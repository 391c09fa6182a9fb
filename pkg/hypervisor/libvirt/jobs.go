package libvirt

import (
	"context"
	"errors"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	opJobStats  = "reading the job's statistics"
	opCompleted = "reading the last job's statistics"
	opAbort     = "aborting the job"
	// statsAttempts and statsPause bound how often statistics are asked for
	// again where the hypervisor has none yet, at the edges of a migration.
	statsAttempts = 3
	statsPause    = 20 * time.Millisecond
)

// JobStats implements hypervisor.Migrator. On the destination of a migration,
// where libvirt refuses to give numbers, only Type and Operation are set.
func (c *Client) JobStats(ctx context.Context, uuid string) (hypervisor.JobStats, error) {
	for attempt := 1; ; attempt++ {
		stats, err := onDomain(ctx, c, opJobStats, uuid, jobStats)
		if !isTransient(err) || attempt == statsAttempts {
			return stats, err
		}
		select {
		case <-time.After(statsPause):
		case <-ctx.Done():
			return stats, convert(opJobStats, context.Cause(ctx))
		}
	}
}

// isTransient reports whether an error of jobStats goes away by itself. QEMU
// reports a migration without numbers for a moment, which libvirt makes an
// internal error; this call knows no other that is.
func isTransient(err error) bool {
	var e *hypervisor.Error
	return errors.As(err, &e) && e.Kind == hypervisor.KindOther && e.Code == int(lv.ERR_INTERNAL_ERROR)
}

func jobStats(domain *lv.Domain) (hypervisor.JobStats, error) {
	info, err := domain.GetJobStats(0)
	switch {
	case err == nil:
		stats, err := decodeJobStats(info)
		if err != nil || !stats.Active() {
			return stats, err
		}
		return withPhase(domain, stats)
	case errors.Is(err, lv.ERR_OPERATION_UNSUPPORTED):
		// libvirt's answer for the incoming half of a migration, and for
		// nothing else that this call meets.
		return withPhase(domain, hypervisor.JobStats{
			Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationIn,
		})
	case errors.Is(err, lv.ERR_OPERATION_INVALID):
		// A domain that is shut off has no job.
		if active, activeErr := domain.IsActive(); activeErr != nil {
			return hypervisor.JobStats{}, activeErr
		} else if !active {
			return hypervisor.JobStats{Type: hypervisor.JobNone, Operation: hypervisor.OperationUnknown}, nil
		}
	}
	return hypervisor.JobStats{}, err
}

// withPhase adds what only the domain's state tells of a job that runs. What
// QEMU calls the expected downtime means nothing in post-copy.
func withPhase(domain *lv.Domain, stats hypervisor.JobStats) (hypervisor.JobStats, error) {
	number, because, err := domain.GetState()
	if err != nil {
		return hypervisor.JobStats{}, err
	}
	var now hypervisor.Domain
	now.State, now.Reason = stateOf(number, because)
	stats.PostCopy = now.InPostCopy()
	stats.PostCopyFailed = stats.PostCopy && now.Reason == hypervisor.ReasonPostcopyFailed
	if stats.PostCopy {
		stats.Downtime, stats.DowntimeKnown = 0, false
	}
	return stats, nil
}

// CompletedJobStats implements hypervisor.Migrator.
func (c *Client) CompletedJobStats(ctx context.Context, uuid string) (hypervisor.JobStats, error) {
	const flags = lv.DOMAIN_JOB_STATS_COMPLETED | lv.DOMAIN_JOB_STATS_KEEP_COMPLETED
	return onDomain(ctx, c, opCompleted, uuid, func(domain *lv.Domain) (hypervisor.JobStats, error) {
		info, err := domain.GetJobStats(flags)
		if err != nil {
			return hypervisor.JobStats{}, err
		}
		return decodeJobStats(info)
	})
}

// AbortJob implements hypervisor.Migrator. A domain that is gone has no job.
// Nothing but a migration away is ever aborted: other jobs are left alone, and
// the incoming half of a migration is refused with KindOperationInvalid.
func (c *Client) AbortJob(ctx context.Context, uuid string) error {
	migrating, err := c.abortable(ctx, uuid)
	if err != nil || !migrating {
		return err
	}
	err = toDomain(ctx, c, opAbort, uuid, func(domain *lv.Domain) error {
		err := domain.AbortJob()
		if err == nil {
			c.aborts.note(uuid)
		}
		return err
	})
	if hypervisor.KindOf(err) != hypervisor.KindOperationInvalid {
		if hypervisor.IsNoDomain(err) {
			return nil
		}
		return err
	}
	// libvirt says the same of a job that has just ended and of one in its
	// post-copy phase: what is there now tells them apart.
	if migrating, lookErr := c.abortable(ctx, uuid); lookErr != nil || !migrating {
		return lookErr
	}
	return err
}

// abortable reports whether there is a migration away from here to abort. It
// fails with KindOperationInvalid where there is one that cannot be aborted.
func (c *Client) abortable(ctx context.Context, uuid string) (bool, error) {
	stats, err := c.JobStats(ctx, uuid)
	switch {
	case hypervisor.IsNoDomain(err):
		return false, nil
	case err != nil:
		return false, err
	case stats.PostCopy:
		return false, refusal(opAbort, hypervisor.ErrInPostCopy)
	case stats.Active() && stats.Operation == hypervisor.OperationMigrationIn:
		return false, fault(opAbort, hypervisor.KindOperationInvalid, "the migration is incoming: abort it at its source")
	}
	return stats.MigratingOut(), nil
}
