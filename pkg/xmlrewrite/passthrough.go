package xmlrewrite

import "slices"

const (
	pciField  = "pciDevices"
	mdevField = "mediatedDevices"
)

// hostdevs returns the guest's passed-through devices of one type.
func (d *document) hostdevs(kind string) []*node {
	var found []*node
	for _, h := range d.devices("hostdev") {
		if h.value("type") == kind && h.value("mode") != "capabilities" {
			found = append(found, h)
		}
	}
	return found
}

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
			if uuid, ok := parseUUID(h.child("source").child("address").value("uuid")); ok {
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
		if h.name == "interface" && m.p.hasHostFunction(h) {
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
func isPCIInterface(nic *node) bool {
	return nic.value("type") == "hostdev" && isOneOf(nic.child("source").child("address").value("type"), "", "pci")
}

// hostPCI returns the devices that are PCI functions of the host.
func (d *document) hostPCI() []*node {
	found := d.hostdevs("pci")
	for _, nic := range d.devices("interface") {
		if isPCIInterface(nic) {
			found = append(found, nic)
		}
	}
	return found
}

// pciHolder reads the addresses of a device on its host and inside the guest.
func pciHolder(device *node) (holder, bool) {
	address := device.child("source").child("address")
	from, ok := readPCI(address)
	if !ok {
		return holder{}, false
	}
	h := holder{at: device, key: from.String(), bind: func(to string) {
		if a, ok := parsePCI(to); ok {
			address.setPCI(a)
		}
	}}
	if guest := device.child("address"); guest.value("type") == "pci" {
		if a, ok := readPCI(guest); ok {
			h.guest = a.String()
		}
	}
	return h, true
}

// addMdev adds a mediated device, if it has a valid UUID.
func (m *deviceMap) addMdev(device *node) bool {
	address := device.child("source").child("address")
	uuid, ok := parseUUID(address.value("uuid"))
	if ok {
		m.holders = append(m.holders, holder{at: device, key: uuid, bind: func(to string) {
			if to != uuid {
				address.setAttr("uuid", to)
			}
		}})
	}
	return ok
}

// hasHostFunction reports whether the list of interfaces says which function of
// the target takes the place of this interface.
func (p *planner) hasHostFunction(nic *node) bool {
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
