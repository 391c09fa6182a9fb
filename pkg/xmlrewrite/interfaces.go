package xmlrewrite

import (
	"net"
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const interfacesField = "interfaces"

// parseMAC returns the address in lower case with two digits a part. As in libvirt, a part
// may have one digit, and colons are the only separators.
func parseMAC(text string) (string, bool) {
	if len(text) < len("00:00:00:00:00:00") {
		parts := strings.Split(text, ":")
		for i, part := range parts {
			if len(part) == 1 {
				parts[i] = "0" + part
			}
		}
		text = strings.Join(parts, ":")
	}
	mac, err := net.ParseMAC(text)
	return mac.String(), err == nil && strings.Count(text, ":") == 5
}

// planInterfaces connects the guest's interfaces to the target. They are found
// by MAC address and, where several have the same, by address inside the guest, alias
// or kind. What the guest sees of an interface stays.
func planInterfaces(p *planner) {
	interfaces := p.devices("interface")
	if p.data.Interfaces == nil {
		for _, nic := range interfaces {
			p.keepHostBoundInterface(nic, placeOf(interfacesField))
			p.checkUnnamedTap(nic, "", false, placeOf(interfacesField))
			p.mapNetwork(nic)
		}
		return
	}
	matches := p.interfaceMatches()
	for i, nic := range interfaces {
		mac, ok := parseMAC(nic.Child("mac").Value("address"))
		switch entry := matches[i]; {
		case !ok:
			p.report(ProblemInvalidXML, placeOf(interfacesField), nic, "the interface has no valid MAC address; take the XML from libvirt unchanged")
		case entry >= 0:
			p.rewriteInterface(nic, &p.data.Interfaces[entry], placeOf(interfacesField).entry(entry))
		case entry == ambiguousInterface: // Reported already.
		case p.leftToPCIDevices(nic, mac):
		case entry == otherInterface:
			p.warn(placeOf(interfacesField), nic, "the running guest has a passed-through function with this MAC address, which is what the entry means, so this interface is kept as it is; make sure that it is right on the target")
			p.keepHostBoundInterface(nic, placeOf(interfacesField))
		default:
			p.reportUnlisted(nic, mac)
		}
	}
}

func (p *planner) reportUnlisted(nic *xmltree.Node, mac string) {
	which := "the MAC address " + mac
	guest, alias := guestAddress(nic), nic.Child("alias").Value("name")
	switch {
	case guest != "":
		which += ", which is at " + guest + " inside the guest"
	case strings.HasPrefix(alias, "ua-"):
		which += " and the alias " + alias
	}
	p.report(ProblemMissingData, placeOf(interfacesField), nic,
		"the list of interfaces leaves out the one with "+which+"; add an entry for it, without a source if it stays as it is")
}

// keepHostBoundInterface refuses to keep what only the source host has. Host PCI
// functions are judged with the other PCI devices.
func (p *planner) keepHostBoundInterface(nic *xmltree.Node, field *place) {
	source := nic.Child("source")
	message := ""
	switch nic.Value("type") {
	case "vdpa":
		message = "the interface uses a vDPA device of the source host; give the target's in source.vdpa"
	case "direct":
		// If a network of libvirt chose the device, the target's chooses one, too.
		if source.Value("mode") == "passthrough" && !source.HasAttr("network") {
			message = "the guest has a whole network device of the source host (macvtap in passthrough mode); give the target's in source.direct"
		}
	case "server", "udp":
		at := source
		if local := source.Child("local"); local != nil {
			at = local
		}
		if scopeOf(at.Value("address")) == scopeHost {
			message = "the interface listens on an address of the source host, which no field maps; give it another kind of source, such as bridge"
		}
	case "vhostuser":
		p.warn(field, nic, "the interface uses a vhost-user socket of the host, whose path is kept; make sure that the socket there is this guest's on the target, too, or give another in source.vhostUser")
	}
	if message != "" {
		p.report(ProblemMissingData, field, nic, message)
	}
}

func (p *planner) rewriteInterface(nic *xmltree.Node, want *v1alpha1.InterfaceMigrateData, field *place) {
	before := connectionOf(nic)
	after, known, managed := before, true, ""
	if want.Source == nil {
		p.keepHostBoundInterface(nic, field.dot("source"))
	} else {
		shape, ok := p.interfaceShape(want.Source, field.dot("source"))
		if known = ok && p.fitsGuest(nic, before.kind, shape, field.dot("source")); known {
			after = before.becomes(shape)
			p.rewriteInterfaceSource(nic, shape)
			managed = p.tapManagement(want.Source.Ethernet, field.dot("source.ethernet"))
		}
	}
	changed := after.kind != before.kind
	p.claimInterface(nic, want, changed, field)
	if want.VirtualPort != nil {
		after.port = stringOf(want.VirtualPort.Type)
	}
	if known {
		p.dropForeignParts(nic, before, after, want.Source != nil, field)
		p.checkVLAN(nic, before, after, want.VLAN, field.dot("vlan"))
	}
	if want.TargetDevice == nil {
		p.checkUnnamedTap(nic, managed, changed, field.dot("targetDevice"))
	}
	p.rewriteInterfaceTarget(nic, want.TargetDevice, managed, changed, field.dot("targetDevice"))
	p.rewriteVirtualPort(nic, want.VirtualPort, after.kind, changed, field.dot("virtualPort"))
	p.rewriteVLAN(nic, want.VLAN, field.dot("vlan"))
	p.rewriteFilter(nic, want.Filter, before, after, field.dot("filter"))
	p.rewriteBandwidth(nic, want.Bandwidth, after.kind, field.dot("bandwidth"))
	p.rewriteInterfaceDriver(nic, want.Driver, changed, after.kind, field.dot("driver"))
}

// interfaceShape is an interface's source as it is to become.
func (p *planner) interfaceShape(s *v1alpha1.InterfaceSource, field *place) (*sourceShape, bool) {
	shape := newShape("")
	before, given := len(p.problems), 0
	set := func(kind string) { given++; shape.kind = kind }
	named := func(attribute, name, value string) {
		p.checkText(field.dot(name), value)
		shape.AddAttr(attribute, value)
	}
	if s.Bridge != nil {
		set("bridge")
		named("bridge", "bridge.name", s.Bridge.Name)
	}
	if s.Network != nil {
		set("network")
		named("network", "network.name", s.Network.Name)
		if s.Network.PortGroup != nil {
			named("portgroup", "network.portGroup", *s.Network.PortGroup)
		}
	}
	if s.Direct != nil {
		set("direct")
		named("dev", "direct.device", s.Direct.Device)
		p.checkOneOf(field.dot("direct.mode"), stringOf(s.Direct.Mode), "vepa", "bridge", "private", "passthrough")
		shape.AddAttr("mode", stringOf(s.Direct.Mode))
	}
	if s.Ethernet != nil {
		set("ethernet")
	}
	if s.VhostUser != nil {
		set("vhostuser")
		shape.AddAttr("type", "unix")
		p.checkPath(field.dot("vhostUser.path"), s.VhostUser.Path)
		shape.AddAttr("path", s.VhostUser.Path)
		if s.VhostUser.Mode == "" {
			p.report(ProblemMissingData, field.dot("vhostUser.mode"), nil, "this must be client or server")
		}
		p.checkOneOf(field.dot("vhostUser.mode"), string(s.VhostUser.Mode), "client", "server")
		shape.AddAttr("mode", string(s.VhostUser.Mode))
	}
	if s.VDPA != nil {
		set("vdpa")
		p.checkPath(field.dot("vdpa.path"), s.VDPA.Path)
		shape.AddAttr("dev", s.VDPA.Path)
	}
	if s.HostDevice != nil {
		set("hostdev")
		address, _ := p.checkPCI(field.dot("hostDevice.pciAddress"), s.HostDevice.PCIAddress)
		function := address.element()
		function.Attrs = append([]xmltree.Attr{{Name: "type", Value: "pci"}}, function.Attrs...)
		shape.Add(function)
	}
	if given != 1 {
		p.report(ProblemInvalidValue, field, nil,
			"give exactly one of bridge, network, direct, ethernet, vhostUser, vdpa and hostDevice")
	}
	return shape, len(p.problems) == before
}

// checkOneOf reports a value that is given and not among those allowed.
func (p *planner) checkOneOf(field *place, value string, allowed ...string) bool {
	if value == "" || slices.Contains(allowed, value) {
		return true
	}
	p.report(ProblemInvalidValue, field, nil, "this must be one of "+strings.Join(allowed, ", "))
	return false
}

// fitsGuest refuses a kind of source that the guest's device cannot have: a
// function that is passed through is another device than an emulated one, and what
// another process or the hardware works on has to be there for them.
func (p *planner) fitsGuest(nic *xmltree.Node, kind string, shape *sourceShape, field *place) bool {
	if kind == shape.kind {
		return true
	}
	model, at, message := nic.Child("model").Value("type"), nic, ""
	switch to := shape.kind; {
	case kind == "hostdev", to == "hostdev":
		message = "an interface that is passed through is other hardware to the guest than one that is emulated, and cannot become the other while the guest runs; give it a source of its own sort"
	case isOneOf(to, "vhostuser", "vdpa") && !strings.HasPrefix(model, "virtio"):
		message = "only virtio interfaces can use vhostUser and vdpa; choose another kind of source"
	case to == "vhostuser" && !p.sharesMemory():
		message = "a switch behind a vhost-user socket works in the guest's memory, which this guest does not share, so the interface would be dead; choose another kind of source, or have the guest restarted with shared memory (memoryBacking with access mode='shared')"
	case to == "vdpa" && model != "virtio":
		message = "only interfaces of the model virtio can use vdpa; choose another kind of source"
	case nic.Child("mtu") != nil && !hasMTU(to):
		at, message = nic.Child("mtu"), "the guest is told its MTU, which libvirt cannot do with this kind of source, and which must not change while the guest runs; choose bridge, network, ethernet or vhostUser"
	}
	if message != "" {
		p.report(ProblemConflict, field, at, message)
	}
	return message == ""
}

// hasMTU reports whether libvirt can tell the guest its MTU with this kind of source.
func hasMTU(kind string) bool { return isOneOf(kind, "bridge", "network", "ethernet", "vhostuser") }

func (p *planner) rewriteInterfaceSource(nic *xmltree.Node, shape *sourceShape) {
	kindChanges := nic.Value("type") != shape.kind
	nic.SetAttr("type", shape.kind)
	source := nic.Child("source")
	if shape.kind == "ethernet" {
		if kindChanges {
			nic.SyncChild("source", nil)
		}
		return
	}
	if source == nil {
		nic.InsertBehind(nic.FirstOf("mac"), &shape.Elem)
		return
	}
	for name := range source.Attrs() {
		if isConnection(name) && shape.attr(name) == "" {
			source.RemoveAttr(name)
		}
	}
	for _, a := range shape.Attrs {
		source.SetAttr(a.Name, a.Value)
	}
	if kindChanges || shape.attr("mode") == "server" { // Only clients connect again.
		source.SyncChild("reconnect", nil)
	}
	if kindChanges {
		source.SyncChild("local", nil)
	}
	if shape.kind == "hostdev" {
		p.rewriteHostFunction(source, shape.Children[0])
	}
}

// isConnection reports whether an attribute of the source says what an interface
// is connected to. Those are replaced altogether; other attributes stay.
func isConnection(name string) bool {
	switch name {
	case "bridge", "network", "portgroup", "portid", "dev", "mode", "type", "path",
		"address", "port", "name", "switchid", "portgroupid", "connectionid", "macTableManager", "missing":
		return true
	}
	return false
}

func (p *planner) rewriteHostFunction(source *xmltree.Node, want *xmltree.Elem) {
	address := source.Child("address")
	if address == nil {
		source.Append(want)
		return
	}
	address.SetAttr("type", "pci")
	if !samePCI(address, &xmltree.Elem{Attrs: want.Attrs[1:]}) {
		for _, a := range want.Attrs[1:] {
			address.SetAttr(a.Name, a.Value)
		}
	}
}
