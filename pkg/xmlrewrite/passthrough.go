package xmlrewrite

import (
	"slices"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const (
	pciField  = "pciDevices"
	mdevField = "mediatedDevices"
)

// planMediatedDevices gives mediated devices their UUID on the target.
func planMediatedDevices(p *planner) {
	m := &deviceMap{p: p, field: mdevField, what: "mediated device"}
	for _, h := range p.doc.hostdevs("mdev") {
		if !m.addMdev(h) {
			p.report(ProblemInvalidXML, placeOf(mdevField), h, "the mediated device has no valid UUID; take the XML from libvirt unchanged")
		}
	}
	if p.other != nil {
		for _, h := range p.other.hostdevs("mdev") {
			if uuid, ok := parseUUID(h.Child("source").Child("address").Value("uuid")); ok {
				m.others = append(m.others, holder{key: uuid})
			}
		}
	}
	devices := p.data.MediatedDevices
	if devices == nil {
		devices = p.offer.MediatedDevices
	}
	for i, d := range devices {
		field := placeOf(mdevField).entry(i)
		from, okFrom := p.checkUUID(field.dot("source"), d.Source)
		to, okTo := p.checkUUID(field.dot("target"), d.Target)
		if okFrom && okTo {
			m.mappings = append(m.mappings, mapping{from: from, to: to, field: field.String()})
		}
	}
	if len(m.holders)+len(m.mappings) > 0 {
		m.rebind()
	}
}

// planPCIDevices gives passed-through PCI functions their address on the
// target. Addresses are compared by value, and only the host's side changes.
func planPCIDevices(p *planner) {
	m := &deviceMap{p: p, field: pciField, what: "PCI device"}
	m.holdPCI()
	devices := p.data.PCIDevices
	if devices == nil {
		devices = p.offer.PCIDevices
	}
	for i, d := range devices {
		field := placeOf(pciField).entry(i)
		from, okFrom := p.checkPCI(field.dot("source"), d.Source)
		to, okTo := p.checkPCI(field.dot("target"), d.Target)
		e := mapping{from: from.String(), to: to.String(), field: field.String()}
		if d.GuestAddress != nil {
			guest, ok := p.checkPCI(field.dot("guestAddress"), *d.GuestAddress)
			okFrom = okFrom && ok
			e.guest = guest.String()
		}
		if okFrom && okTo {
			m.mappings = append(m.mappings, e)
		}
	}
	if len(m.holders)+len(m.mappings) > 0 {
		m.rebind()
	}
}

// holdPCI finds the devices that are PCI functions of the host in both definitions
// of the guest.
func (m *deviceMap) holdPCI() {
	for _, h := range m.p.doc.hostPCI() {
		if h.Name == "interface" && m.p.hasHostFunction(h) {
			continue
		}
		if holder, ok := pciHolder(h); ok {
			m.holders = append(m.holders, holder)
		} else {
			m.p.report(ProblemInvalidXML, placeOf(pciField), h, "the PCI device has no valid source address; take the XML from libvirt unchanged")
		}
	}
	if m.p.other == nil {
		return
	}
	for _, h := range m.p.other.hostPCI() {
		if holder, ok := pciHolder(h); ok {
			m.others = append(m.others, holder)
		}
	}
}

// isPCIInterface reports whether an interface is a PCI function of the host.
func isPCIInterface(nic *xmltree.Node) bool {
	return nic.Value("type") == "hostdev" && isOneOf(nic.Child("source").Child("address").Value("type"), "", "pci")
}

// hostPCI returns the devices that are PCI functions of the host.
func (g *guest) hostPCI() []*xmltree.Node {
	found := g.hostdevs("pci")
	for _, nic := range g.devices("interface") {
		if isPCIInterface(nic) {
			found = append(found, nic)
		}
	}
	return found
}

// pciHolder reads the addresses of a device on its host and inside the guest.
func pciHolder(device *xmltree.Node) (holder, bool) {
	address := device.Child("source").Child("address")
	from, ok := readPCI(address)
	if !ok {
		return holder{}, false
	}
	h := holder{at: device, key: from.String(), bind: func(to string) {
		if a, ok := parsePCI(to); ok {
			setPCI(address, a)
		}
	}}
	if guest := device.Child("address"); guest.Value("type") == "pci" {
		if a, ok := readPCI(guest); ok {
			h.guest = a.String()
		}
	}
	return h, true
}

// addMdev adds a mediated device, if it has a valid UUID.
func (m *deviceMap) addMdev(device *xmltree.Node) bool {
	address := device.Child("source").Child("address")
	uuid, ok := parseUUID(address.Value("uuid"))
	if ok {
		m.holders = append(m.holders, holder{at: device, key: uuid, bind: func(to string) {
			if to != uuid {
				address.SetAttr("uuid", to)
			}
		}})
	}
	return ok
}

// hasHostFunction reports whether the list of interfaces says which function of
// the target takes the place of this interface.
func (p *planner) hasHostFunction(nic *xmltree.Node) bool {
	if p.data.Interfaces == nil {
		return false
	}
	i := slices.Index(p.devices("interface"), nic)
	if i < 0 {
		return false
	}
	entry := p.interfaceMatches()[i]
	if entry < 0 {
		return false
	}
	source := p.data.Interfaces[entry].Source
	return source != nil && source.HostDevice != nil
}
