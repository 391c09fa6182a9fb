package fake

import (
	"context"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// dirtyRatePeriod is for how long the dirty rate is measured.
const dirtyRatePeriod = time.Second

// DirtyRate implements hypervisor.Migrator. As with libvirt, the domain is looked up again
// once the time has passed, and a guest that stands still writes nothing.
func (h *Host) DirtyRate(ctx context.Context, uuid string) (uint64, error) {
	rate := func() (uint64, error) {
		return withDomain(ctx, h, &Call{Method: MethodDirtyRate, UUID: uuid}, func(d *domain) (uint64, error) {
			if d.state == hypervisor.StateShutoff {
				return 0, fault(MethodDirtyRate, hypervisor.KindOperationInvalid, "domain is not running")
			}
			if d.state != hypervisor.StateRunning {
				return 0, nil
			}
			return d.guest.DirtyBytesPerSecond, nil
		})
	}
	if value, err := rate(); err != nil {
		return value, err
	}
	timer := time.NewTimer(h.fleet.real(dirtyRatePeriod))
	defer timer.Stop()
	select {
	case <-timer.C:
		return rate()
	case <-ctx.Done():
		return 0, ended(ctx, MethodDirtyRate)
	}
}
