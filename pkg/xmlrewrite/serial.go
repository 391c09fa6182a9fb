package xmlrewrite

import (
	"cmp"
	"slices"
	"strconv"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const (
	serialAddressField = "serial.listenAddress"
	serialPortsField   = "serial.ports"
)

// serialListener is the source element of a serial port or console that waits
// for TCP connections.
type serialListener struct {
	source *xmltree.Node
	device *xmltree.Node
	index  int // The position in the list of ports; -1 if the guest has none.
}

// serialListeners returns the listeners of serial ports and consoles. Those
// that dial out (any mode but bind) are not among them: whom they call does
// not depend on the host they run on.
func serialListeners(doc *guest) []serialListener {
	var found []serialListener
	for _, name := range [...]string{"serial", "console"} {
		for _, device := range doc.devices(name) {
			if device.Value("type") != "tcp" {
				continue
			}
			index := -1
			if v, ok := device.Child("target").Attr("port"); ok {
				if n, err := strconv.ParseUint(v, 0, 16); err == nil {
					index = int(n)
				}
			}
			for _, source := range device.Children("source") {
				if source.Value("mode") == "bind" {
					found = append(found, serialListener{source, device, index})
				}
			}
		}
	}
	return found
}

// otherListeners returns the source elements of all other character devices that
// wait for TCP connections or UDP datagrams.
func otherListeners(doc *guest) []*xmltree.Node {
	var found []*xmltree.Node
	add := func(device *xmltree.Node) {
		if !isOneOf(device.Value("type"), "tcp", "udp") {
			return
		}
		for _, source := range device.Children("source") {
			if source.Value("mode") == "bind" {
				found = append(found, source)
			}
		}
	}
	for _, name := range [...]string{"serial", "console", "channel", "parallel", "redirdev", "smartcard", "rng"} {
		for _, device := range doc.devices(name) {
			switch name {
			case "serial", "console":
				if device.Value("type") == "udp" {
					add(device)
				}
			case "rng":
				for _, backend := range device.Children("backend") {
					add(backend)
				}
			default:
				add(device)
			}
		}
	}
	return found
}

// planSerial gives serial ports and consoles that listen on TCP the target's
// address and ports. The port of a device is found by its index in the guest.
// Other character devices that listen on the source's own address get the same
// address, and keep their ports.
func planSerial(p *planner) {
	user, offer := p.data.Serial, p.offer.Serial
	if user == nil {
		user = &v1alpha1.SerialMigrateData{}
	}
	if offer == nil {
		offer = &v1alpha1.SerialMigrateData{}
	}
	listeners := serialListeners(p.doc)
	p.reportUnknownSerials(user)
	p.moveListeners(listeners, user.ListenAddress, offer.ListenAddress)
	switch portsGood := p.checkPorts(user.Ports); {
	case !portsGood:
	case user.Ports != nil:
		p.rewriteSerialPorts(listeners, user.Ports)
	case offer.Ports != nil:
		p.rewriteSerialPorts(listeners, offer.Ports)
	case p.data.Serial != nil:
		p.rewriteSerialPorts(listeners, nil)
	default:
		p.warnOfKeptPorts(listeners)
	}
}

// warnOfKeptPorts warns of ports that neither the user nor the target gives.
func (p *planner) warnOfKeptPorts(listeners []serialListener) {
	for i, l := range listeners {
		mirrored := slices.ContainsFunc(listeners[:i], func(other serialListener) bool { return mirrors(l, other) })
		if l.source.Value("service") != "" && !mirrored {
			p.warn(placeOf(serialPortsField), l.source,
				"the "+l.device.Name+" device listens on a port of the host, which is kept; make sure that it is free on the target, or give another here")
		}
	}
}

// reportUnknownSerials reports an address and ports for which the guest has no device.
func (p *planner) reportUnknownSerials(user *v1alpha1.SerialMigrateData) {
	listens := func(d *guest) bool { return len(serialListeners(d))+len(otherListeners(d)) > 0 }
	if user.ListenAddress != nil && !listens(p.doc) && !p.elsewhere(listens) {
		p.report(ProblemNotFound, placeOf(serialAddressField), nil, "the guest has no character device that listens; remove the address")
	}
	for i := range user.Ports {
		has := func(d *guest) bool {
			return slices.ContainsFunc(serialListeners(d), func(l serialListener) bool { return l.index >= i })
		}
		if !has(p.doc) && !p.elsewhere(has) {
			p.report(ProblemNotFound, placeOf(serialPortsField).entry(i), nil, "the guest has no serial port with the index "+itoa(i)+" or above that listens on TCP; remove the entry")
			return
		}
	}
}

// moveListeners gives listeners their address. One that the user gives is for
// all serial ports and consoles; all else gets an address only instead of one
// that is the source host's own.
func (p *planner) moveListeners(listeners []serialListener, given, offered *string) {
	address := p.checkListenAddress(placeOf(serialAddressField), given)
	if given != nil && address == nil {
		return // Reported already.
	}
	for _, l := range listeners {
		if address != nil {
			l.source.SetAttr("host", *address)
		} else {
			p.moveListener(l.source, offered)
		}
	}
	for _, source := range otherListeners(p.doc) {
		p.moveListener(source, cmp.Or(address, offered))
	}
}

func (p *planner) checkPorts(ports []int32) bool {
	good := true
	for i, port := range ports {
		if port < 1 || port > 65535 {
			p.report(ProblemInvalidValue, placeOf(serialPortsField).entry(i), nil, "a port must be between 1 and 65535")
			good = false
		}
	}
	return good
}

// moveListener gives a character device another address to listen on if the one
// that it has is the source host's own.
func (p *planner) moveListener(source *xmltree.Node, address *string) {
	switch scopeOf(source.Value("host")) {
	case scopeUnset:
	case scopeAny, scopeLoopback:
		p.warn(placeOf(serialAddressField), source, "the "+source.Parent.Name+" device listens on a wildcard or loopback address, which is kept; give an address here to change it")
	case scopeHost:
		if address == nil {
			p.report(ProblemMissingData, placeOf(serialAddressField), source,
				"the "+source.Parent.Name+" device listens on an address of the source host; give the target's")
			return
		}
		source.SetAttr("host", *address)
	}
}

// rewriteSerialPorts assigns the ports. A serial port and the console that
// mirrors it share index and port; two devices that only share the index would
// collide on the target and are refused.
func (p *planner) rewriteSerialPorts(listeners []serialListener, ports []int32) {
	first := make(map[int]serialListener, len(listeners))
	owner := make(map[int32]int, len(listeners))
	for _, l := range listeners {
		switch {
		case l.index < 0:
			p.report(ProblemInvalidXML, placeOf(serialPortsField), l.device,
				"the serial port has no index (<target port='…'/>), by which its TCP port is found; give it one in the guest's definition")
			continue
		case l.index >= len(ports):
			p.report(ProblemMissingData, placeOf(serialPortsField), l.source,
				"this device, which has the index "+itoa(l.index)+", listens on a TCP port; give at least "+itoa(l.index+1)+" ports")
			continue
		}
		port := ports[l.index]
		field := placeOf(serialPortsField).entry(l.index)
		if other, ok := first[l.index]; ok && !mirrors(l, other) {
			p.report(ProblemAmbiguous, field, l.source,
				"two devices that listen on different TCP ports have this index; give one of them another index, or another type of source, in the guest's definition")
			continue
		} else if !ok {
			if i, taken := owner[port]; taken {
				p.report(ProblemConflict, field, l.source, "this port is given to the index "+itoa(i)+" already; choose another")
				continue
			}
			first[l.index], owner[port] = l, l.index
		}
		l.source.SetAttr("service", itoa(port))
		p.portsGiven[l.source] = port
	}
}

func mirrors(a, b serialListener) bool {
	return a.device.Name != b.device.Name &&
		a.source.Value("host") == b.source.Value("host") &&
		a.source.Value("service") == b.source.Value("service")
}
