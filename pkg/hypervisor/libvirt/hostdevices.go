package libvirt

import (
	"fmt"
	"strings"

	lv "libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// readHostDevices reads the PCI functions of the host, and the mediated devices that are there,
// not those that are only defined.
func readHostDevices(conn *lv.Connect) (*hypervisor.HostDevices, error) {
	handles, err := conn.ListAllNodeDevices(lv.CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV | lv.CONNECT_LIST_NODE_DEVICES_CAP_MDEV)
	if err != nil {
		return nil, err
	}
	texts, err := each(handles, (*lv.NodeDevice).Free, func(handle *lv.NodeDevice) (string, error) {
		if active, err := handle.IsActive(); err == nil && !active {
			return "", nil
		}
		return handle.GetXMLDesc(0)
	}, lv.ERR_NO_NODE_DEVICE)
	if err != nil {
		return nil, err
	}
	return parseHostDevices(texts)
}

// parseHostDevices reads definitions of devices of the host; an empty one is none.
func parseHostDevices(documents []string) (*hypervisor.HostDevices, error) {
	out := &hypervisor.HostDevices{}
	cells := map[string]int{} // By the name of the device.
	var parents []string
	for _, document := range documents {
		if document == "" {
			continue
		}
		var device libvirtxml.NodeDevice
		if err := parse(document, &device); err != nil {
			return nil, err
		}
		switch {
		case device.Capability.PCI != nil:
			if pci, ok := pciDevice(&device); ok {
				out.PCI = append(out.PCI, pci)
				cells[device.Name] = pci.Cell
			}
		case device.Capability.MDev != nil:
			if uuid := mediatedUUID(&device); uuid != "" && device.Capability.MDev.Type != nil {
				out.Mediated = append(out.Mediated, hypervisor.MediatedDevice{UUID: uuid, Type: device.Capability.MDev.Type.ID, Cell: hypervisor.NoCell})
				parents = append(parents, device.Parent)
			}
		}
	}
	for i, parent := range parents {
		if cell, known := cells[parent]; known {
			out.Mediated[i].Cell = cell
		}
	}
	return out, nil
}

func pciDevice(device *libvirtxml.NodeDevice) (hypervisor.PCIDevice, bool) {
	c := device.Capability.PCI
	if c.Domain == nil || c.Bus == nil || c.Slot == nil || c.Function == nil {
		return hypervisor.PCIDevice{}, false
	}
	out := hypervisor.PCIDevice{
		Address: fmt.Sprintf("%04x:%02x:%02x.%x", *c.Domain, *c.Bus, *c.Slot, *c.Function),
		Vendor:  c.Vendor.ID, Product: c.Product.ID, Cell: hypervisor.NoCell,
	}
	if device.Driver != nil {
		out.Driver = device.Driver.Name
	}
	if c.NUMA != nil && c.NUMA.Node >= 0 {
		out.Cell = c.NUMA.Node
	}
	for _, sub := range c.Capabilities {
		out.Virtual = out.Virtual || sub.PhysFunction != nil
	}
	return out, true
}

// mediatedUUID returns a mediated device's UUID, which older versions of libvirt give in its name
// only.
func mediatedUUID(device *libvirtxml.NodeDevice) string {
	if uuid := device.Capability.MDev.UUID; uuid != "" {
		return strings.ToLower(uuid)
	}
	const groups = 5
	parts := strings.Split(strings.TrimPrefix(device.Name, "mdev_"), "_")
	if len(parts) < groups {
		return ""
	}
	return strings.ToLower(strings.Join(parts[:groups], "-"))
}
