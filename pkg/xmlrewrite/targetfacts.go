package xmlrewrite

import (
	"encoding/xml"
	"fmt"

	"libvirt.org/go/libvirtxml"
)

// ReadTargetFacts reads what libvirt's capabilities of a host (virsh
// capabilities) say about it. The versions of cgroups and libvirt are not among it.
// The error is [Problems].
func ReadTargetFacts[Text ~string | ~[]byte](capabilities Text) (TargetFacts, error) {
	// The rest of the capabilities does not matter, whatever newer versions put there.
	var host struct {
		XMLName  xml.Name                        `xml:"capabilities"`
		Topology libvirtxml.CapsHostNUMATopology `xml:"host>topology"`
	}
	if err := xml.Unmarshal([]byte(capabilities), &host); err != nil {
		return TargetFacts{}, Problems{{
			Kind:    ProblemInvalidXML,
			Message: "the capabilities cannot be read; give what virsh capabilities prints: " + err.Error(),
		}}
	}
	var nodes, online, all numberSet
	if cells := host.Topology.Cells; cells != nil {
		for _, cell := range cells.Cells {
			nodes = nodes.with(cell.ID)
			if cell.CPUS == nil {
				continue
			}
			for _, cpu := range cell.CPUS.CPUs {
				all = all.with(cpu.ID)
				if cpu.Siblings != "" { // An offline CPU has none.
					online = online.with(cpu.ID)
				}
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

// with adds a number, if a set can hold it. The set is no longer in normal form.
func (s numberSet) with(n int) numberSet {
	if n >= 0 && n <= maxSetNumber {
		s = append(s, span{n, n})
	}
	return s
}
