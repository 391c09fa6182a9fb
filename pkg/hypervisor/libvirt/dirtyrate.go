package libvirt

import (
	"context"
	"time"

	lv "libvirt.org/go/libvirt"
)

const (
	opDirtyRate = "measuring the dirty rate"
	// dirtyRateSeconds is for how long is measured, the least that libvirt takes, and
	// dirtyRatePause how long to wait between two looks for the result.
	dirtyRateSeconds = 1
	dirtyRatePause   = 100 * time.Millisecond
)

// DirtyRate implements hypervisor.Migrator. Pages are sampled, which costs the guest nothing
// and works with all accelerators: QEMU's other ways slow the guest down, and end QEMU 7.2
// where it emulates the processor.
func (c *Client) DirtyRate(ctx context.Context, uuid string) (uint64, error) {
	err := toDomain(ctx, c, opDirtyRate, uuid, func(domain *lv.Domain) error {
		return domain.StartDirtyRateCalc(dirtyRateSeconds, lv.DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING)
	})
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.CallTimeout, errDeadline)
	defer cancel()
	for wait := dirtyRateSeconds * time.Second; err == nil; wait = dirtyRatePause {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, convert(opDirtyRate, context.Cause(ctx))
		}
		var rate *lv.DomainStatsDirtyRate
		rate, err = call(ctx, c, opDirtyRate, uuid, func(conn *lv.Connect) (*lv.DomainStatsDirtyRate, error) { return dirtyRate(conn, uuid) })
		if err == nil && measured(rate) {
			return uint64(rate.MegabytesPerSecond) << 20, nil //nolint:gosec // Not negative, as measured has found.
		}
	}
	return 0, err
}

// measured reports whether there is a result. libvirt has none right after the start.
func measured(rate *lv.DomainStatsDirtyRate) bool {
	return rate != nil && rate.CalcStatusSet && rate.CalcStatus == int(lv.DOMAIN_DIRTYRATE_MEASURED) &&
		rate.MegabytesPerSecondSet && rate.MegabytesPerSecond >= 0
}

func dirtyRate(conn *lv.Connect, uuid string) (*lv.DomainStatsDirtyRate, error) {
	domain, err := lookup(conn, uuid)
	if err != nil {
		return nil, err
	}
	defer func() { _ = domain.Free() }()
	all, err := conn.GetAllDomainStats([]*lv.Domain{domain}, lv.DOMAIN_STATS_DIRTYRATE, 0)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	defer func() {
		for _, stats := range all {
			_ = stats.Domain.Free()
		}
	}()
	return all[0].DirtyRate, nil
}
