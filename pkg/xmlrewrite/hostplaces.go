package xmlrewrite

import "strings"

// judgeHostReferences goes through the whole guest and looks each place up in
// the table of what can name something of the host: what is bound to the source
// is refused, and what is kept although it may depend on the host, or is not
// known, is warned about. What fields map is up to the other steps.
func judgeHostReferences(p *planner) {
	j := judge{planner: p, states: make([]refState, 1, 64)}
	j.states[0] = refState{node: &hostRefs().root}
	j.element(p.domain, 0)
}

// judge is on its way through a guest.
type judge struct {
	*planner
	states []refState // Where the elements from the root to the one at hand stand.
}

// element judges an element that stands at the states from there on.
func (j *judge) element(n *node, from int) {
	states := j.states[from:]
	known := false
	for _, s := range states {
		if s.node.all {
			return
		}
		known = known || s.node.known
	}
	if !known {
		j.unknown(n, "this element")
		return
	}
	if row := refRowOf(states, refElement, ""); row != nil {
		j.apply(row, n)
		if row.class == refBound {
			return
		}
	}
	j.places(n, states)
	for c := n.first; c != nil; c = c.next {
		if c.foreign || strings.Contains(c.name, ":") {
			j.unknown(c, "this element, which is not of libvirt's own language,")
			continue
		}
		to := len(j.states)
		j.states = statesOf(j.states, j.states[from:to], c.name, c)
		j.element(c, to)
		j.states = j.states[:to]
	}
}

// places judges the attributes and the text of an element. What one line of the
// table says of several of them is reported once.
func (j *judge) places(n *node, states []refState) {
	var told [2]*refRow
	for i := range n.attrs {
		if name := n.attrs[i].name; name != "xmlns" && !strings.HasPrefix(name, "xmlns:") {
			j.place(n, states, name, n.attrs[i].value, &told)
		}
	}
	if n.first != nil || n.closed {
		return
	}
	if text := j.doc.text(n); text != "" {
		j.place(n, states, refText, text, &told)
	}
}

func (j *judge) place(n *node, states []refState, name, value string, told *[2]*refRow) {
	switch row := refRowOf(states, name, value); {
	case row == nil && name == refText:
		j.unknown(n, "the text of this element")
	case row == nil:
		j.unknown(n, "the attribute "+name+" of this element")
	case row.class == refHarmless, row.class == refMapped, row == told[0], row == told[1]:
	default:
		told[0], told[1] = row, told[0]
		j.apply(row, n)
	}
}

// apply reports what a line of the table says.
func (j *judge) apply(row *refRow, n *node) {
	switch row.class {
	case refSame:
		j.keep(n, row.what+"; it is kept, so make sure that it is right on the target")
	case refBound:
		j.report(ProblemMissingData, nil, n, row.what)
	case refHarmless, refMapped:
	}
}

func (j *judge) unknown(n *node, what string) {
	j.keep(n, "Virtferry does not know "+what+" and keeps it; make sure that it is right on the target")
}

func (j *judge) keep(n *node, message string) {
	j.warnings = append(j.warnings, Problem{Kind: ProblemKeptAsIs, XMLPath: n.path(), Message: message})
}
