package agent

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/pins"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// partKind is what a part of a host is.
type partKind string

const (
	// ownCPU is a CPU that a guest has for itself, and sharedCPU one that it is pinned to with
	// others.
	ownCPU    partKind = "CPU"
	sharedCPU partKind = "shared CPU"
	mediated  partKind = "mediated device"
	pciDevice partKind = "PCI device"
)

// hostPart is a part of a host, by its kind and name, that guests are given.
type hostPart struct {
	kind partKind
	name string
}

// cpuParts are the CPUs that a guest is pinned to.
func cpuParts(p *pins.Pins) []hostPart {
	var parts []hostPart
	all, own := p.AllCPUs(), p.OwnCPUs()
	for cpu := range all.All() {
		kind := sharedCPU
		if own.Has(cpu) {
			kind = ownCPU
		}
		parts = append(parts, hostPart{kind, strconv.Itoa(cpu)})
	}
	return parts
}

// partsOf are the parts of the target that a guest is given there, by its user or by the
// target.
func partsOf(lm *v1alpha1.LiveMigration, offer *v1alpha1.TargetOffer) []hostPart {
	if migration.ChecksOnly(lm) {
		return nil
	}
	p := migration.TargetPins(lm, offer)
	parts := cpuParts(&p)
	for _, d := range givenDevices(lm, offer) {
		parts = append(parts, d.hostPart)
	}
	return parts
}

// givenDevice is a device of the host that a guest is given, and whether its user says so.
type givenDevice struct {
	hostPart
	byUser bool
}

func givenDevices(lm *v1alpha1.LiveMigration, offer *v1alpha1.TargetOffer) []givenDevice {
	devices, functions := migration.TargetDevices(lm, offer)
	out := make([]givenDevice, 0, len(devices)+len(functions))
	for _, d := range devices {
		out = append(out, givenDevice{hostPart{mediated, strings.ToLower(d.Name)}, d.ByUser})
	}
	for _, d := range functions {
		out = append(out, givenDevice{hostPart{pciDevice, xmlrewrite.PlainPCI(d.Name)}, d.ByUser})
	}
	return out
}

// keepParts restores the promise of parts of the host that an object tells of.
func (n *Node) keepParts(lm *v1alpha1.LiveMigration) {
	if section := migration.CurrentTarget(lm); section != nil && section.Offer != nil {
		n.parts.keep(lm.UID, partsOf(lm, section.Offer))
	}
}

// usedParts are what the guests of the host have.
func usedParts(uses []xmlrewrite.HostUse) map[hostPart]bool {
	used := map[hostPart]bool{}
	for _, use := range uses {
		p := pinsOfGuest(&use.Pins)
		for _, part := range cpuParts(&p) {
			used[part] = true
		}
		shared, _ := pins.Parse(use.Pins.Shared)
		for cpu := range shared.All() {
			used[hostPart{sharedCPU, strconv.Itoa(cpu)}] = true
		}
		for _, uuid := range use.MediatedDevices {
			used[hostPart{mediated, uuid}] = true
		}
		for _, address := range use.PCIDevices {
			used[hostPart{pciDevice, address}] = true
		}
	}
	return used
}

// droppedPerfEvents are the guest's events that this host cannot count, as far as that is known.
func (s *targetSession) droppedPerfEvents() []v1alpha1.PerfEvent {
	if s.node.Files.System == nil {
		return nil
	}
	return migration.DroppedPerfEvents(s.lm, hostfiles.PerfEvents(s.node.Files.System))
}

// fillsParts reports whether the guest is to be given parts of the host that no other guest has.
func (s *targetSession) fillsParts() bool {
	return migration.WantsPins(s.lm) || migration.WantsDevices(s.lm) || len(givenDevices(s.lm, nil)) > 0
}

// fill completes an offer by what of the host takes the place of what the guest has of its own,
// and that no other guest has or was promised.
func (s *targetSession) fill(ctx context.Context, uses []xmlrewrite.HostUse, offer *v1alpha1.TargetOffer) error {
	var host *pins.Host
	if migration.WantsPins(s.lm) {
		var err error
		if host, err = s.readPlaces(ctx); err != nil {
			return err
		}
	}
	var devices *hypervisor.HostDevices
	if migration.WantsDevices(s.lm) {
		facts, err := s.hv.HostFacts(ctx, hypervisor.FactsHostDevices)
		if err != nil {
			return fmt.Errorf("reading the devices of the host: %w", err)
		}
		devices = facts.Devices
	}
	used := usedParts(uses)
	return s.node.parts.choose(s.lm.UID, used, func() ([]hostPart, error) {
		problems := append(s.checkGiven(used), s.fillPins(host, used, offer))
		if err := allOf(append(problems, s.fillDevices(devices, used, offer)...)); err != nil {
			return nil, err
		}
		return partsOf(s.lm, offer), nil
	})
}

// checkGiven refuses devices that the user gives and another guest has, or was promised.
func (s *targetSession) checkGiven(used map[hostPart]bool) []error {
	var problems []error
	for _, d := range givenDevices(s.lm, nil) {
		if d.byUser && used[d.hostPart] {
			problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerHostDeviceTaken,
				"The %s %s of %s, which the migrate data give the guest, is another guest's there, or promised to one on its way. Create another LiveMigration that gives another one, or none, so that the agent chooses",
				d.kind, d.name, s.node.Name))
		}
	}
	return problems
}

// fillDevices chooses devices. It is called as fillPins is, and after it.
func (s *targetSession) fillDevices(have *hypervisor.HostDevices, used map[hostPart]bool, offer *v1alpha1.TargetOffer) []error {
	if have == nil {
		return nil
	}
	taken := map[string]bool{}
	for part, is := range used {
		if part.kind == mediated || part.kind == pciDevice {
			taken[part.name] = is
		}
	}
	for _, d := range givenDevices(s.lm, nil) {
		taken[d.name] = true
	}
	var problems []error
	for _, problem := range migration.FillDevices(s.node.Name, s.lm, have, taken, offer) {
		problems = append(problems, refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerHostDeviceMissing, "%s", problem))
	}
	return problems
}

// readPlaces reads the cells of the host; nil if they are not known.
func (s *targetSession) readPlaces(ctx context.Context) (*pins.Host, error) {
	groups := []hypervisor.FactGroup{hypervisor.FactsCapabilities}
	pages := migration.CurrentSource(s.lm).Guest.Resources.HugePages
	if pages != nil {
		groups = append(groups, hypervisor.FactsMemory)
	}
	facts, err := s.hv.HostFacts(ctx, groups...)
	if err != nil {
		return nil, fmt.Errorf("reading what the host has: %w", err)
	}
	if facts.Capabilities == nil || len(facts.Capabilities.Cells) == 0 {
		return nil, nil //nolint:nilnil // It is not known.
	}
	host := &pins.Host{Cells: pinCells(facts.Capabilities.Cells)}
	for i := range host.Cells {
		host.Cells[i].Pages = -1
		for _, m := range facts.Memory {
			if pages != nil && m.ID == host.Cells[i].ID {
				host.Cells[i].Pages = bytesOf(m.FreePages[uint64(pages.SizeBytes)]) //nolint:gosec // Positive by validation.
			}
		}
	}
	// What is configured has been read by ParseCPUs.
	host.Dedicated, _ = pins.Parse(s.node.Receive.DedicatedCPUs)
	host.Shared, _ = pins.Parse(s.node.Receive.SharedCPUs)
	return host, nil
}

// pinCells are a host's cells with the CPUs that are online.
func pinCells(cells []hypervisor.Cell) []pins.Cell {
	out := make([]pins.Cell, 0, len(cells))
	for _, c := range cells {
		cell := pins.Cell{ID: c.ID, CPUs: pins.SetOf(c.CPUs...).Minus(pins.SetOf(c.Offline...))}
		for _, core := range c.Cores {
			if len(core) > 1 {
				cell.Cores = append(cell.Cores, pins.SetOf(core...))
			}
		}
		out = append(out, cell)
	}
	return out
}

// fillPins chooses CPUs and NUMA nodes, with what is used by others noted in used. It is called
// with the promises of parts held, so that no two choose at once.
func (s *targetSession) fillPins(host *pins.Host, used map[hostPart]bool, offer *v1alpha1.TargetOffer) error {
	if host == nil {
		return nil
	}
	noteUsedCPUs(host, used)
	r := migration.CurrentSource(s.lm).Guest.Resources
	if r.HugePages != nil {
		taken := s.node.claims.cellPages(s.lm.UID, r.HugePages.SizeBytes)
		for i := range host.Cells {
			if cell := &host.Cells[i]; cell.ID < len(taken) && cell.Pages > 0 {
				cell.Pages -= min(cell.Pages, taken[cell.ID])
			}
		}
	}
	numa, problem := migration.FillPins(s.node.Name, r, host)
	if problem != "" {
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerCPUsInsufficient, "%s", problem)
	}
	offer.NUMA = numa
	if !migration.ChecksOnly(s.lm) {
		s.node.claims.place(s.lm.UID, cellPagesOf(s.lm, offer))
	}
	return nil
}

// noteUsedCPUs tells of a host which CPUs are taken.
func noteUsedCPUs(host *pins.Host, used map[hostPart]bool) {
	for part, is := range used {
		cpu, err := strconv.Atoi(part.name)
		if err != nil || part.kind != ownCPU && part.kind != sharedCPU || !is {
			continue
		}
		host.Used.Add(cpu)
		if part.kind == ownCPU {
			host.Alone.Add(cpu)
		}
	}
}

// cellPages are huge pages by the number of their cell, of as many cells as the API lists.
type cellPages [64]int64

// cellPagesOf are the huge pages of a guest by the cells of the target in which they are.
func cellPagesOf(lm *v1alpha1.LiveMigration, offer *v1alpha1.TargetOffer) cellPages {
	var out cellPages
	p := migration.TargetPins(lm, offer)
	for cell := range out {
		out[cell] = p.PagesOf(cell)
	}
	return out
}

// pinsOfGuest reads the pins of a definition.
func pinsOfGuest(g *xmlrewrite.GuestPins) pins.Pins {
	set := func(text string) pins.Set {
		s, _ := pins.Parse(text) // A number that is too high is none of this host's.
		return s
	}
	threads := func(all []xmlrewrite.ThreadPin) []pins.Pin {
		out := make([]pins.Pin, 0, len(all))
		for _, pin := range all {
			out = append(out, pins.Pin{IDs: pins.SetOf(pin.ID), CPUs: set(pin.CPUs)})
		}
		return out
	}
	return pins.Pins{VCPUs: threads(g.VCPUs), IOThreads: threads(g.IOThreads), Emulator: set(g.Emulator)}
}
