package agent

import (
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// steadyShare is the part of a whole by which what is free of it may differ from what is
// published before that is worth a publication of its own.
const steadyShare = 16

// steady returns what is known of a host with the numbers that were published last, where
// they are still about right. Whoever writes for another reason writes the new ones.
func steady(host, published *v1alpha1.HypervisorHost) *v1alpha1.HypervisorHost {
	if host == nil || published == nil {
		return host
	}
	host = host.DeepCopy()
	if now, before := host.Memory, published.Memory; now != nil && before != nil {
		now.AvailableBytes = steadyNumber(now.AvailableBytes, before.AvailableBytes, now.TotalBytes)
	}
	if host.NUMA != nil && published.NUMA != nil {
		for i := range host.NUMA.Cells {
			now := &host.NUMA.Cells[i]
			same := func(c v1alpha1.HostNUMACell) bool { return c.ID == now.ID }
			if n := slices.IndexFunc(published.NUMA.Cells, same); n >= 0 {
				now.FreeBytes = steadyPointer(now.FreeBytes, published.NUMA.Cells[n].FreeBytes, now.MemoryBytes)
			}
		}
	}
	if host.StoragePools != nil && published.StoragePools != nil {
		for i := range host.StoragePools.Items {
			now := &host.StoragePools.Items[i]
			same := func(p v1alpha1.HostStoragePool) bool { return p.Name == now.Name }
			if n := slices.IndexFunc(published.StoragePools.Items, same); n >= 0 && now.CapacityBytes != nil {
				now.AvailableBytes = steadyPointer(now.AvailableBytes, published.StoragePools.Items[n].AvailableBytes, *now.CapacityBytes)
			}
		}
	}
	return host
}

func steadyNumber(now, before, whole int64) int64 {
	if max(now, before)-min(now, before) <= whole/steadyShare {
		return before
	}
	return now
}

func steadyPointer(now, before *int64, whole int64) *int64 {
	if now == nil || before == nil {
		return now
	}
	return new(steadyNumber(*now, *before, whole))
}
