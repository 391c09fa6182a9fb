package xmlrewrite

import (
	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// connection is what an interface is connected to, as far as it decides what else libvirt
// lets the interface have.
type connection struct {
	kind string
	mode string // That of macvtap.
	port string // The type of the virtual port; empty if there is none.
}

func connectionOf(nic *xmltree.Node) connection {
	return connection{nic.Value("type"), nic.Child("source").Value("mode"), nic.Child("virtualport").Value("type")}
}

// becomes returns the connection with another source. A virtual port stays with its kind.
func (c connection) becomes(shape *sourceShape) connection {
	after := connection{kind: shape.kind, mode: shape.attr("mode")}
	if after.kind == c.kind {
		after.port = c.port
	}
	return after
}

// canTag reports whether every libvirt can tag the traffic: on Open vSwitch, on a device
// of the host, and as far as can be said here on a network.
func (c connection) canTag() bool {
	switch c.kind {
	case "bridge":
		return c.port == "openvswitch"
	case "direct":
		return c.mode == "passthrough"
	}
	return c.kind == "network" || c.kind == "hostdev"
}

// canIsolate reports whether libvirt can isolate the port from others.
func (c connection) canIsolate() bool {
	return isOneOf(c.kind, "bridge", "network") && c.port == ""
}

// canFilter reports whether libvirt can filter the traffic.
func (c connection) canFilter() bool {
	return isOneOf(c.kind, "bridge", "network", "ethernet") && c.port == ""
}

// checkVLAN refuses to leave the tags of the guest's traffic where libvirt does not tag.
func (p *planner) checkVLAN(nic *xmltree.Node, before, after connection, want *v1alpha1.InterfaceVLAN, field *place) {
	if want != nil || nic.Child("vlan") == nil || after.canTag() || after.kind == before.kind && !before.canTag() {
		return
	}
	p.report(ProblemMissingData, field, nic.Child("vlan"),
		"the guest's traffic is tagged, which not every libvirt can do with this kind of source and virtual port; repeat the tags in vlan if the target's can, or set vlan to {} if its switch does it")
}

// dropForeignParts takes away what libvirt does not have for the new connection. What
// limits or separates the guest does not go in silence.
func (p *planner) dropForeignParts(nic *xmltree.Node, before, after connection, moves bool, field *place) {
	if port := nic.Child("port"); port != nil && before.canIsolate() && !after.canIsolate() {
		at := field.dot("source")
		if after.kind == before.kind {
			at = field.dot("virtualPort")
		}
		p.warn(at, port, "libvirt cannot isolate the port of this kind of source or virtual port, so the setting is removed; if the guest must stay isolated, have the target's network see to it")
		port.Remove()
	}
	if moves {
		p.dropBackend(nic, after, field.dot("source"))
	}
	if before.kind == after.kind {
		return
	}
	field = field.dot("source")
	p.dropAddresses(nic, field)
	if coalesce := nic.Child("coalesce"); coalesce != nil && !isOneOf(after.kind, "bridge", "network") {
		p.warn(field, coalesce, "libvirt gathers packets (coalesce) on bridges and its own networks only, so the setting is removed")
		coalesce.Remove()
	}
	p.dropFloor(nic, after, field)
}

// dropBackend takes away what belongs to passt, which serves no kind of source that the
// migrate data has, and to taps where there will be none.
func (p *planner) dropBackend(nic *xmltree.Node, after connection, field *place) {
	if forward := nic.Child("portForward"); forward != nil {
		p.warn(field, forward, "ports of the host are forwarded to the guest by passt, which does not serve this kind of source, so the settings are removed; if the guest must be reached by those ports, have the target's network see to it")
		forward.RemoveAll()
	}
	names := []string{"type", "logFile", "hostname", "fqdn"}
	if !isOneOf(after.kind, "bridge", "network", "ethernet") {
		names = append(names, "tap") // The node that taps are made of, not macvtaps.
	}
	dropAttrs(nic.Child("backend"), names)
}

// dropAddresses takes away addresses and routes, which libvirt sets for few kinds only.
func (p *planner) dropAddresses(nic *xmltree.Node, field *place) {
	if nic.Child("ip") != nil || nic.Child("route") != nil {
		p.warn(field, nic, "libvirt chooses the guest's address in user networking only, so the addresses and routes are removed; if the guest must keep its address, have the target's network give it to it")
		nic.Child("ip").RemoveAll()
		nic.Child("route").RemoveAll()
	}
	source := nic.Child("source")
	if source.Child("ip") != nil || source.Child("route") != nil {
		p.warn(field, source, "libvirt sets addresses and routes of the host's side on ethernet interfaces only, so they are removed; if the target needs them, set them there by other means")
		source.Child("ip").RemoveAll()
		source.Child("route").RemoveAll()
	}
}

// dropFloor takes away a rate that is guaranteed.
func (p *planner) dropFloor(nic *xmltree.Node, after connection, field *place) {
	bandwidth := nic.Child("bandwidth")
	if inbound := bandwidth.Child("inbound"); inbound.HasAttr("floor") && after.kind != "network" {
		p.warn(field, inbound, "libvirt guarantees a rate (floor) only on its own networks, so the setting is removed")
		if inbound.HasAttr("average") {
			inbound.RemoveAttr("floor")
		} else { // Nothing is left that libvirt could set.
			inbound.Remove()
			bandwidth.RemoveIfEmpty()
		}
	}
}

// dropAttrs removes attributes, and the element with them if it holds nothing else.
func dropAttrs(n *xmltree.Node, names []string) {
	if n != nil && hasOnly(n, names...) {
		n.Remove()
		return
	}
	for _, name := range names {
		n.RemoveAttr(name)
	}
}
