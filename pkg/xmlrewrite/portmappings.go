package xmlrewrite

import (
	"strconv"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const portMappingsField = "portMappings"

// planPortMappings gives the character devices that serial does not map the ports on which
// they listen on the target, and compares them with those that it does map.
func planPortMappings(p *planner) {
	mappings := p.data.PortMappings
	if !p.checkPortMappings(mappings) {
		return
	}
	if len(mappings) > 0 {
		p.mapPorts(mappings)
	}
	p.comparePorts()
}

func (p *planner) mapPorts(mappings []v1alpha1.PortMapping) {
	m := newPortMap(mappings, p.listensOn)
	used := make([]bool, len(mappings))
	for _, source := range otherListeners(p.doc) {
		port, _ := listenPort(source)
		i, ok := m.entry(port)
		if !ok {
			continue
		}
		used[i] = true
		if m.isDone(i) {
			p.warn(placeOf(portMappingsField).entry(i).dot("from"), source,
				"no character device of the guest listens on the port "+itoa(mappings[i].From)+"; this one listens on "+itoa(port)+
					", and counts as mapped by an earlier rewrite. If there was none, correct from")
		}
		source.SetAttr("service", itoa(mappings[i].To))
		p.portsGiven[source] = mappings[i].To
	}
	for i, mapping := range mappings {
		if used[i] || p.elsewhere(func(d *guest) bool { return hasListener(d, mapping.From) || m.isDone(i) }) {
			continue
		}
		p.report(ProblemNotFound, placeOf(portMappingsField).entry(i).dot("from"), nil,
			"no character device of the guest listens on this port; correct or remove the entry, and use serial for serial ports on TCP")
	}
}

// listensOn reports whether a character device of either of the guest's definitions listens
// on a port.
func (p *planner) listensOn(port int32) bool {
	return hasListener(p.doc, port) || p.other != nil && hasListener(p.other, port)
}

// portMap maps ports. All is decided on the original ports, so entries may swap them and
// pass them on.
type portMap struct {
	mappings []v1alpha1.PortMapping
	byFrom   map[int32]int
	byTo     map[int32]int
	rings    []bool // By entry: whether its port comes back to it.
	done     bool   // Whether the guest looks as it does when all but the rings has been mapped.
}

// newPortMap returns the map for a guest. Where nothing is left to map, but all that is
// mapped to is there, an earlier rewrite has done it, which is then not done again. A
// ring looks the same before and after, so this cannot be told of rings.
func newPortMap(mappings []v1alpha1.PortMapping, there func(port int32) bool) *portMap {
	m := &portMap{mappings: mappings, byFrom: map[int32]int{}, byTo: map[int32]int{}, rings: make([]bool, len(mappings))}
	for i, mapping := range mappings {
		m.byFrom[mapping.From], m.byTo[mapping.To] = i, i
	}
	for i, mapping := range mappings {
		m.rings[i] = m.comesBack(mapping)
		m.done = m.done || !m.rings[i]
	}
	for i, mapping := range mappings {
		_, passedOn := m.byTo[mapping.From]
		if !m.rings[i] && (!there(mapping.To) || !passedOn && there(mapping.From)) {
			m.done = false
		}
	}
	return m
}

// comesBack reports whether the entries that follow one another from here lead back.
func (m *portMap) comesBack(start v1alpha1.PortMapping) bool {
	port := start.To
	for range m.mappings {
		if port == start.From {
			return true
		}
		i, ok := m.byFrom[port]
		if !ok {
			return false
		}
		port = m.mappings[i].To
	}
	return false
}

// isDone reports whether an earlier rewrite has mapped the port of an entry.
func (m *portMap) isDone(i int) bool { return m.done && !m.rings[i] }

// entry returns the entry for a port on which a device listens.
func (m *portMap) entry(port int32) (int, bool) {
	if i, ok := m.byTo[port]; ok && m.isDone(i) {
		return i, true
	}
	i, ok := m.byFrom[port]
	return i, ok && !m.isDone(i)
}

// listening is a port on which one of the guest's devices will listen on the target.
type listening struct{ protocol, port string }

// listeningOn returns where a character device will listen.
func (p *planner) listeningOn(source *xmltree.Node) listening {
	if port, given := p.portsGiven[source]; given {
		return listening{source.Parent.Value("type"), itoa(port)}
	}
	return listening{source.Parent.Value("type"), source.Value("service")}
}

// comparePorts reports ports that two devices would have on the target: because the migrate
// data gives one of them, or because both get an address of the target's, where they had
// different ones. Of serial ports, one may mirror another; planSerial compares those.
func (p *planner) comparePorts() {
	consoles := make(map[listening]*xmltree.Node) // The graphics.
	for _, g := range p.devices("graphics") {
		for _, name := range fixedPorts(g) {
			if !g.EditsAttr(name) {
				consoles[listening{"tcp", g.Value(name)}] = g
			}
		}
	}
	const another = "; give this one another here"
	serials, others := make(map[listening]*xmltree.Node), make(map[listening]*xmltree.Node)
	for _, l := range serialListeners(p.doc) {
		here := p.listeningOn(l.source)
		if p.portsMeet(l.source, consoles[here]) {
			p.report(ProblemConflict, placeOf(serialPortsField), l.source, "the guest's graphics have the port "+here.port+" on the target, too"+another)
		}
		serials[here] = l.source
	}
	for _, source := range otherListeners(p.doc) {
		field, here := placeOf(portMappingsField), p.listeningOn(source)
		switch first := others[here]; {
		case p.portsMeet(source, consoles[here]):
			p.report(ProblemConflict, field, source, "the guest's graphics have the port "+here.port+" on the target, too"+another)
		case p.portsMeet(source, first) && source.Value("service") == first.Value("service"):
			p.report(ProblemConflict, field, source,
				"this device and "+first.Parent.Path()+" listen on one port of two addresses, and would listen on the same address of the target; give one of them another port in the guest's definition")
		case p.portsMeet(source, first), p.portsMeet(source, serials[here]):
			p.report(ProblemConflict, field, source, "another character device of the guest gets the port "+here.port+" on the target, too"+another)
		default:
			others[here] = source
		}
	}
}

// portsMeet reports whether a device and another one with the same port, which may be nil,
// cannot both have it, and the migrate data or what the target offers is why.
func (p *planner) portsMeet(source, other *xmltree.Node) bool {
	_, given := p.portsGiven[source]
	_, otherGiven := p.portsGiven[other]
	return other != nil && source.Value("service") != "" && (given || otherGiven || isMoved(source) && isMoved(other))
}

// isMoved reports whether a character device, or graphics, get another address to listen on.
func isMoved(listener *xmltree.Node) bool {
	listen := listener.Child("listen")
	return listener.EditsAttr("host") || listener.EditsAttr("listen") || listen != nil && listen.EditsAttr("address")
}

// checkPortMappings reports what is wrong with the list in itself.
func (p *planner) checkPortMappings(mappings []v1alpha1.PortMapping) bool {
	before := len(p.problems)
	for i, m := range mappings {
		field := placeOf(portMappingsField).entry(i)
		for _, end := range [...]struct {
			name string
			port int32
		}{{"from", m.From}, {"to", m.To}} {
			if end.port < 1 || end.port > 65535 {
				p.report(ProblemInvalidValue, field.dot(end.name), nil, "this must be a port from 1 to 65535")
			}
		}
		for j, other := range mappings {
			switch {
			case i == j:
			case m.From == other.From && i > j:
				p.report(ProblemAmbiguous, field.dot("from"), nil, "entry "+itoa(j)+" has the same port; remove one of the two")
			case m.To == other.To && i > j:
				p.report(ProblemConflict, field.dot("to"), nil, "entry "+itoa(j)+" leads to the same port; choose another")
			}
		}
	}
	return len(p.problems) == before
}

// listenPort returns the port on which a source element says to listen, if that is a number.
func listenPort(source *xmltree.Node) (int32, bool) {
	port, err := strconv.ParseUint(source.Value("service"), 10, 16)
	return int32(port), err == nil
}

// hasListener reports whether a character device that serial does not map listens on a port.
func hasListener(d *guest, port int32) bool {
	for _, source := range otherListeners(d) {
		if at, ok := listenPort(source); ok && at == port {
			return true
		}
	}
	return false
}
