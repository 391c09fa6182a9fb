package libvirt

import (
	"cmp"
	"encoding/xml"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// libvirt's words.
const (
	yes, hvm   = "yes", "hvm"
	requires   = "require"
	disables   = "disable"
	hostModel  = "host-model"
	maximum    = "maximum"
	dacModel   = "dac"
	kvm        = "kvm"
	defaultNAT = "nat"
)

// errNoXML says that libvirt's XML is none, without quoting it.
var errNoXML = errors.New("libvirt's XML is malformed")

// parse reads a document of libvirt's.
func parse(document string, into any) error {
	if xml.Unmarshal([]byte(document), into) != nil {
		return errNoXML
	}
	return nil
}

// parseCapabilities reads what virConnectGetCapabilities returns.
func parseCapabilities(document string) (*hypervisor.HostCapabilities, error) {
	var caps libvirtxml.Caps
	if err := parse(document, &caps); err != nil {
		return nil, err
	}
	out := &hypervisor.HostCapabilities{Emulator: emulatorUser(caps.Host.SecModel)}
	if cpu := caps.Host.CPU; cpu != nil {
		out.CPU = hypervisor.HostCPU{Architecture: cpu.Arch, Model: cpu.Model, Vendor: cpu.Vendor}
		for _, f := range cpu.FeatureFlags {
			out.CPU.Features = append(out.CPU.Features, f.Name)
		}
	}
	if numa := caps.Host.NUMA; numa != nil && numa.Cells != nil {
		for _, c := range numa.Cells.Cells {
			out.Cells = append(out.Cells, cell(c))
		}
	}
	out.Architectures = architectures(caps.Guests, out.CPU.Architecture)
	return out, nil
}

// emulatorUser returns whom emulators belong to unless a domain says something else.
func emulatorUser(models []libvirtxml.CapsHostSecModel) *hypervisor.EmulatorUser {
	for _, m := range models {
		if m.Name != dacModel {
			continue
		}
		for _, label := range m.Labels {
			// Numbers are written with a sign, for names may consist of digits.
			user, group, ok := strings.Cut(label.Value, ":")
			uid, errU := strconv.ParseUint(strings.TrimPrefix(user, "+"), 10, 32)
			gid, errG := strconv.ParseUint(strings.TrimPrefix(group, "+"), 10, 32)
			if ok && errU == nil && errG == nil {
				return &hypervisor.EmulatorUser{UID: uint32(uid), GID: uint32(gid)}
			}
		}
	}
	return nil
}

func cell(c libvirtxml.CapsHostNUMACell) hypervisor.Cell {
	out := hypervisor.Cell{ID: c.ID}
	if c.Memory != nil {
		out.MemoryBytes = inBytes(c.Memory.Size, c.Memory.Unit)
	}
	if c.CPUS != nil {
		readCores(&out, c.CPUS.CPUs)
	}
	for _, p := range c.PageInfo {
		if p.Size > 0 {
			out.HugePages = append(out.HugePages, hypervisor.HugePages{SizeBytes: inBytes(uint64(p.Size), p.Unit), Total: p.Count})
		}
	}
	slices.SortFunc(out.HugePages, func(a, b hypervisor.HugePages) int { return cmp.Compare(a.SizeBytes, b.SizeBytes) })
	if len(out.HugePages) > 0 {
		out.HugePages = out.HugePages[1:] // The smallest are ordinary.
	}
	return out
}

// readCores reads the CPUs of a cell. Libvirt tells of those that are online with which other
// threads they are on a core; where it tells of none, it does not know the host's topology.
func readCores(cell *hypervisor.Cell, cpus []libvirtxml.CapsHostNUMACPU) {
	known := map[string]bool{}
	for _, cpu := range cpus {
		cell.CPUs = append(cell.CPUs, cpu.ID)
		switch {
		case cpu.Siblings == "":
			cell.Offline = append(cell.Offline, cpu.ID)
		case !known[cpu.Siblings]:
			known[cpu.Siblings] = true
			cell.Cores = append(cell.Cores, cpuNumbers(cpu.Siblings))
		}
	}
	slices.Sort(cell.CPUs)
	slices.Sort(cell.Offline)
	if len(cell.Cores) == 0 {
		cell.Offline = nil
	}
}

// cpuNumbers reads a list of CPUs as in 0-3,8; nil if it makes no sense.
func cpuNumbers(text string) []int {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, errLow := strconv.ParseUint(first, 10, 13)
		high, errHigh := strconv.ParseUint(last, 10, 13)
		if errLow != nil || errHigh != nil {
			return nil
		}
		for n := low; n <= high; n++ {
			out = append(out, int(n))
		}
	}
	return out
}

// inBytes converts a size with libvirt's unit; kibibytes where there is none.
func inBytes(size uint64, unit string) uint64 {
	switch unit {
	case "b", "bytes":
		return size
	case "MiB", "M":
		return size << 20
	case "GiB", "G":
		return size << 30
	case "TiB", "T":
		return size << 40
	default:
		return size << 10
	}
}

// architectures gathers what guests can be, those of the host's own architecture first.
func architectures(guests []libvirtxml.CapsGuest, own string) []hypervisor.Architecture {
	out := []hypervisor.Architecture{}
	for _, g := range guests {
		if g.OSType != hvm {
			continue
		}
		a := hypervisor.Architecture{Name: g.Arch.Name, Aliases: map[string]string{}}
		machines := g.Arch.Machines
		for _, d := range g.Arch.Domains {
			a.DomainTypes = append(a.DomainTypes, d.Type)
			machines = append(machines, d.Machines...)
		}
		a.MachineTypes, a.Deprecated = machineTypes(machines, a.Aliases)
		slices.Sort(a.DomainTypes)
		a.DomainTypes = slices.Compact(a.DomainTypes)
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(a, b hypervisor.Architecture) int {
		return cmp.Or(-cmp.Compare(oneIf(a.Name == own), oneIf(b.Name == own)), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// machineTypes tells names from aliases, which it adds to those that are known. A name that
// is known as another's alias only is a name all the same.
func machineTypes(machines []libvirtxml.CapsGuestMachine, aliases map[string]string) (names, deprecated []string) {
	known := map[string]bool{}
	for _, m := range machines {
		name := m.Name
		if m.Canonical != "" && m.Canonical != m.Name {
			aliases[m.Name] = m.Canonical
			name = m.Canonical
		}
		known[name] = known[name] || m.Deprecated == yes
	}
	for _, name := range slices.SortedFunc(maps.Keys(known), compareVersions) {
		names = append(names, name)
		if known[name] {
			deprecated = append(deprecated, name)
		}
	}
	return names, deprecated
}

// compareVersions orders texts by their parts, of which those that are numbers go by their
// value: pc-i440fx-2.9 comes before pc-i440fx-2.10.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		digitsA, digitsB := leadingDigits(a), leadingDigits(b)
		if digitsA == 0 || digitsB == 0 {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		numberA, numberB := strings.TrimLeft(a[:digitsA], "0"), strings.TrimLeft(b[:digitsB], "0")
		if c := cmp.Or(cmp.Compare(len(numberA), len(numberB)), cmp.Compare(numberA, numberB)); c != 0 {
			return c
		}
		a, b = a[digitsA:], b[digitsB:]
	}
	return cmp.Compare(len(a), len(b))
}

func leadingDigits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}

// parseOfferedCPUs reads what virConnectGetDomainCapabilities returns.
func parseOfferedCPUs(document string) (*hypervisor.OfferedCPUs, error) {
	var caps libvirtxml.DomainCaps
	if err := parse(document, &caps); err != nil {
		return nil, err
	}
	out := &hypervisor.OfferedCPUs{DomainType: caps.Domain, Machine: caps.Machine}
	if caps.CPU == nil {
		return out, nil
	}
	for _, m := range caps.CPU.Modes {
		switch {
		case m.Supported != yes:
		case m.Name == hostModel:
			out.HostModel = offered(m)
		case m.Name == maximum:
			out.Maximum = offered(m)
		}
	}
	return out, nil
}

func offered(mode libvirtxml.DomainCapsCPUMode) *hypervisor.OfferedCPU {
	out := &hypervisor.OfferedCPU{Vendor: mode.Vendor}
	if len(mode.Models) > 0 {
		out.Model = mode.Models[0].Name
	}
	for _, f := range mode.Features {
		switch f.Policy {
		case requires:
			out.Required = append(out.Required, f.Name)
		case disables:
			out.Disabled = append(out.Disabled, f.Name)
		}
	}
	slices.Sort(out.Required)
	slices.Sort(out.Disabled)
	return out
}

// parseNetwork reads the definition of a network.
func parseNetwork(document string) (hypervisor.Network, error) {
	var network libvirtxml.Network
	if err := parse(document, &network); err != nil {
		return hypervisor.Network{}, err
	}
	out := hypervisor.Network{Name: network.Name}
	if network.Forward != nil {
		out.Forward = cmp.Or(network.Forward.Mode, defaultNAT)
	}
	if network.Bridge != nil {
		out.Bridge = network.Bridge.Name
	}
	return out, nil
}

// parseBridge reads the definition of an interface of the host, and returns its name if it
// is a bridge.
func parseBridge(document string) (string, error) {
	var iface struct {
		Type string `xml:"type,attr"`
		Name string `xml:"name,attr"`
	}
	if err := parse(document, &iface); err != nil {
		return "", err
	}
	if iface.Type != "bridge" {
		return "", nil
	}
	return iface.Name, nil
}

// parsePool reads the definition of a storage pool. It knows how large one is that is active.
func parsePool(document string, active bool) (hypervisor.StoragePool, error) {
	var pool libvirtxml.StoragePool
	if err := parse(document, &pool); err != nil {
		return hypervisor.StoragePool{}, err
	}
	out := hypervisor.StoragePool{Name: pool.Name, Type: pool.Type}
	if pool.Target != nil {
		out.Path = pool.Target.Path
	}
	if active && pool.Capacity != nil && pool.Available != nil {
		out.CapacityBytes = new(inBytes(pool.Capacity.Value, pool.Capacity.Unit))
		out.AvailableBytes = new(inBytes(pool.Available.Value, pool.Available.Unit))
	}
	return out, nil
}

// parseMediatedTypes reads the definition of a device of the host and returns how it can be
// divided.
func parseMediatedTypes(document string) ([]hypervisor.MediatedType, error) {
	var device libvirtxml.NodeDevice
	if err := parse(document, &device); err != nil {
		return nil, err
	}
	var types []libvirtxml.NodeDeviceMDevType
	switch c := device.Capability; {
	case c.PCI != nil:
		for _, sub := range c.PCI.Capabilities {
			if sub.MDevTypes != nil {
				types = append(types, sub.MDevTypes.Types...)
			}
		}
	case c.CSS != nil:
		for _, sub := range c.CSS.Capabilities {
			if sub.MDevTypes != nil {
				types = append(types, sub.MDevTypes.Types...)
			}
		}
	case c.APMatrix != nil:
		for _, sub := range c.APMatrix.Capabilities {
			if sub.MDevTypes != nil {
				types = append(types, sub.MDevTypes.Types...)
			}
		}
	}
	out := make([]hypervisor.MediatedType, 0, len(types))
	for _, t := range types {
		out = append(out, hypervisor.MediatedType{
			ID: t.ID, Name: strings.TrimSpace(t.Name), DeviceAPI: strings.TrimSpace(t.DeviceAPI), Parents: 1, Available: int(t.AvailableInstances),
		})
	}
	return out, nil
}

// sumTypes adds up what several devices offer of each type.
func sumTypes(all []hypervisor.MediatedType) []hypervisor.MediatedType {
	sums := map[string]hypervisor.MediatedType{}
	for _, t := range all {
		sum := sums[t.ID]
		t.Parents += sum.Parents
		t.Available += sum.Available
		sums[t.ID] = t
	}
	out := make([]hypervisor.MediatedType, 0, len(sums))
	for _, id := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, sums[id])
	}
	return out
}
