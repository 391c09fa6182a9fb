package xmlrewrite

import (
	"strconv"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const portMappingsField = "portMappings"

// planPortMappings gives the character devices that serial does not map the ports on which
// they listen on the target.
func planPortMappings(p *planner) {
	mappings := p.data.PortMappings
	if !p.checkPortMappings(mappings) {
		return
	}
	used := make([]bool, len(mappings))
	for _, source := range otherListeners(p.doc) {
		if i, ok := mappedPort(mappings, source); ok {
			used[i] = true
			source.SetAttr("service", itoa(mappings[i].To))
			p.portsGiven[source] = mappings[i].To
		}
	}
	for i := range mappings {
		if used[i] || p.elsewhere(func(d *guest) bool { return listensOn(d, mappings, i) }) {
			continue
		}
		p.report(ProblemNotFound, placeOf(portMappingsField).entry(i).dot("from"), nil,
			"no character device of the guest listens on this port; correct or remove the entry, and use serial for serial ports on TCP")
	}
	p.comparePorts()
}

// comparePorts reports ports that two character devices would have on the target, of which
// the migrate data gives one at least. Of serial ports, one may mirror another; planSerial
// compares those.
func (p *planner) comparePorts() {
	type end struct {
		protocol, port string
	}
	at := func(source *xmltree.Node) end {
		if port, given := p.portsGiven[source]; given {
			return end{source.Parent.Value("type"), itoa(port)}
		}
		return end{source.Parent.Value("type"), source.Value("service")}
	}
	first := map[end]*xmltree.Node{}
	for _, l := range serialListeners(p.doc) {
		first[at(l.source)] = l.source
	}
	for _, source := range otherListeners(p.doc) {
		here := at(source)
		other, taken := first[here]
		_, given := p.portsGiven[source]
		// Those that share a port on the source listen on different addresses.
		if _, otherGiven := p.portsGiven[other]; taken && (given || otherGiven) {
			p.report(ProblemConflict, placeOf(portMappingsField), source,
				"another character device of the guest gets the port "+here.port+" on the target, too; map this one to another here")
		}
		first[here] = source
	}
}

// checkPortMappings reports what is wrong with the list in itself. A port that is mapped to
// one that is mapped in turn would be mapped again when the rewrite is repeated.
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
			case m.To == other.From:
				p.report(ProblemConflict, field.dot("to"), nil, "entry "+itoa(j)+" maps this port in turn; a port must not be mapped twice")
			case m.To == other.To && i > j:
				p.report(ProblemConflict, field.dot("to"), nil, "entry "+itoa(j)+" leads to the same port; choose another")
			}
		}
	}
	return len(p.problems) == before
}

// mappedPort returns the entry for the port of a listener: one that it has on the source or,
// from an earlier rewrite, on the target.
func mappedPort(mappings []v1alpha1.PortMapping, source *xmltree.Node) (int, bool) {
	port, err := strconv.ParseUint(source.Value("service"), 10, 16)
	if err != nil {
		return 0, false
	}
	for i, m := range mappings {
		if int32(port) == m.From {
			return i, true
		}
	}
	for i, m := range mappings {
		if int32(port) == m.To {
			return i, true
		}
	}
	return 0, false
}

// listensOn reports whether a character device listens on a port that an entry maps.
func listensOn(d *guest, mappings []v1alpha1.PortMapping, entry int) bool {
	for _, source := range otherListeners(d) {
		if i, ok := mappedPort(mappings, source); ok && i == entry {
			return true
		}
	}
	return false
}
