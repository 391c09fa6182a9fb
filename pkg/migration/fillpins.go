package migration

import (
	"fmt"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/pins"
)

// As many pins as the API takes in a target's offer, and as much text of them, in bytes, as an
// object has room for beside everything else.
const maxVCPUPins, maxIOThreadPins, maxPinText = 4096, 1024, 256 << 10

// WantsPins reports whether the target is to choose what the guest is pinned to there.
func WantsPins(lm *v1alpha1.LiveMigration) bool {
	r := guestResources(lm)
	if r == nil || r.Pinning == nil {
		return false
	}
	return lm.Spec.MigrateData == nil || lm.Spec.MigrateData.NUMA == nil
}

// FillPins chooses the CPUs and NUMA nodes of a host for a guest. If there is no room, the
// message says what there is.
func FillPins(node string, r *v1alpha1.GuestResources, host *pins.Host) (numa *v1alpha1.TargetPins, problem string) {
	guest, cells, err := readPinning(r)
	if err != nil {
		return nil, fmt.Sprintf("What the source's agent tells of the guest's pins makes no sense: %s. Ask an administrator to check that agent, or give the guest's pins on %s in spec.migrateData.numa", err, node)
	}
	to, shortage := pins.Place(guest, cells, host)
	if shortage != nil {
		return nil, tellShortage(node, shortage)
	}
	numa = writePins(&to)
	length := 0
	for _, pin := range numa.VCPUPins {
		length += len(pin.HostCPUs)
	}
	for _, pin := range numa.IOThreadPins {
		length += len(pin.HostCPUs)
	}
	if len(numa.VCPUPins) > maxVCPUPins || len(numa.IOThreadPins) > maxIOThreadPins || length > maxPinText {
		return nil, fmt.Sprintf("The guest has more pins than can be filled in. Give those on %s in spec.migrateData.numa", node)
	}
	return numa, ""
}

func tellShortage(node string, s *pins.Shortage) string {
	needs, has := make([]string, 0, len(s.Needs)), make([]string, 0, len(s.Has))
	for _, r := range s.Needs {
		needs = append(needs, room(r, "CPUs that it shares"))
	}
	for _, r := range s.Has {
		has = append(has, fmt.Sprintf("%s in cell %d", room(r, "no CPU"), r.Cell))
	}
	const most = 8
	has = has[:min(len(has), most)]
	return fmt.Sprintf("The guest is pinned and keeps its NUMA shape, for which it needs %s, in a NUMA cell each. %s has, free of other guests that are pinned there or on their way: %s. "+
		"Choose another target, wait until there is room, or give the guest's pins on %[2]s in spec.migrateData.numa",
		strings.Join(needs, " and "), node, strings.Join(has, ", "))
}

// room tells CPUs and huge pages, and in given words of no CPU.
func room(r pins.Room, none string) string {
	out := fmt.Sprintf("%d CPUs", r.CPUs)
	switch r.CPUs {
	case 0:
		out = none
	case 1:
		out = "1 CPU"
	}
	if r.Pages > 0 {
		out += fmt.Sprintf(" with %d huge pages", r.Pages)
	}
	return out
}

// readPinning reads what the source's agent has told.
func readPinning(r *v1alpha1.GuestResources) (*pins.Pins, []pins.Cell, error) {
	p, read := r.Pinning, setReader{}
	out := &pins.Pins{
		VCPUs: read.pins(p.VCPUPins), IOThreads: read.pins(p.IOThreadPins),
		Emulator: read.set(p.EmulatorCPUs), Memory: read.set(p.MemoryNodes),
	}
	for _, b := range p.CellBindings {
		out.Bindings = append(out.Bindings, pins.Binding{Cell: int(b.Cell), Nodes: read.set(b.HostNodes), Pages: b.HugePages})
	}
	if r.HugePages != nil {
		out.Pages = r.HugePages.Count
	}
	cells := make([]pins.Cell, 0, len(p.HostCells))
	for _, c := range p.HostCells {
		cell := pins.Cell{ID: int(c.ID), CPUs: read.set(c.CPUs)}
		for _, core := range c.Cores {
			cell.Cores = append(cell.Cores, read.set(core))
		}
		cells = append(cells, cell)
	}
	return out, cells, read.err
}

// setReader reads sets and keeps the first error.
type setReader struct{ err error }

func (r *setReader) set(text v1alpha1.CPUSet) pins.Set {
	s, err := pins.Parse(string(text))
	if r.err == nil {
		r.err = err
	}
	return s
}

func (r *setReader) pins(all []v1alpha1.GuestPin) []pins.Pin {
	out := make([]pins.Pin, 0, len(all))
	for _, pin := range all {
		out = append(out, pins.Pin{IDs: r.set(pin.IDs), CPUs: r.set(pin.HostCPUs)})
	}
	return out
}

func writePins(p *pins.Pins) *v1alpha1.TargetPins {
	out := &v1alpha1.TargetPins{EmulatorPin: v1alpha1.CPUSet(p.Emulator.String()), MemoryNodes: v1alpha1.CPUSet(p.Memory.String())}
	for _, pin := range p.VCPUs {
		for id := range pin.IDs.All() {
			out.VCPUPins = append(out.VCPUPins, v1alpha1.VCPUPin{VCPU: int32(id), HostCPUs: v1alpha1.CPUSet(pin.CPUs.String())}) //nolint:gosec // Sets hold small numbers.
		}
	}
	slices.SortFunc(out.VCPUPins, func(a, b v1alpha1.VCPUPin) int { return int(a.VCPU - b.VCPU) })
	for _, pin := range p.IOThreads {
		for id := range pin.IDs.All() {
			out.IOThreadPins = append(out.IOThreadPins, v1alpha1.IOThreadPin{IOThread: int32(id), HostCPUs: v1alpha1.CPUSet(pin.CPUs.String())}) //nolint:gosec // As above.
		}
	}
	slices.SortFunc(out.IOThreadPins, func(a, b v1alpha1.IOThreadPin) int { return int(a.IOThread - b.IOThread) })
	for _, b := range p.Bindings {
		out.CellPins = append(out.CellPins, v1alpha1.CellPin{Cell: int32(b.Cell), HostNodes: v1alpha1.CPUSet(b.Nodes.String())}) //nolint:gosec // 1023 at most.
	}
	return out
}

// MigratePins are pins that the target has filled in as migrate data.
func MigratePins(p *v1alpha1.TargetPins) *v1alpha1.NUMAMigrateData {
	if p == nil {
		return nil
	}
	out := &v1alpha1.NUMAMigrateData{VCPUPins: p.VCPUPins, IOThreadPins: p.IOThreadPins, CellPins: p.CellPins}
	if p.EmulatorPin != "" {
		out.EmulatorPin = &p.EmulatorPin
	}
	if p.MemoryNodes != "" {
		out.MemoryNodes = &p.MemoryNodes
	}
	return out
}

// PinsOf reads pins of migrate data. What makes no sense in it counts as nothing: it is
// refused elsewhere.
func PinsOf(numa *v1alpha1.NUMAMigrateData) pins.Pins {
	var out pins.Pins
	if numa == nil {
		return out
	}
	var read setReader
	for _, v := range numa.VCPUPins {
		out.VCPUs = append(out.VCPUs, pins.Pin{IDs: pins.SetOf(int(v.VCPU)), CPUs: read.set(v.HostCPUs)})
	}
	for _, t := range numa.IOThreadPins {
		out.IOThreads = append(out.IOThreads, pins.Pin{IDs: pins.SetOf(int(t.IOThread)), CPUs: read.set(t.HostCPUs)})
	}
	if numa.EmulatorPin != nil {
		out.Emulator = read.set(*numa.EmulatorPin)
	}
	for _, c := range numa.CellPins {
		out.Bindings = append(out.Bindings, pins.Binding{Cell: int(c.Cell), Nodes: read.set(c.HostNodes)})
	}
	if numa.MemoryNodes != nil {
		out.Memory = read.set(*numa.MemoryNodes)
	}
	return out
}

// numaOf are the guest's pins on the target: the user's or, if there are none, the target's.
func numaOf(lm *v1alpha1.LiveMigration, offer *v1alpha1.TargetOffer) *v1alpha1.NUMAMigrateData {
	if data := lm.Spec.MigrateData; data != nil && data.NUMA != nil {
		return data.NUMA
	}
	if offer == nil {
		return nil
	}
	return MigratePins(offer.NUMA)
}

// TargetPins are what the guest is pinned to on the target, with the huge pages that its memory
// is in.
func TargetPins(lm *v1alpha1.LiveMigration, offer *v1alpha1.TargetOffer) pins.Pins {
	out := PinsOf(numaOf(lm, offer))
	r := guestResources(lm)
	if r == nil {
		return out
	}
	if r.HugePages != nil {
		out.Pages = r.HugePages.Count
	}
	if r.Pinning == nil {
		return out
	}
	for i := range out.Bindings {
		at := slices.IndexFunc(r.Pinning.CellBindings, func(b v1alpha1.GuestCellBinding) bool { return int(b.Cell) == out.Bindings[i].Cell })
		if at >= 0 {
			out.Bindings[i].Pages = r.Pinning.CellBindings[at].HugePages
		}
	}
	return out
}
