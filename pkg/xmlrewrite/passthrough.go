package xmlrewrite

const (
	pciField  = "pciDevices"
	mdevField = "mediatedDevices"
)

// hostdevs returns the guest's passed-through devices of one type.
func (p *planner) hostdevs(kind string) []*node {
	var found []*node
	for _, h := range p.devices("hostdev") {
		if h.value("type") == kind && h.value("mode") != "capabilities" {
			found = append(found, h)
		}
	}
	return found
}

// planMediatedDevices gives mediated devices their UUID on the target.
func planMediatedDevices(p *planner) {
	m := &deviceMap{p: p, field: mdevField, what: "mediated device"}
	for _, h := range p.hostdevs("mdev") {
		address := h.child("source").child("address")
		uuid, ok := parseUUID(address.value("uuid"))
		if !ok {
			p.report(ProblemInvalidXML, placeOf(mdevField), h, "the mediated device has no valid UUID; take the XML from libvirt unchanged")
			continue
		}
		m.holders = append(m.holders, holder{at: h, key: uuid, bind: func(to string) {
			if to != uuid {
				address.setAttr("uuid", to)
			}
		}})
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
	for _, h := range p.hostdevs("pci") {
		m.addPCI(h)
	}
	for _, nic := range p.devices("interface") {
		if isPCIInterface(nic) && !p.hasHostFunction(nic) {
			m.addPCI(nic)
		}
	}
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

// isPCIInterface reports whether an interface is a PCI function of the host.
func isPCIInterface(nic *node) bool {
	return nic.value("type") == "hostdev" && isOneOf(nic.child("source").child("address").value("type"), "", "pci")
}

func (m *deviceMap) addPCI(device *node) {
	address := device.child("source").child("address")
	from, ok := readPCI(address)
	if !ok {
		m.p.report(ProblemInvalidXML, placeOf(pciField), device, "the PCI device has no valid source address; take the XML from libvirt unchanged")
		return
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
	m.holders = append(m.holders, h)
}

// hasHostFunction reports whether the list of interfaces says which function of
// the target takes the place of this interface.
func (p *planner) hasHostFunction(nic *node) bool {
	mac, ok := parseMAC(nic.child("mac").value("address"))
	if !ok {
		return false
	}
	i, listed := p.interfaceEntries()[mac]
	if !listed {
		return false
	}
	source := p.data.Interfaces[i].Source
	return source != nil && source.HostDevice != nil
}
