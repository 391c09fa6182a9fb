package xmlrewrite

import "fmt"

// ReadTargetFacts reads what libvirt's capabilities of a host (virsh
// capabilities) say about it. The versions of cgroups and libvirt are not among it.
func ReadTargetFacts[Text ~string | ~[]byte](capabilities Text) (TargetFacts, error) {
	doc, err := parse(string(capabilities))
	if err != nil {
		return TargetFacts{}, Problems{{Kind: ProblemInvalidXML, Message: "the capabilities cannot be read: " + err.Error()}}
	}
	if doc.root.name != "capabilities" {
		return TargetFacts{}, Problems{{
			Kind: ProblemInvalidXML, Message: "the capabilities must have <capabilities> as their root element, as virsh capabilities prints them",
		}}
	}
	var nodes, online, all numberSet
	cell := doc.root.child("host").child("topology").child("cells").child("cell")
	for ; cell != nil; cell = cell.sibling() {
		nodes = nodes.with(cell.value("id"))
		for cpu := cell.child("cpus").child("cpu"); cpu != nil; cpu = cpu.sibling() {
			all = all.with(cpu.value("id"))
			if cpu.hasAttr("siblings") { // An offline CPU has none.
				online = online.with(cpu.value("id"))
			}
		}
	}
	if len(online) == 0 {
		online = all // Libvirt does not know this host's topology.
	}
	return TargetFacts{OnlineCPUs: online.normal().String(), NUMANodes: nodes.normal().String()}, nil
}

// libvirtBefore reports whether the host's libvirt is known to be older than this
// version.
func (f *TargetFacts) libvirtBefore(major, minor int) bool {
	var x, y int
	if _, err := fmt.Sscanf(f.LibvirtVersion, "%d.%d", &x, &y); err != nil {
		return false
	}
	return x < major || x == major && y < minor
}

// with adds the number that the text is, if it is one. The set is no longer in
// normal form.
func (s numberSet) with(text string) numberSet {
	if n, end, ok := parseNumber(text, 0); ok && end == len(text) {
		s = append(s, span{n, n})
	}
	return s
}
