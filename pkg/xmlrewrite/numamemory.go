package xmlrewrite

import (
	"slices"
	"strconv"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// bindMemory binds the memory of the guest's NUMA cells, and of its memory as
// a whole, to the target's NUMA nodes. Nodes of the guest, as in its huge page
// settings, are another thing and stay.
func (p *planner) bindMemory(numatune *xmltree.Node, want *v1alpha1.NUMAMigrateData, nodes numberSet) {
	l := newPinList("memnode", "cellid", "nodeset", "cellPins", "NUMA cell", len(want.CellPins), (*guest).hasCell)
	var union numberSet
	for i, c := range want.CellPins {
		p.addPin(l, i, int(c.Cell), string(c.HostNodes), "hostNodes", "NUMA nodes", nodes)
	}
	for i := range l.pins {
		union = append(union, l.pins[i].set...)
	}
	union = union.normal()
	memory := numatune.Child("memory")
	bindable := p.inactive || numatune.Child("memnode") != nil || p.hasCellBackends()
	p.applyPins(numatune, l, func(missing *pin) {
		switch {
		case bindable:
		case p.hasBoundDevice(missing.id), p.elsewhere(func(d *guest) bool { return d.bindsCell(missing.id) }):
			return // The entry is for the device alone, or for the persistent definition.
		default:
			p.report(ProblemConflict, placeOf(l.field), p.domain,
				"none of the guest's NUMA cells is bound to nodes, and with its machine type they cannot be bound while it runs; remove the entry for cell "+itoa(missing.id))
			return
		}
		mode := memory.Value("mode")
		if mode == "" {
			mode = "strict"
		}
		if memory.Value("placement") == "auto" {
			p.report(ProblemConflict, placeOf(l.field), memory,
				"libvirt chooses the guest's NUMA nodes (placement auto), which cannot be combined with binding cells; remove the entry")
			return
		}
		p.addMemoryBinding(xmltree.NewElem("memnode", "cellid", itoa(missing.id), "mode", mode, "nodeset", missing.set.String()))
	})
	p.bindWholeMemory(memory, want, union, l.broken, nodes)
	p.bindMemoryDevices(l, want.MemoryNodes, nodes)
}

func (p *planner) addMemoryBinding(e *xmltree.Elem) {
	behind := p.domain.Child("cputune")
	if behind == nil {
		behind = p.domain.Child("vcpu")
	}
	p.domain.AppendIn("numatune", behind, e)
}

// bindWholeMemory sets the nodes of the guest's memory as a whole.
func (p *planner) bindWholeMemory(memory *xmltree.Node, want *v1alpha1.NUMAMigrateData, union numberSet, broken bool, nodes numberSet) {
	const field = numaField + ".memoryNodes"
	set := union
	if want.MemoryNodes != nil {
		var ok bool
		if set, ok = p.checkSet(placeOf(field), string(*want.MemoryNodes), "NUMA nodes", nodes); !ok {
			return
		}
	}
	if _, bound := memory.Attr("nodeset"); bound {
		p.moveWholeMemory(memory, set, broken)
		return
	}
	switch {
	case want.MemoryNodes == nil, p.data.NUMA == nil, p.hasDeviceWithoutCell(): // They are for the device alone.
	case memory == nil:
		p.addMemoryBinding(xmltree.NewElem("memory", "mode", "strict", "nodeset", set.String()))
	case memory.Value("placement") == "auto":
		p.report(ProblemConflict, placeOf(field), memory, "libvirt chooses the guest's NUMA nodes (placement auto); remove memoryNodes")
	default:
		setNumbers(memory, "nodeset", set)
	}
}

// moveWholeMemory moves memory that is bound already.
func (p *planner) moveWholeMemory(memory *xmltree.Node, set numberSet, broken bool) {
	const field = numaField + ".memoryNodes"
	switch {
	case set != nil:
		setNumbers(memory, "nodeset", set)
	case broken: // Reported already.
	default:
		p.report(ProblemMissingData, placeOf(field), memory, "the guest's memory is bound to NUMA nodes of the source host; give those of the target")
	}
}

// bindMemoryDevices moves memory devices that are bound to nodes of their own
// to where the cell they belong to goes. Those that belong to none go to where
// the memory as a whole does.
func (p *planner) bindMemoryDevices(l *pinList, memoryNodes *v1alpha1.CPUSet, nodes numberSet) {
	for _, device := range p.devices("memory") {
		mask := device.Child("source").Child("nodemask")
		if mask == nil {
			continue
		}
		field, message := placeOf(l.field), "this memory device is bound to NUMA nodes of the source host; add an entry for the cell that it belongs to, with those of the target"
		var to numberSet
		if id, inCell := p.cellOf(device); inCell {
			if i, covered := l.byID[id]; covered {
				to = l.pins[i].set
			}
		} else {
			field, message = placeOf(numaField+".memoryNodes"), "this memory device is bound to NUMA nodes of the source host, and belongs to no cell; give those of the target"
			if memoryNodes != nil {
				var ok bool
				if to, ok = goodSet(string(*memoryNodes), nodes); !ok {
					continue // Reported already.
				}
			}
		}
		switch {
		case to != nil:
			if have, ok := parseSet(mask.Text()); !ok || !have.equal(to) {
				mask.SetText(to.String())
			}
		case l.broken:
		default:
			p.report(ProblemMissingData, field, mask, message)
		}
	}
}

// cellOf returns the cell of the guest that a memory device belongs to.
func (p *planner) cellOf(device *xmltree.Node) (int, bool) {
	id, err := strconv.Atoi(device.Child("target").Child("node").Text())
	return id, err == nil
}

// hasBoundDevice reports whether a memory device of the cell is bound to nodes.
func (p *planner) hasBoundDevice(cell int) bool {
	for _, device := range p.devices("memory") {
		if device.Child("source").Child("nodemask") == nil {
			continue
		}
		if id, inCell := p.cellOf(device); inCell && id == cell {
			return true
		}
	}
	return false
}

// hasDeviceWithoutCell reports whether a memory device that belongs to no cell is bound to
// nodes.
func (p *planner) hasDeviceWithoutCell() bool {
	return slices.ContainsFunc(p.devices("memory"), func(device *xmltree.Node) bool {
		_, inCell := p.cellOf(device)
		return !inCell && device.Child("source").Child("nodemask") != nil
	})
}

// hasCellBackends reports whether QEMU has a memory object for each NUMA cell of
// the guest even if none is bound. Without, the memory is one object, and what
// is bound on the target only does not fit what the source sends. It is so since
// version 5.1 of the machine types that QEMU itself names, and with memory that
// is in files or huge pages.
func (p *planner) hasCellBackends() bool {
	backing := p.domain.Child("memoryBacking")
	if source := backing.Child("source").Value("type"); backing.Child("hugepages") != nil || source == "file" || source == "memfd" {
		return true
	}
	machine := p.domain.Child("os").Child("type").Value("machine")
	major, minor, ok := strings.Cut(machine[strings.LastIndexByte(machine, '-')+1:], ".")
	if !ok {
		return false
	}
	x, errX := strconv.Atoi(major)
	y, errY := strconv.Atoi(minor)
	return errX == nil && errY == nil && (x > 5 || (x == 5 && y >= 1))
}

// guestCells returns the numbers of the guest's NUMA cells.
func (g *guest) guestCells() []int {
	if g.cells != nil {
		return g.cells
	}
	g.cells = []int{}
	for cell := g.Root.Child("cpu").Child("numa").Child("cell"); cell != nil; cell = cell.NextSame() {
		id := len(g.cells)
		if n, err := strconv.Atoi(cell.Value("id")); err == nil {
			id = n
		}
		g.cells = append(g.cells, id)
	}
	return g.cells
}

func (g *guest) hasCell(id int) bool { return slices.Contains(g.guestCells(), id) }

// bindsCell reports whether the guest's definition binds the memory of a cell.
func (g *guest) bindsCell(id int) bool {
	for m := g.Root.Child("numatune").Child("memnode"); m != nil; m = m.NextSame() {
		if m.Value("cellid") == itoa(id) {
			return true
		}
	}
	return false
}

// scheduler is a scheduling policy and its priority.
type scheduler struct{ policy, priority string }

// scheduleRealtime sets which virtual CPUs run under a real-time scheduler.
// libvirt writes one element per virtual CPU, so the whole list is compared
// and, if it has to change, replaced by one element.
func (p *planner) scheduleRealtime(cputune *xmltree.Node, want *v1alpha1.RealtimeMigrateData) {
	const field = numaField + ".realtime"
	if want == nil {
		return
	}
	have := cputune.Children("vcpusched")
	if want.VCPUs == nil || want.Priority == nil {
		p.removeRealtime(cputune, have, want)
		return
	}
	set, ok := p.checkRealtime(want)
	policy, known := p.schedulerPolicy(have, want.Policy, placeOf(field+".policy"))
	if !ok || !known || p.scheduled(have, set, scheduler{policy, itoa(*want.Priority)}) {
		return
	}
	for _, s := range have {
		s.Remove()
	}
	p.addTuning(xmltree.NewElem("vcpusched", "vcpus", set.String(), "scheduler", policy, "priority", itoa(*want.Priority)))
}

// checkRealtime checks the virtual CPUs and the priority, and returns the former.
func (p *planner) checkRealtime(want *v1alpha1.RealtimeMigrateData) (numberSet, bool) {
	const field = numaField + ".realtime"
	set, ok := p.checkSet(placeOf(field+".vcpus"), string(*want.VCPUs), "virtual CPUs", nil)
	if ok && !p.inactive && set.highest() >= p.doc.vcpuCount() {
		p.report(ProblemNotFound, placeOf(field+".vcpus"), nil, "the guest does not have all of these virtual CPUs; list only those that it has")
		ok = false
	}
	if *want.Priority < 1 || *want.Priority > 99 {
		p.report(ProblemInvalidValue, placeOf(field+".priority"), nil, "a priority must be between 1 and 99")
		ok = false
	}
	return set, ok
}

// removeRealtime takes virtual CPUs off the real-time scheduler, if that is
// what the data say.
func (p *planner) removeRealtime(cputune *xmltree.Node, have []*xmltree.Node, want *v1alpha1.RealtimeMigrateData) {
	if want.VCPUs != nil || want.Priority != nil || want.Policy != nil {
		p.report(ProblemMissingData, placeOf(numaField+".realtime"), nil, "give vcpus and priority together, or neither for no real-time scheduler")
		return
	}
	for _, s := range have {
		s.Remove()
	}
	if len(have) > 0 {
		cputune.RemoveIfEmpty()
	}
}

// schedulerPolicy keeps the guest's policy unless another is given.
func (p *planner) schedulerPolicy(have []*xmltree.Node, want *v1alpha1.SchedulerPolicy, field *place) (string, bool) {
	if want != nil {
		return string(*want), p.checkOneOf(field, string(*want), "fifo", "rr")
	}
	if len(have) == 0 {
		return string(v1alpha1.SchedulerFIFO), true
	}
	policy := have[0].Value("scheduler")
	for _, s := range have {
		if v := s.Value("scheduler"); v != policy || (v != "fifo" && v != "rr") {
			p.report(ProblemAmbiguous, field, s, "the guest's scheduling policies differ or are not real-time; say fifo or rr")
			return "", false
		}
	}
	return policy, true
}

// scheduled reports whether exactly these virtual CPUs have this scheduler.
func (p *planner) scheduled(have []*xmltree.Node, set numberSet, want scheduler) bool {
	var union numberSet
	for _, s := range have {
		vcpus, ok := parseSet(s.Value("vcpus"))
		if !ok || s.Value("scheduler") != want.policy || s.Value("priority") != want.priority {
			return false
		}
		union = append(union, vcpus...)
	}
	return union.normal().equal(set)
}
