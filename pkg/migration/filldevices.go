package migration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/pins"
)

// guestResources are what the source's agent has told of what a guest takes; nil if it has not.
func guestResources(lm *v1alpha1.LiveMigration) *v1alpha1.GuestResources {
	source := CurrentSource(lm)
	if source == nil || source.Guest == nil {
		return nil
	}
	return source.Guest.Resources
}

// WantsDevices reports whether the target is to choose devices for the guest.
func WantsDevices(lm *v1alpha1.LiveMigration) bool {
	r := guestResources(lm)
	return r != nil && len(r.MediatedDevices)+len(r.PCIDevices) > 0
}

// FillDevices chooses devices of a host for a guest, of which those in taken, by UUID or address,
// are not free. Devices of the cells in which the guest is go first, and then those of which the
// cell is not known. The problems say what there is none of.
func FillDevices(node string, lm *v1alpha1.LiveMigration, have *hypervisor.HostDevices, taken map[string]bool, offer *v1alpha1.TargetOffer) (problems []string) {
	c := chooser{taken: taken, cells: cellsOf(lm, offer)}
	r, data := guestResources(lm), lm.Spec.MigrateData
	if data == nil || data.MediatedDevices == nil {
		offer.MediatedDevices = c.mediated(node, r.MediatedDevices, have.Mediated)
	}
	if data == nil || data.PCIDevices == nil {
		offer.PCIDevices = c.pci(node, r.PCIDevices, have.PCI)
	}
	return c.problems
}

// cellsOf are the NUMA cells of the target in which a guest is.
func cellsOf(lm *v1alpha1.LiveMigration, offer *v1alpha1.TargetOffer) pins.Set {
	p := TargetPins(lm, offer)
	cells := p.Memory
	for _, b := range p.Bindings {
		cells = cells.Or(b.Nodes)
	}
	return cells
}

// chooser chooses devices, each once.
type chooser struct {
	taken    map[string]bool
	cells    pins.Set
	problems []string
}

// distance orders devices by their cells.
func (c *chooser) distance(cell int) int {
	switch {
	case c.cells.Has(cell):
		return 0
	case cell == hypervisor.NoCell:
		return 1
	default:
		return 2
	}
}

func (c *chooser) mediated(node string, want []v1alpha1.GuestMediatedDevice, have []hypervisor.MediatedDevice) []v1alpha1.MediatedDeviceMigrateData {
	have = slices.Clone(have)
	slices.SortStableFunc(have, func(a, b hypervisor.MediatedDevice) int {
		return cmp.Or(cmp.Compare(c.distance(a.Cell), c.distance(b.Cell)), strings.Compare(a.UUID, b.UUID))
	})
	var out []v1alpha1.MediatedDeviceMigrateData
	for _, w := range want {
		i := slices.IndexFunc(have, func(d hypervisor.MediatedDevice) bool { return d.Type == w.Type && !c.taken[d.UUID] })
		if i < 0 {
			c.problems = append(c.problems, fmt.Sprintf("%s has no mediated device of the type %q that no other guest has or was promised, for the guest's %s. "+
				"Ask an administrator to make one there with `virsh nodedev-create`, choose another target, or give one in spec.migrateData.mediatedDevices", node, w.Type, w.UUID))
			continue
		}
		c.taken[have[i].UUID] = true
		out = append(out, v1alpha1.MediatedDeviceMigrateData{Source: w.UUID, Target: v1alpha1.UUID(have[i].UUID)})
	}
	return out
}

func (c *chooser) pci(node string, want []v1alpha1.GuestPCIDevice, have []hypervisor.PCIDevice) []v1alpha1.TargetPCIDevice {
	have = slices.Clone(have)
	slices.SortStableFunc(have, func(a, b hypervisor.PCIDevice) int {
		return cmp.Or(cmp.Compare(c.distance(a.Cell), c.distance(b.Cell)), strings.Compare(a.Address, b.Address))
	})
	var out []v1alpha1.TargetPCIDevice
	for _, w := range want {
		i := slices.IndexFunc(have, func(d hypervisor.PCIDevice) bool {
			return d.Vendor == w.Vendor && d.Product == w.Product && d.Virtual == w.VirtualFunction && isForGuests(d) && !c.taken[d.Address]
		})
		if i < 0 {
			c.problems = append(c.problems, fmt.Sprintf("%s has no PCI device %s:%s, bound to a driver for guests or to none, that no other guest has or was promised, for the guest's %s. "+
				"Ask an administrator to bind one there to vfio-pci, choose another target, or give one in spec.migrateData.pciDevices",
				node, strings.TrimPrefix(w.Vendor, "0x"), strings.TrimPrefix(w.Product, "0x"), w.Address))
			continue
		}
		c.taken[have[i].Address] = true
		out = append(out, v1alpha1.TargetPCIDevice{Source: w.Address, Target: v1alpha1.PCIAddress(have[i].Address)})
	}
	return out
}

// isForGuests reports whether nothing of the host itself uses a function: its driver is one that
// gives devices to guests, such as vfio-pci or mlx5_vfio_pci, or it has none.
func isForGuests(d hypervisor.PCIDevice) bool {
	return d.Driver == "" || strings.Contains(strings.ReplaceAll(d.Driver, "-", "_"), "vfio")
}

// MigratePCI are PCI functions that the target has filled in as migrate data; nil if it has not.
func MigratePCI(devices []v1alpha1.TargetPCIDevice) []v1alpha1.PCIDeviceMigrateData {
	if len(devices) == 0 {
		return nil
	}
	out := make([]v1alpha1.PCIDeviceMigrateData, 0, len(devices))
	for _, d := range devices {
		out = append(out, v1alpha1.PCIDeviceMigrateData{Source: d.Source, Target: d.Target})
	}
	return out
}

// TargetDevices are the devices of the target that a guest is given: mediated devices by their
// UUIDs, and PCI functions by their addresses; and whether it is the user who gives them.
func TargetDevices(lm *v1alpha1.LiveMigration, offer *v1alpha1.TargetOffer) (mediated, pci []GivenDevice) {
	data := lm.Spec.MigrateData
	if data == nil {
		data = &v1alpha1.MigrateData{}
	}
	for _, d := range data.MediatedDevices {
		mediated = append(mediated, GivenDevice{string(d.Target), true})
	}
	for _, d := range data.PCIDevices {
		pci = append(pci, GivenDevice{string(d.Target), true})
	}
	for _, nic := range data.Interfaces {
		if nic.Source != nil && nic.Source.HostDevice != nil {
			pci = append(pci, GivenDevice{string(nic.Source.HostDevice.PCIAddress), true})
		}
	}
	if offer == nil {
		return mediated, pci
	}
	for _, d := range offer.MediatedDevices {
		mediated = append(mediated, GivenDevice{string(d.Target), false})
	}
	for _, d := range offer.PCIDevices {
		pci = append(pci, GivenDevice{string(d.Target), false})
	}
	return mediated, pci
}

// GivenDevice is a device of the target that a guest is given.
type GivenDevice struct {
	Name string
	// ByUser is whether its user says so.
	ByUser bool
}
