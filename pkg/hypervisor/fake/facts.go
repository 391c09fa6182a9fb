package fake

import (
	"context"
	"maps"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// defaultFacts are those of a small host.
func defaultFacts() hypervisor.HostFacts {
	const gibibyte = 1 << 30
	return hypervisor.HostFacts{
		Socket: "libvirt-sock",
		Capabilities: &hypervisor.HostCapabilities{
			CPU: hypervisor.HostCPU{Architecture: "x86_64", Model: "EPYC", Vendor: "AMD", Features: []string{"ht", "osxsave"}},
			Architectures: []hypervisor.Architecture{{
				Name: "x86_64", DomainTypes: []string{"kvm", "qemu"}, MachineTypes: []string{"pc-i440fx-7.2", "pc-q35-7.2"},
				Aliases: map[string]string{"pc": "pc-i440fx-7.2", "q35": "pc-q35-7.2"},
			}},
			Cells: []hypervisor.Cell{{
				MemoryBytes: 64 * gibibyte, CPUs: []int{0, 1, 2, 3}, HugePages: []hypervisor.HugePages{{SizeBytes: 2 << 20, Total: 512}},
			}},
			Emulator: &hypervisor.EmulatorUser{UID: 64055, GID: 106},
		},
		OfferedCPUs: &hypervisor.OfferedCPUs{
			DomainType: "kvm", Machine: "pc-i440fx-7.2", HostModel: &hypervisor.OfferedCPU{Model: "EPYC", Vendor: "AMD"}, Maximum: &hypervisor.OfferedCPU{},
		},
		Memory:        []hypervisor.CellMemory{{FreeBytes: 32 * gibibyte, FreePages: map[uint64]uint64{2 << 20: 512}}},
		Networks:      []hypervisor.Network{{Name: "default", Active: true, Forward: "nat", Bridge: "virbr0"}},
		Bridges:       []string{"br0", "virbr0"},
		StoragePools:  []hypervisor.StoragePool{},
		MediatedTypes: []hypervisor.MediatedType{},
		Devices:       &hypervisor.HostDevices{},
	}
}

// SetFacts changes what the host has and offers. Errors are those of groups that cannot be
// read.
func (h *Host) SetFacts(change func(*hypervisor.HostFacts)) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.facts.Errors = maps.Clone(h.facts.Errors)
	if h.facts.Errors == nil {
		h.facts.Errors = map[hypervisor.FactGroup]error{}
	}
	change(&h.facts)
}

// HostFacts implements hypervisor.Host.
func (h *Host) HostFacts(ctx context.Context, groups ...hypervisor.FactGroup) (hypervisor.HostFacts, error) {
	return invoke(ctx, h, &Call{Method: MethodHostFacts}, func() (hypervisor.HostFacts, error) {
		out := hypervisor.HostFacts{Socket: h.facts.Socket, Errors: map[hypervisor.FactGroup]error{}}
		for _, group := range groups {
			if err := h.facts.Errors[group]; err != nil {
				out.Errors[group] = injected(MethodHostFacts, err)
				continue
			}
			copyGroup(&out, &h.facts, group)
		}
		return out, nil
	})
}

func copyGroup(to, from *hypervisor.HostFacts, group hypervisor.FactGroup) {
	switch group {
	case hypervisor.FactsCapabilities:
		to.Capabilities = from.Capabilities
	case hypervisor.FactsOfferedCPUs:
		to.OfferedCPUs = from.OfferedCPUs
	case hypervisor.FactsMemory:
		to.Memory = from.Memory
	case hypervisor.FactsNetworks:
		to.Networks = from.Networks
	case hypervisor.FactsBridges:
		to.Bridges = from.Bridges
	case hypervisor.FactsStoragePools:
		to.StoragePools = from.StoragePools
	case hypervisor.FactsMediatedDevices:
		to.MediatedTypes = from.MediatedTypes
	case hypervisor.FactsHostDevices:
		to.Devices = from.Devices
	}
}
