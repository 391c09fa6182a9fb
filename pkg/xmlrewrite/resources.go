package xmlrewrite

import (
	"strconv"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// planHostResources gives virtual CPUs their share of the target's caches and memory
// bandwidth, which libvirt names by the host's own numbers.
func planHostResources(p *planner) {
	want := p.numa()
	if want == nil {
		want = &v1alpha1.NUMAMigrateData{}
	}
	cputune := p.domain.Child("cputune")
	if cputune == nil && len(want.Caches)+len(want.MemoryBandwidthNodes) == 0 {
		return
	}
	p.mapNumbers(numberMap{"cachetune", "cache", "caches", "a cache"}, want.Caches)
	p.mapNumbers(numberMap{"memorytune", "node", "memoryBandwidthNodes", "the memory bandwidth of a node"}, want.MemoryBandwidthNodes)
}

// numberMap says where numbers of the host are.
type numberMap struct {
	parent, element string
	field           string
	what            string
}

// elements returns the elements of a guest that have such a number.
func (m numberMap) elements(d *guest) []*xmltree.Node {
	var found []*xmltree.Node
	for tune := d.Root.Child("cputune").Child(m.parent); tune != nil; tune = tune.NextSame() {
		found = append(found, tune.Children(m.element)...)
	}
	return found
}

// numbers returns the numbers that a guest has.
func (m numberMap) numbers(d *guest) map[int]bool {
	found := make(map[int]bool)
	for _, n := range m.elements(d) {
		if id, err := strconv.Atoi(n.Value("id")); err == nil {
			found[id] = true
		}
	}
	return found
}

// mapNumbers maps every number that the guest has. Where the guest has the targets and not
// all of the sources, that is done already.
func (p *planner) mapNumbers(m numberMap, mappings []v1alpha1.NumberMapping) {
	to, ok := p.checkNumbers(m, mappings)
	if !ok {
		return
	}
	here := m.numbers(p.doc)
	var unused []int
	for i, mapping := range mappings {
		if from := int(mapping.Source); !here[from] && !p.elsewhere(func(d *guest) bool { return m.numbers(d)[from] }) {
			unused = append(unused, i)
		}
	}
	if len(unused) > 0 && haveTargets(here, mappings) {
		return
	}
	for _, i := range unused {
		p.report(ProblemNotFound, placeOf(numaField+"."+m.field).entry(i).dot("source"), nil,
			"the guest has no share of "+m.what+" with this number; correct or remove the entry")
	}
	for _, n := range m.elements(p.doc) {
		id, err := strconv.Atoi(n.Value("id"))
		target, mapped := to[id]
		switch {
		case err == nil && mapped:
			if target != id {
				n.SetAttr("id", itoa(target))
			}
		default:
			p.report(ProblemMissingData, placeOf(numaField+"."+m.field), n,
				"the guest has a share of "+m.what+" of the source host, given by its number there; map that to the number on the target")
		}
	}
}

// haveTargets reports whether all numbers that the guest has are targets of the map.
func haveTargets(here map[int]bool, mappings []v1alpha1.NumberMapping) bool {
	targets := 0
	for _, mapping := range mappings {
		if here[int(mapping.Target)] {
			targets++
		}
	}
	return len(here) > 0 && targets == len(here)
}

// checkNumbers returns the map, which must be one to one.
func (p *planner) checkNumbers(m numberMap, mappings []v1alpha1.NumberMapping) (map[int]int, bool) {
	to, from := make(map[int]int, len(mappings)), make(map[int]int, len(mappings))
	before := len(p.problems)
	for i, mapping := range mappings {
		field := placeOf(numaField + "." + m.field).entry(i)
		if mapping.Source < 0 || mapping.Target < 0 {
			p.report(ProblemInvalidValue, field, nil, "numbers start at 0")
		}
		if _, twice := to[int(mapping.Source)]; twice {
			p.report(ProblemAmbiguous, field.dot("source"), nil, "another entry has the same source; remove one of the two")
		}
		if j, twice := from[int(mapping.Target)]; twice {
			p.report(ProblemConflict, field.dot("target"), nil, "entry "+itoa(j)+" has the same target; give each a target of its own")
		}
		to[int(mapping.Source)], from[int(mapping.Target)] = int(mapping.Target), i
	}
	return to, len(p.problems) == before
}
