package xmlrewrite

import (
	"strconv"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const (
	numaField = "numa"
	maxVCPUs  = 1 << 14
)

// numa returns the data in force: the user's or, if there are none, the
// target's.
func (p *planner) numa() *v1alpha1.NUMAMigrateData {
	if p.data.NUMA != nil {
		return p.data.NUMA
	}
	return p.offer.NUMA
}

// planNUMA moves CPU pins, memory binding and the real-time scheduler to the
// target's CPUs and NUMA nodes. Each pin of the guest must be covered: a pin
// to the source's CPUs would be wrong on the target, or just not start.
func planNUMA(p *planner) {
	want := p.numa()
	cputune, numatune := p.domain.Child("cputune"), p.domain.Child("numatune")
	if want == nil {
		p.refuseStalePins(cputune, numatune)
		return
	}
	cpus, nodes := targetSet(p.target.OnlineCPUs), targetSet(p.target.NUMANodes)
	p.pinVCPUs(cputune, want, cpus)
	emulator := p.pinEmulator(cputune, want, cpus)
	p.pinIOThreads(cputune, want, emulator, cpus)
	p.bindMemory(numatune, want, nodes)
	p.scheduleRealtime(cputune, want.Realtime)
}

// refuseStalePins reports pins that nothing maps to the target.
func (p *planner) refuseStalePins(cputune, numatune *xmltree.Node) {
	refuse := func(at *xmltree.Node, what string) {
		if at == nil {
			return
		}
		p.report(ProblemMissingData, placeOf(numaField), at, what+" of the source host; give those of the target")
	}
	for _, name := range [...]string{"vcpupin", "emulatorpin", "iothreadpin"} {
		refuse(cputune.Child(name), "the guest is pinned to CPUs")
	}
	if memory := numatune.Child("memory"); memory.Value("nodeset") != "" {
		refuse(memory, "the guest's memory is bound to NUMA nodes")
	}
	refuse(numatune.Child("memnode"), "the guest's memory is bound to NUMA nodes")
	for _, device := range p.devices("memory") {
		refuse(device.Child("source").Child("nodemask"), "this memory device is bound to NUMA nodes")
	}
}

// vcpuCount returns how many virtual CPUs the guest can have; 0 if unknown.
func (g *guest) vcpuCount() int {
	count, err := strconv.Atoi(g.Root.Child("vcpu").Text())
	if err != nil || count < 1 || count > maxVCPUs {
		return 0
	}
	return count
}

// pin is one entry of a list of pins.
type pin struct {
	id   int
	set  numberSet // Nil if it was reported already.
	done bool
}

// pinList is a list of pins of one sort, as the migrate data have it.
type pinList struct {
	exists  func(d *guest, id int) bool // Whether a guest has what is to be pinned.
	element string                      // The element of a pin.
	key     string                      // Its attribute with the number of what is pinned.
	value   string                      // Its attribute with the set.
	field   string                      // The list in the migrate data.
	what    string                      // What is pinned.
	pins    []pin
	byID    map[int]int // From the number of what is pinned to its pin.
	broken  bool        // A problem was reported already.
}

func newPinList(element, key, value, field, what string, count int, exists func(*guest, int) bool) *pinList {
	return &pinList{
		exists:  exists,
		element: element, key: key, value: value, field: numaField + "." + field, what: what,
		pins: make([]pin, 0, count), byID: make(map[int]int, count),
	}
}

// addPin reads one entry of the migrate data. Numbers that neither definition of
// the guest can have are reported.
func (p *planner) addPin(l *pinList, i, id int, text, valueField, targetHas string, limit numberSet) {
	field := placeOf(l.field).entry(i)
	if !l.exists(p.doc, id) {
		if !p.elsewhere(func(d *guest) bool { return l.exists(d, id) }) {
			p.report(ProblemNotFound, field, nil, "the guest has no "+l.what+" "+itoa(id)+"; correct or remove the entry")
			l.broken = true
		}
		return
	}
	if _, twice := l.byID[id]; twice {
		p.report(ProblemAmbiguous, field, nil, "the list has another entry for this "+l.what+"; remove one of the two")
		l.broken = true
		return
	}
	set, ok := p.checkSet(field.dot(valueField), text, targetHas, limit)
	l.broken = l.broken || !ok
	l.byID[id] = len(l.pins)
	l.pins = append(l.pins, pin{id: id, set: set})
}

// applyPins writes the pins: those that the guest has must all be covered, those that it
// does not have yet are created by the function given if it is the user who wants them.
func (p *planner) applyPins(parent *xmltree.Node, l *pinList, create func(*pin)) {
	for c := parent.Child(l.element); c != nil; c = c.NextSame() {
		id, err := strconv.Atoi(c.Value(l.key))
		i, covered := l.byID[id]
		switch {
		case err != nil:
			p.report(ProblemInvalidXML, placeOf(l.field), c, "the pin does not say what it pins; take the XML from libvirt unchanged")
		case covered:
			want := &l.pins[i]
			want.done = true
			if want.set != nil {
				setNumbers(c, l.value, want.set)
			}
		case l.broken:
		default:
			p.report(ProblemMissingData, placeOf(l.field), c, "the guest's definition pins "+l.what+" "+itoa(id)+", and the list has no entry for it; add one")
		}
	}
	for i := range l.pins {
		if want := &l.pins[i]; !want.done && want.set != nil && p.data.NUMA != nil {
			create(want)
		}
	}
}

// addTuning adds an element to cputune, behind the last of its name.
func (p *planner) addTuning(e *xmltree.Elem) {
	if cputune := p.domain.Child("cputune"); cputune != nil {
		cputune.InsertBehind(cputune.LastChild(e.Name), e)
		return
	}
	p.domain.AppendIn("cputune", p.domain.Child("vcpu"), e)
}

func (p *planner) pinVCPUs(cputune *xmltree.Node, want *v1alpha1.NUMAMigrateData, cpus numberSet) {
	if len(want.VCPUPins) > 0 && p.doc.vcpuCount() == 0 {
		p.report(ProblemInvalidXML, placeOf(numaField+".vcpuPins"), p.domain,
			"the guest's XML does not say how many virtual CPUs there are; take it from libvirt unchanged")
		return
	}
	l := newPinList("vcpupin", "vcpu", "cpuset", "vcpuPins", "virtual CPU", len(want.VCPUPins), (*guest).hasVCPU)
	for i, v := range want.VCPUPins {
		p.addPin(l, i, int(v.VCPU), string(v.HostCPUs), "hostCPUs", "CPUs", cpus)
	}
	p.applyPins(cputune, l, func(missing *pin) {
		p.addTuning(xmltree.NewElem("vcpupin", "vcpu", itoa(missing.id), "cpuset", missing.set.String()))
	})
}

func (p *planner) pinEmulator(cputune *xmltree.Node, want *v1alpha1.NUMAMigrateData, cpus numberSet) numberSet {
	const field = numaField + ".emulatorPin"
	have := cputune.Child("emulatorpin")
	if want.EmulatorPin == nil {
		if have != nil {
			p.report(ProblemMissingData, placeOf(field), have, "the guest's emulator is pinned to CPUs of the source host; give those of the target")
		}
		return nil
	}
	set, ok := p.checkSet(placeOf(field), string(*want.EmulatorPin), "CPUs", cpus)
	switch {
	case !ok:
	case have != nil:
		setNumbers(have, "cpuset", set)
	case p.data.NUMA != nil:
		p.addTuning(xmltree.NewElem("emulatorpin", "cpuset", set.String()))
	}
	return set
}

// pinIOThreads pins every I/O thread that was pinned, not just the first.
func (p *planner) pinIOThreads(cputune *xmltree.Node, want *v1alpha1.NUMAMigrateData, emulator, cpus numberSet) {
	l := newPinList("iothreadpin", "iothread", "cpuset", "ioThreadPins", "I/O thread", len(want.IOThreadPins), (*guest).hasIOThread)
	if want.IOThreadPins == nil {
		if emulator == nil && want.EmulatorPin != nil {
			return // Reported already.
		}
		for c := cputune.Child("iothreadpin"); c != nil && emulator != nil; c = c.NextSame() {
			setNumbers(c, "cpuset", emulator)
		}
		if emulator != nil {
			return
		}
	}
	for i, t := range want.IOThreadPins {
		p.addPin(l, i, int(t.IOThread), string(t.HostCPUs), "hostCPUs", "CPUs", cpus)
	}
	p.applyPins(cputune, l, func(missing *pin) {
		p.addTuning(xmltree.NewElem("iothreadpin", "iothread", itoa(missing.id), "cpuset", missing.set.String()))
	})
}

func (g *guest) hasVCPU(id int) bool { return id >= 0 && id < g.vcpuCount() }

// hasIOThread reports whether the guest has the I/O thread. Those that are not
// listed have the lowest numbers that are left.
func (g *guest) hasIOThread(id int) bool {
	if id < 1 {
		return false
	}
	listed, below := 0, 0
	for t := g.Root.Child("iothreadids").Child("iothread"); t != nil; t = t.NextSame() {
		have, err := strconv.Atoi(t.Value("id"))
		switch {
		case err != nil:
			continue
		case have == id:
			return true
		case have < id:
			below++
		}
		listed++
	}
	count, err := strconv.Atoi(g.Root.Child("iothreads").Text())
	return err == nil && id-below <= count-listed
}
