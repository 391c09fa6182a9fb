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
	if now, before := host.NUMA, published.NUMA; now != nil && before != nil {
		steadyCells(now.Cells, before.Cells)
	}
	if now, before := host.StoragePools, published.StoragePools; now != nil && before != nil {
		steadyPools(now.Items, before.Items)
	}
	return host
}

func steadyCells(cells, published []v1alpha1.HostNUMACell) {
	for i := range cells {
		now := &cells[i]
		same := func(c v1alpha1.HostNUMACell) bool { return c.ID == now.ID }
		if n := slices.IndexFunc(published, same); n >= 0 {
			now.FreeBytes = steadyPointer(now.FreeBytes, published[n].FreeBytes, now.MemoryBytes)
		}
	}
}

func steadyPools(pools, published []v1alpha1.HostStoragePool) {
	for i := range pools {
		now := &pools[i]
		same := func(p v1alpha1.HostStoragePool) bool { return p.Name == now.Name }
		if n := slices.IndexFunc(published, same); n >= 0 && now.CapacityBytes != nil {
			now.AvailableBytes = steadyPointer(now.AvailableBytes, published[n].AvailableBytes, *now.CapacityBytes)
		}
	}
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
