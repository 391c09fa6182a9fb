package fake

import (
	"cmp"
	"context"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// AbortJob implements hypervisor.Steerer.
func (h *Host) AbortJob(ctx context.Context, uuid string) error {
	err := onDomain(ctx, h, &Call{Method: MethodAbortJob, UUID: uuid}, func(d *domain) error {
		switch {
		case d.describe().InPostCopy():
			return refused(MethodAbortJob, hypervisor.ErrInPostCopy)
		case d.in != nil:
			return fault(MethodAbortJob, hypervisor.KindOperationInvalid, "the migration is incoming: abort it at its source")
		case d.out != nil && d.out.stage < stageSwitching:
			d.out.cancel()
		}
		return nil
	})
	if hypervisor.IsNoDomain(err) {
		return nil
	}
	return err
}

// SetMaxDowntime implements hypervisor.Steerer. Without a job it counts for
// the next one.
func (h *Host) SetMaxDowntime(ctx context.Context, uuid string, milliseconds uint64) error {
	call := &Call{Method: MethodSetMaxDowntime, UUID: uuid, Value: milliseconds}
	return onDomain(ctx, h, call, func(d *domain) error {
		limit := time.Duration(min(milliseconds, maxDowntimeLimit)) * time.Millisecond
		return d.tune(MethodSetMaxDowntime, func() { d.maxDowntime = limit }, func(m *migration) { m.maxDowntime = limit })
	})
}

// MaxDowntime implements hypervisor.Steerer.
func (h *Host) MaxDowntime(ctx context.Context, uuid string) (uint64, error) {
	return withDomain(ctx, h, &Call{Method: MethodMaxDowntime, UUID: uuid}, func(d *domain) (uint64, error) {
		limit := d.maxDowntime
		err := d.tune(MethodMaxDowntime, func() {}, func(m *migration) { limit = m.maxDowntime })
		return uint64(max(limit.Milliseconds(), 0)), err
	})
}

// SetBandwidth implements hypervisor.Steerer. Without a job it counts for the
// next one.
func (h *Host) SetBandwidth(ctx context.Context, uuid string, mebibytesPerSecond uint64) error {
	call := &Call{Method: MethodSetBandwidth, UUID: uuid, Value: mebibytesPerSecond}
	return onDomain(ctx, h, call, func(d *domain) error {
		bandwidth := mebibytesPerSecond << 20
		return d.tune(MethodSetBandwidth, func() { d.bandwidth = bandwidth }, func(m *migration) {
			if !m.postCopy.active {
				m.bandwidth = h.fleet.limit(bandwidth)
			}
		})
	})
}

// limit returns what is copied per second under a limit; 0 is none.
func (f *Fleet) limit(bandwidth uint64) uint64 {
	return min(cmp.Or(bandwidth, f.bandwidth), f.bandwidth)
}

// tune changes the migration under way or else the next one.
func (d *domain) tune(method Method, next func(), now func(*migration)) error {
	switch {
	case !d.active():
		return notRunning(method)
	case d.in != nil:
		return fault(method, hypervisor.KindBusy,
			"Timed out during operation: cannot acquire state change lock (held by monitor=migration in)")
	case d.out != nil:
		d.out.count()
		now(d.out)
		d.out.change()
	default:
		next()
	}
	return nil
}

// StartPostCopy implements hypervisor.Steerer.
func (h *Host) StartPostCopy(ctx context.Context, uuid string) error {
	const method = MethodStartPostCopy
	return onDomain(ctx, h, &Call{Method: method, UUID: uuid}, func(d *domain) error {
		m := d.out
		switch {
		case d.describe().InPostCopy() && m != nil:
			return refused(method, hypervisor.ErrInPostCopy)
		case m == nil || m.cancelled || !d.active():
			return refused(method, hypervisor.ErrNoJob)
		case m.pass == 0:
			return refused(method, hypervisor.ErrNotCopying)
		case !m.params.PostCopy:
			return refused(method, hypervisor.ErrPostCopyNotEnabled)
		}
		// Once the guest is stopped for the switch it is too late, and no error.
		if m.stage <= StageCopying {
			m.count()
			m.postCopy.wanted = true
			m.change()
		}
		return nil
	})
}

// Suspend implements hypervisor.Steerer.
func (h *Host) Suspend(ctx context.Context, uuid string) error {
	return onDomain(ctx, h, &Call{Method: MethodSuspend, UUID: uuid}, h.suspend)
}

func (h *Host) suspend(d *domain) error {
	const method = MethodSuspend
	switch {
	case d.describe().InPostCopy():
		return refused(method, hypervisor.ErrInPostCopy)
	case d.in != nil:
		return fault(method, hypervisor.KindOperationInvalid, "the migration is incoming: pause the domain at its source")
	case !d.active():
		return notRunning(method)
	case d.state != hypervisor.StateRunning:
		return nil
	case d.out != nil:
		d.out.count()
		d.out.suspend(d)
		d.out.change()
		return nil
	}
	d.state, d.reason = hypervisor.StatePaused, hypervisor.ReasonUser
	h.emit(d.guest.UUID, hypervisor.LifecycleSuspended, hypervisor.DetailPaused)
	return nil
}

// Resume implements hypervisor.Steerer.
func (h *Host) Resume(ctx context.Context, uuid string) error {
	return onDomain(ctx, h, &Call{Method: MethodResume, UUID: uuid}, h.resume)
}

func (h *Host) resume(d *domain) error {
	const method = MethodResume
	switch {
	case d.describe().InPostCopy():
		return refused(method, hypervisor.ErrInPostCopy)
	case d.out != nil:
		return fault(method, hypervisor.KindBusy, "the domain is being migrated")
	case d.in != nil:
		return fault(method, hypervisor.KindOperationInvalid, "the domain is the incoming half of a migration")
	case d.state == hypervisor.StateRunning:
		return nil
	case d.state == hypervisor.StatePaused && d.reason == hypervisor.ReasonMigration:
		return fault(method, hypervisor.KindOperationInvalid, "the domain is paused for a migration")
	case d.state != hypervisor.StatePaused:
		return notRunning(method)
	}
	d.state, d.reason = hypervisor.StateRunning, hypervisor.ReasonUnpaused
	h.emit(d.guest.UUID, hypervisor.LifecycleResumed, hypervisor.DetailUnpaused)
	return nil
}
