package agent

import (
	"context"
	"fmt"
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/pins"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// As many of each as the API takes in a guest's pinning.
const (
	maxGuestPins, maxGuestThreadPins, maxGuestCells, maxGuestCores = 512, 128, 64, 256
	// maxPinText bounds all that is told of a guest's pins, in bytes.
	maxPinText = 64 << 10
	// maxGuestCell is the highest number of a guest's cell.
	maxGuestCell = 1023
)

// pinningOf is what a guest is pinned to here, in either of its definitions; nil if that is
// nothing, if the user says what becomes of it, or if it cannot be told, so that the user has to
// say it.
func (s *sourceSession) pinningOf(ctx context.Context, definitions []hypervisor.DomainXML, hugePageBytes uint64) (*v1alpha1.GuestPinning, error) {
	if data := s.lm.Spec.MigrateData; data != nil && data.NUMA != nil {
		return nil, nil //nolint:nilnil // Nothing is to be told.
	}
	var all xmlrewrite.GuestPins
	for _, xml := range definitions {
		use, err := xmlrewrite.ReadHostUse(xml)
		if err != nil {
			return nil, s.unreadable(err)
		}
		all = xmlrewrite.JoinPins(all, use.Pins)
	}
	if all.Empty() {
		return nil, nil //nolint:nilnil // As above.
	}
	facts, err := s.hv.HostFacts(ctx, hypervisor.FactsCapabilities)
	if err != nil {
		return nil, fmt.Errorf("reading what the host has: %w", err)
	}
	if facts.Capabilities == nil {
		return nil, nil //nolint:nilnil // As above.
	}
	return tellPinning(&all, pinCells(facts.Capabilities.Cells), hugePageBytes), nil
}

// resourcesOf is what a guest will take of the target; nil where that is not known.
func (s *sourceSession) resourcesOf(ctx context.Context, definitions []hypervisor.DomainXML) (*v1alpha1.GuestResources, error) {
	out := resourcesOf(definitions, s.lm.Spec.MigrateData)
	var pageBytes uint64
	if out != nil && out.HugePages != nil {
		pageBytes = uint64(out.HugePages.SizeBytes) //nolint:gosec // Never negative.
	}
	pinning, err := s.pinningOf(ctx, definitions, pageBytes)
	if err != nil {
		return nil, err
	}
	devices, functions, err := s.devicesOf(ctx, definitions)
	if err != nil {
		return nil, err
	}
	if pinning == nil && len(devices)+len(functions) == 0 {
		return out, nil
	}
	if out == nil {
		out = &v1alpha1.GuestResources{}
	}
	out.Pinning, out.MediatedDevices, out.PCIDevices = pinning, devices, functions
	return out, nil
}

// tellPinning writes pins as the API has them; nil if they do not fit in, or are not all of
// these cells.
func tellPinning(all *xmlrewrite.GuestPins, cells []pins.Cell, hugePageBytes uint64) *v1alpha1.GuestPinning {
	if len(all.Cells) > maxGuestCells || !arePlain(all) {
		return nil
	}
	out := &v1alpha1.GuestPinning{
		VCPUPins: tellThreads(all.VCPUs), IOThreadPins: tellThreads(all.IOThreads),
		EmulatorCPUs: v1alpha1.CPUSet(all.Emulator), MemoryNodes: v1alpha1.CPUSet(all.MemoryNodes),
	}
	nodes, bindings := tellBindings(all, hugePageBytes)
	out.CellBindings = bindings
	p := pinsOfGuest(all)
	rest := p.AllCPUs()
	for _, cell := range cells {
		used := rest.And(cell.CPUs)
		if used.Empty() && !nodes.Has(cell.ID) {
			continue
		}
		rest, nodes = rest.Minus(used), nodes.Minus(pins.SetOf(cell.ID))
		out.HostCells = append(out.HostCells, tellCell(cell, used))
	}
	tooMany := len(out.VCPUPins) > maxGuestPins || len(out.IOThreadPins) > maxGuestThreadPins || len(out.HostCells) > maxGuestCells
	if tooMany || !rest.Empty() || !nodes.Empty() {
		return nil
	}
	return out
}

// tellBindings writes the bindings of memory, and returns all nodes in them.
func tellBindings(all *xmlrewrite.GuestPins, hugePageBytes uint64) (nodes pins.Set, bindings []v1alpha1.GuestCellBinding) {
	nodes, _ = pins.Parse(all.MemoryNodes)
	for _, c := range all.Cells {
		bound, _ := pins.Parse(c.Nodes)
		nodes = nodes.Or(bound)
		b := v1alpha1.GuestCellBinding{Cell: int32(c.Cell), HostNodes: v1alpha1.CPUSet(c.Nodes)} //nolint:gosec // By arePlain.
		if hugePageBytes > 0 {
			b.HugePages = bytesOf((c.MemoryBytes + hugePageBytes - 1) / hugePageBytes)
		}
		bindings = append(bindings, b)
	}
	return nodes, bindings
}

// arePlain reports whether all sets and numbers are such as the API takes.
func arePlain(all *xmlrewrite.GuestPins) bool {
	var sets []string
	for _, pin := range slices.Concat(all.VCPUs, all.IOThreads) {
		sets = append(sets, pin.CPUs)
	}
	for _, c := range all.Cells {
		if c.Cell < 0 || c.Cell > maxGuestCell {
			return false
		}
		sets = append(sets, c.Nodes)
	}
	for _, set := range []string{all.Emulator, all.MemoryNodes} {
		if set != "" {
			sets = append(sets, set)
		}
	}
	length := 0
	for _, set := range sets {
		length += len(set)
		if _, err := pins.Parse(set); err != nil || cpuSetOf(set) == "" || length > maxPinText {
			return false
		}
	}
	return true
}

func tellCell(cell pins.Cell, used pins.Set) v1alpha1.GuestHostCell {
	out := v1alpha1.GuestHostCell{ID: int32(cell.ID), CPUs: cpuSetOf(used.String())} //nolint:gosec // Libvirt's number.
	for _, core := range cell.Cores {
		threads := core.And(used)
		if threads.Count() > 1 && len(out.Cores) < maxGuestCores {
			out.Cores = append(out.Cores, v1alpha1.CPUSet(threads.String()))
		}
	}
	return out
}

// tellThreads gathers threads that are pinned to the same CPUs.
func tellThreads(all []xmlrewrite.ThreadPin) []v1alpha1.GuestPin {
	var order []string
	ids := map[string]pins.Set{}
	for _, pin := range all {
		set, known := ids[pin.CPUs]
		if !known {
			order = append(order, pin.CPUs)
		}
		set.Add(pin.ID)
		ids[pin.CPUs] = set
	}
	out := make([]v1alpha1.GuestPin, 0, len(order))
	for _, cpus := range order {
		out = append(out, v1alpha1.GuestPin{IDs: v1alpha1.CPUSet(ids[cpus].String()), HostCPUs: v1alpha1.CPUSet(cpus)})
	}
	return out
}
