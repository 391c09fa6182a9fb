package xmlrewrite

import (
	"slices"
	"strings"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// judgeHostReferences goes through the whole guest and looks each place up in
// the table of what can name something of the host: what is bound to the source
// is refused, and what is kept although it may depend on the host, or is not
// known, is warned about. What fields map is up to the other steps, and what they
// remove or replace is not kept.
func judgeHostReferences(p *planner) {
	j := judge{planner: p, states: make([]refState, 1, 64), paths: p.pathMap()}
	j.states[0] = refState{node: &hostRefs().root}
	j.element(p.domain, 0)
	p.reportUnused(j.paths)
}

// judge is on its way through a guest.
type judge struct {
	*planner
	states []refState // Where the elements from the root to the one at hand stand.
	paths  *pathMap
	disks  diskDevices
	// only is set where the places are only to be looked at, whatever becomes of them.
	only func(row *refRow, n *xmltree.Node, place, value string)
}

// walkPlaces shows each place of a definition as it was read, with the line of the table
// about it, to a function.
func walkPlaces(domain *xmltree.Node, show func(row *refRow, n *xmltree.Node, place, value string)) {
	j := judge{planner: &planner{}, states: make([]refState, 1, 64), only: show}
	j.states[0] = refState{node: &hostRefs().root}
	j.element(domain, 0)
}

// element judges an element that stands at the states from there on.
func (j *judge) element(n *xmltree.Node, from int) {
	if j.only == nil && !n.Stays() {
		return
	}
	states := j.states[from:]
	if slices.ContainsFunc(states, func(s refState) bool { return s.node.all }) {
		return
	}
	if !slices.ContainsFunc(states, func(s refState) bool { return s.node.known }) {
		j.unknown(n, "this element")
		return
	}
	// What kind of device it was does not matter if it becomes another one.
	if row := refRowOf(states, refElement, ""); row != nil && !n.EditsAttr("type") {
		j.apply(row, n)
		if row.class == refBound {
			return
		}
	}
	j.places(n, states)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Foreign || strings.Contains(c.Name, ":") {
			j.unknown(c, "this element, which is not part of libvirt's own format,")
			continue
		}
		to := len(j.states)
		j.states = statesOf(j.states, j.states[from:to], c.Name, c)
		j.element(c, to)
		j.states = j.states[:to]
	}
}

// places judges the attributes and the text of an element. What one line of the
// table says of several of them is reported once.
func (j *judge) places(n *xmltree.Node, states []refState) {
	var told [2]*refRow
	for name, value := range n.Attrs() {
		if name != "xmlns" && !strings.HasPrefix(name, "xmlns:") && (j.only != nil || !n.EditsAttr(name)) {
			j.place(n, states, name, value, &told)
		}
	}
	if n.FirstChild != nil || j.only == nil && n.EditsText() {
		return
	}
	if text := n.Text(); text != "" {
		j.place(n, states, refText, text, &told)
	}
}

func (j *judge) place(n *xmltree.Node, states []refState, name, value string, told *[2]*refRow) {
	row := refRowOf(states, name, value)
	if j.only != nil {
		j.only(row, n, name, value)
		return
	}
	j.claimLimit(n, value)
	switch {
	case j.mapPath(row, n, name, value), name == "service" && j.givesPort(n):
	case row.isMapped() && j.disks.missLimit(n):
		j.warn(placeOf(pathMappingsField), n, "none of the guest's disks is on the block device that this limit is for; its path is kept, so make sure that it is right on the target, or map it here")
	case row == nil && name == refText:
		j.unknown(n, "the text of this element")
	case row == nil:
		j.unknown(n, "the attribute "+name+" of this element")
	case row.class == refHarmless, row.class == refMapped, row == told[0], row == told[1]:
	default:
		told[0], told[1] = row, told[0]
		if row.isHostPath(value) && !isServersName(n, name) {
			j.applyPath(row, n, value)
		} else {
			j.apply(row, n)
		}
	}
}

// givesPort reports whether a listener gets a port of the target's.
func (j *judge) givesPort(n *xmltree.Node) bool {
	_, given := j.portsGiven[n]
	return given
}

// claimLimit notes which block device the limit of none of the guest's disks will be of.
func (j *judge) claimLimit(n *xmltree.Node, value string) {
	if !j.disks.missLimit(n) {
		return
	}
	to, mapped, done := j.paths.to(value)
	c := claim{at: n.Parent}
	if mapped && done < 0 {
		c.field = j.paths.field(value)
	}
	j.claims(limitKey(to), c)
}

// mapPath gives a place its path on the target, if it holds one that the map has.
func (j *judge) mapPath(row *refRow, n *xmltree.Node, place, value string) bool {
	if !row.canMap(n, place, value, &j.disks) {
		return false
	}
	to, mapped, done := j.paths.to(value)
	switch {
	case !mapped:
	case done >= 0:
		j.warn(placeOf(pathMappingsField).entry(done), n,
			"the guest has no path that this entry maps, but one that it leads to; that is taken for what an earlier rewrite made, and kept, so make sure that from is right")
	case place == refText:
		n.SetText(to)
	default:
		n.SetAttr(place, to)
	}
	if mapped && done < 0 {
		j.claimPath(n, to, j.paths.field(value))
	} else {
		j.claimPath(n, to, nil)
	}
	return mapped
}

// claimPath notes what a path of the target will be used for, by an entry of the map or,
// without one, because it is kept.
func (j *judge) claimPath(n *xmltree.Node, to string, field *place) {
	switch {
	case j.disks.missLimit(n): // It is of a device that a disk may have.
	case n.Parent.Name == "console" && isOneOf(n.Parent.Child("target").Value("type"), "", "serial"): // It is a serial port once more.
	default:
		j.claims(pathKey(to), claim{field: field, at: n, shared: !isExclusive(n)})
	}
}

// isExclusive reports whether what an element names serves one device only: input devices,
// character devices, and sockets that QEMU makes.
func isExclusive(n *xmltree.Node) bool {
	return n.Name == "source" && (n.Parent.Name == "input" || n.Parent.Value("type") == "dev" || n.Value("mode") == "bind")
}

// applyPath reports what a line of the table says of a path, which can be mapped. Storage
// that each host names by itself is another one on the target.
func (j *judge) applyPath(row *refRow, n *xmltree.Node, value string) {
	switch {
	case row.class == refBound:
		j.report(ProblemMissingData, placeOf(pathMappingsField), n, row.what)
		return
	case isDiscovered(value):
		j.report(ProblemMissingData, placeOf(pathMappingsField), n,
			row.what+", on a block device that each host names by itself, so the name may be that of another disk on the target; map its path here, to itself if the name is right there, too")
		return
	}
	j.warn(placeOf(pathMappingsField), n, row.what+"; its path is kept, so make sure that it is right on the target, or map it here")
}

// apply reports what a line of the table says.
func (j *judge) apply(row *refRow, n *xmltree.Node) {
	switch row.class {
	case refSame:
		j.keep(n, row.what+"; it is kept, so make sure that it is right on the target")
	case refBound:
		what := row.what
		if row.paths {
			what += "; for that, take .. out of the path in the guest's definition, and have it start with a slash"
		}
		j.report(ProblemMissingData, nil, n, what)
	case refHarmless, refMapped:
	}
}

func (j *judge) unknown(n *xmltree.Node, what string) {
	j.keep(n, "Virtferry does not know "+what+" and keeps it; make sure that it is right on the target")
}

func (j *judge) keep(n *xmltree.Node, message string) {
	j.warnings = append(j.warnings, Problem{Kind: ProblemKeptAsIs, XMLPath: n.Path(), Message: message})
}
