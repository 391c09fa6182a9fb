package libvirt

import (
	"context"
	"errors"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	opStartPostCopy = "switching to post-copy"
	opSuspend       = "pausing the domain"
	opResume        = "resuming the domain"
)

// SetMaxDowntime implements hypervisor.Steerer.
func (c *Client) SetMaxDowntime(ctx context.Context, uuid string, milliseconds uint64) error {
	return toDomain(ctx, c, "setting the maximum downtime", uuid, func(domain *lv.Domain) error {
		return domain.MigrateSetMaxDowntime(milliseconds, 0)
	})
}

// MaxDowntime implements hypervisor.Steerer.
func (c *Client) MaxDowntime(ctx context.Context, uuid string) (uint64, error) {
	return onDomain(ctx, c, "reading the maximum downtime", uuid, func(domain *lv.Domain) (uint64, error) {
		return domain.MigrateGetMaxDowntime(0)
	})
}

// SetBandwidth implements hypervisor.Steerer.
func (c *Client) SetBandwidth(ctx context.Context, uuid string, mebibytesPerSecond uint64) error {
	return toDomain(ctx, c, "setting the bandwidth", uuid, func(domain *lv.Domain) error {
		return domain.MigrateSetMaxSpeed(mebibytesPerSecond, 0)
	})
}

// StartPostCopy implements hypervisor.Steerer. The client library limits
// post-copy along with MigrateParams.BandwidthMiBps, so that has to be undone
// first: a guest that waits for its memory is not to wait for a limit.
func (c *Client) StartPostCopy(ctx context.Context, uuid string) error {
	if err := c.mayStartPostCopy(ctx, uuid); err != nil {
		return err
	}
	err := toDomain(ctx, c, opStartPostCopy, uuid, func(domain *lv.Domain) error {
		if err := domain.MigrateSetMaxSpeed(0, lv.MIGRATE_MAX_SPEED_POSTCOPY); err != nil {
			return err
		}
		return domain.MigrateStartPostCopy(0)
	})
	if hypervisor.KindOf(err) != hypervisor.KindOperationInvalid {
		return err
	}
	// libvirt says the same of a job that has just ended and of one that may not
	// switch: what is there now tells them apart.
	if now := c.mayStartPostCopy(ctx, uuid); now != nil {
		return now
	}
	return because(err, hypervisor.ErrPostCopyNotEnabled)
}

// mayStartPostCopy returns why there is no migration to switch, if there is none.
func (c *Client) mayStartPostCopy(ctx context.Context, uuid string) error {
	stats, err := c.JobStats(ctx, uuid)
	switch {
	case err != nil:
		return err
	case !stats.MigratingOut():
		return refusal(opStartPostCopy, hypervisor.ErrNoJob)
	case stats.PostCopy:
		return refusal(opStartPostCopy, hypervisor.ErrInPostCopy)
	case stats.Memory.TotalBytes == 0:
		// QEMU's answer would be that post-copy has not been enabled.
		return refusal(opStartPostCopy, hypervisor.ErrNotCopying)
	}
	return nil
}

// Suspend implements hypervisor.Steerer. What must not be paused is refused
// here: libvirt would wait for the migration's end, and pause the guest then,
// long after the caller has given up.
func (c *Client) Suspend(ctx context.Context, uuid string) error {
	stats, err := c.JobStats(ctx, uuid)
	switch {
	case err != nil:
		return err
	case stats.PostCopy:
		return refusal(opSuspend, hypervisor.ErrInPostCopy)
	case stats.Active() && stats.Operation == hypervisor.OperationMigrationIn:
		return fault(opSuspend, hypervisor.KindOperationInvalid, "the migration is incoming: pause the domain at its source")
	}
	return toDomain(ctx, c, opSuspend, uuid, (*lv.Domain).Suspend)
}

// Resume implements hypervisor.Steerer. As with DestroyIncoming, the destination
// alone cannot tell a guest paused for a reason of its own from all that a
// migration may make of it next, so nobody may start one meanwhile.
func (c *Client) Resume(ctx context.Context, uuid string) error {
	stats, err := c.JobStats(ctx, uuid)
	switch {
	case err != nil:
		return err
	case stats.PostCopy:
		return refusal(opResume, hypervisor.ErrInPostCopy)
	case stats.MigratingOut():
		// libvirt would wait for the migration's end, and resume the guest then,
		// long after the caller has given up.
		return fault(opResume, hypervisor.KindBusy, "the domain is being migrated")
	case stats.Active() && stats.Operation == hypervisor.OperationMigrationIn:
		return fault(opResume, hypervisor.KindOperationInvalid, "the domain is the incoming half of a migration")
	}
	return toDomain(ctx, c, opResume, uuid, resume)
}

func resume(handle *lv.Domain) error {
	// The state is read last, as close to the deed as can be.
	number, reason, err := handle.GetState()
	if err != nil {
		return err
	}
	var domain hypervisor.Domain
	domain.State, domain.Reason = stateOf(number, reason)
	switch {
	case domain.InPostCopy():
		return refusal(opResume, hypervisor.ErrInPostCopy)
	case domain.State == hypervisor.StateRunning, domain.State == hypervisor.StateBlocked:
		return nil
	case domain.State == hypervisor.StatePaused && domain.Reason == hypervisor.ReasonMigration:
		return fault(opResume, hypervisor.KindOperationInvalid, "the domain is paused for a migration")
	}
	return handle.Resume()
}

// refusal returns an error of kind KindOperationInvalid that is not libvirt's.
func refusal(op string, cause error) error {
	return &hypervisor.Error{Op: op, Kind: hypervisor.KindOperationInvalid, Message: cause.Error(), Err: cause}
}

// because names the cause of an error of libvirt's.
func because(err, cause error) error {
	e, ok := errors.AsType[*hypervisor.Error](err)
	if !ok {
		return err
	}
	named := *e
	named.Err = cause
	return &named
}
