package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// maxGuestDevices is how many devices of a kind the API takes.
const maxGuestDevices = 64

// devicesOf are what devices of the host a guest has that the migrate data do not map, in either
// of its definitions. What is not known of the host is left out, so that the user has to say
// what becomes of it.
func (s *sourceSession) devicesOf(ctx context.Context, definitions []hypervisor.DomainXML) ([]v1alpha1.GuestMediatedDevice, []v1alpha1.GuestPCIDevice, error) {
	var other hypervisor.DomainXML
	if len(definitions) > 1 {
		other = definitions[1]
	}
	guest, err := xmlrewrite.ReadHostDevices(definitions[0], other, s.lm.Spec.MigrateData)
	if err != nil {
		return nil, nil, s.unreadable(err)
	}
	if len(guest.Mediated)+len(guest.PCI) == 0 {
		return nil, nil, nil
	}
	facts, err := s.hv.HostFacts(ctx, hypervisor.FactsHostDevices)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the devices of the host: %w", err)
	}
	if facts.Devices == nil {
		return nil, nil, nil
	}
	devices, functions := tellDevices(guest, facts.Devices)
	return devices, functions, nil
}

// tellDevices says what devices are, as far as the host knows them.
func tellDevices(guest xmlrewrite.HostDevices, host *hypervisor.HostDevices) (devices []v1alpha1.GuestMediatedDevice, functions []v1alpha1.GuestPCIDevice) {
	for _, uuid := range guest.Mediated {
		i := slices.IndexFunc(host.Mediated, func(d hypervisor.MediatedDevice) bool { return d.UUID == uuid })
		if i >= 0 && fits(host.Mediated[i].Type, maxWord) && len(devices) < maxGuestDevices {
			devices = append(devices, v1alpha1.GuestMediatedDevice{UUID: v1alpha1.UUID(uuid), Type: host.Mediated[i].Type})
		}
	}
	for _, address := range guest.PCI {
		i := slices.IndexFunc(host.PCI, func(d hypervisor.PCIDevice) bool { return d.Address == address })
		if i < 0 || len(functions) == maxGuestDevices {
			continue
		}
		if d := host.PCI[i]; fits(d.Vendor, maxPCINumber) && fits(d.Product, maxPCINumber) {
			functions = append(functions, v1alpha1.GuestPCIDevice{Address: v1alpha1.PCIAddress(address), Vendor: d.Vendor, Product: d.Product, VirtualFunction: d.Virtual})
		}
	}
	return devices, functions
}

// maxPCINumber is how long the numbers of vendors and products may be.
const maxPCINumber = 16
