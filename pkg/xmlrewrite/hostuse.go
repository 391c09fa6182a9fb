package xmlrewrite

import (
	"slices"
	"strconv"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// HostUse is what a guest has of its host that no other guest can have, or should.
type HostUse struct {
	// Ports are the TCP ports on which its character devices listen.
	Ports []int32
	Pins  GuestPins
	// MediatedDevices are UUIDs in lower case, and PCIDevices addresses such as 0000:81:00.1.
	MediatedDevices, PCIDevices []string
}

// GuestPins are what a guest is pinned to. Sets are written as in 0-3,8, and empty where there
// are none.
type GuestPins struct {
	VCPUs, IOThreads []ThreadPin
	Emulator         string
	// Shared are the CPUs of virtual CPUs that have no pin of their own.
	Shared string
	Cells  []CellBinding
	// MemoryNodes are the nodes of its memory as a whole.
	MemoryNodes string
}

// ThreadPin is a thread, by libvirt's number, and the CPUs that it is pinned to.
type ThreadPin struct {
	ID   int
	CPUs string
}

// CellBinding is a NUMA cell of the guest and the nodes that its memory is bound to.
type CellBinding struct {
	Cell  int
	Nodes string
	// MemoryBytes is how much memory it has; zero if that is not known.
	MemoryBytes uint64
}

// Empty reports whether the guest is pinned to nothing.
func (g *GuestPins) Empty() bool {
	return len(g.VCPUs)+len(g.IOThreads)+len(g.Cells) == 0 && g.Emulator == "" && g.MemoryNodes == ""
}

// ReadHostUse reads what a guest has of its host. The error is [Problems].
func ReadHostUse[Text ~string | ~[]byte](domainXML Text) (HostUse, error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return HostUse{}, err
	}
	use := HostUse{Ports: listenPorts(doc), Pins: readPins(doc)}
	for _, h := range doc.hostdevs("mdev") {
		if uuid, ok := parseUUID(h.Child("source").Child("address").Value("uuid")); ok {
			use.MediatedDevices = append(use.MediatedDevices, uuid)
		}
	}
	for _, h := range doc.hostPCI() {
		if holder, ok := pciHolder(h); ok {
			use.PCIDevices = append(use.PCIDevices, holder.key)
		}
	}
	return use, nil
}

// setText writes a set of a definition without exclusions; empty if it makes no sense.
func setText(text string) string {
	set, ok := parseSet(text)
	if !ok {
		return ""
	}
	return set.String()
}

func readPins(doc *guest) GuestPins {
	cputune, numatune := doc.Root.Child("cputune"), doc.Root.Child("numatune")
	out := GuestPins{
		VCPUs: threadPins(cputune, "vcpupin", "vcpu"), IOThreads: threadPins(cputune, "iothreadpin", "iothread"),
		Emulator:    setText(cputune.Child("emulatorpin").Value("cpuset")),
		MemoryNodes: setText(numatune.Child("memory").Value("nodeset")),
	}
	if vcpu := doc.Root.Child("vcpu"); vcpu.Value("placement") != "auto" {
		out.Shared = setText(vcpu.Value("cpuset"))
	}
	for m := numatune.Child("memnode"); m != nil; m = m.NextSame() {
		if id, err := strconv.Atoi(m.Value("cellid")); err == nil {
			out.bind(doc, id, setText(m.Value("nodeset")))
		}
	}
	for _, device := range doc.devices("memory") {
		nodes := setText(device.Child("source").Child("nodemask").Text())
		id, err := strconv.Atoi(device.Child("target").Child("node").Text())
		switch {
		case nodes == "":
		case err == nil:
			out.bind(doc, id, nodes)
		case out.MemoryNodes == "":
			out.MemoryNodes = nodes
		}
	}
	return out
}

func threadPins(cputune *xmltree.Node, element, key string) []ThreadPin {
	var out []ThreadPin
	for c := cputune.Child(element); c != nil; c = c.NextSame() {
		if id, err := strconv.Atoi(c.Value(key)); err == nil {
			out = append(out, ThreadPin{ID: id, CPUs: setText(c.Value("cpuset"))})
		}
	}
	return out
}

// bind notes where the memory of a cell is, unless that is known.
func (g *GuestPins) bind(doc *guest, id int, nodes string) {
	for _, cell := range g.Cells {
		if cell.Cell == id {
			return
		}
	}
	binding := CellBinding{Cell: id, Nodes: nodes}
	for i, have := range doc.guestCells() {
		if have == id {
			cell := doc.Root.Child("cpu").Child("numa").Children("cell")[i]
			binding.MemoryBytes = kibibytesOf(cell.Value("memory"), cell.Value("unit"))
		}
	}
	g.Cells = append(g.Cells, binding)
}

// JoinPins returns the pins of a running guest, and those that only its persistent definition
// has.
func JoinPins(running, defined GuestPins) GuestPins {
	out := running
	out.VCPUs, out.IOThreads = joinThreads(running.VCPUs, defined.VCPUs), joinThreads(running.IOThreads, defined.IOThreads)
	if out.Emulator == "" {
		out.Emulator = defined.Emulator
	}
	if out.MemoryNodes == "" {
		out.MemoryNodes = defined.MemoryNodes
	}
	known := map[int]bool{}
	for _, cell := range running.Cells {
		known[cell.Cell] = true
	}
	out.Cells = slices.Clip(running.Cells)
	for _, cell := range defined.Cells {
		if !known[cell.Cell] {
			out.Cells = append(out.Cells, cell)
		}
	}
	return out
}

func joinThreads(running, defined []ThreadPin) []ThreadPin {
	known := map[int]bool{}
	for _, pin := range running {
		known[pin.ID] = true
	}
	out := slices.Clip(running)
	for _, pin := range defined {
		if !known[pin.ID] {
			out = append(out, pin)
		}
	}
	return out
}

// sameParts is an offer in which what a guest has of its host is the same on the target. What is
// not XML has nothing.
func sameParts(data *v1alpha1.MigrateData, definitions ...string) v1alpha1.MigrateData {
	var pins GuestPins
	for _, definition := range definitions {
		if use, err := ReadHostUse(definition); err == nil {
			pins = JoinPins(pins, use.Pins)
		}
	}
	out := v1alpha1.MigrateData{NUMA: samePins(&pins)}
	devices, err := ReadHostDevices(definitions[0], definitions[1], data)
	if err != nil {
		return out
	}
	for _, uuid := range devices.Mediated {
		out.MediatedDevices = append(out.MediatedDevices, v1alpha1.MediatedDeviceMigrateData{Source: v1alpha1.UUID(uuid), Target: v1alpha1.UUID(uuid)})
	}
	for _, address := range devices.PCI {
		out.PCIDevices = append(out.PCIDevices, v1alpha1.PCIDeviceMigrateData{Source: v1alpha1.PCIAddress(address), Target: v1alpha1.PCIAddress(address)})
	}
	return out
}

func samePins(pins *GuestPins) *v1alpha1.NUMAMigrateData {
	out := &v1alpha1.NUMAMigrateData{}
	for _, pin := range pins.VCPUs {
		out.VCPUPins = append(out.VCPUPins, v1alpha1.VCPUPin{VCPU: int32(pin.ID), HostCPUs: v1alpha1.CPUSet(pin.CPUs)}) //nolint:gosec // Libvirt's number.
	}
	for _, pin := range pins.IOThreads {
		out.IOThreadPins = append(out.IOThreadPins, v1alpha1.IOThreadPin{IOThread: int32(pin.ID), HostCPUs: v1alpha1.CPUSet(pin.CPUs)}) //nolint:gosec // As above.
	}
	for _, cell := range pins.Cells {
		out.CellPins = append(out.CellPins, v1alpha1.CellPin{Cell: int32(cell.Cell), HostNodes: v1alpha1.CPUSet(cell.Nodes)}) //nolint:gosec // As above.
	}
	if pins.Emulator != "" {
		out.EmulatorPin = new(v1alpha1.CPUSet(pins.Emulator))
	}
	if pins.MemoryNodes != "" {
		out.MemoryNodes = new(v1alpha1.CPUSet(pins.MemoryNodes))
	}
	return out
}

// HostDevices are devices of the host that a guest has and that the migrate data do not map:
// mediated devices by their UUIDs, PCI functions by their addresses.
type HostDevices struct{ Mediated, PCI []string }

// ReadHostDevices reads these, from both of the guest's definitions. The other is empty if there
// is none. The error is [Problems].
func ReadHostDevices[Text ~string | ~[]byte](domainXML, other Text, data *v1alpha1.MigrateData) (HostDevices, error) {
	var out HostDevices
	for _, text := range []string{string(domainXML), string(other)} {
		if text == "" {
			continue
		}
		p, err := newPlanner(text, data, Options{})
		if err != nil {
			return HostDevices{}, err
		}
		mediated, pci := &deviceMap{p: p}, &deviceMap{p: p}
		for _, h := range p.doc.hostdevs("mdev") {
			mediated.addMdev(h)
		}
		pci.holdPCI()
		if p.data.MediatedDevices == nil {
			out.Mediated = addKeys(out.Mediated, mediated.holders)
		}
		if p.data.PCIDevices == nil {
			out.PCI = addKeys(out.PCI, pci.holders)
		}
	}
	return out, nil
}

func addKeys(known []string, holders []holder) []string {
	for _, h := range holders {
		if !slices.Contains(known, h.key) {
			known = append(known, h.key)
		}
	}
	return known
}

// PlainPCI writes the address of a PCI function as libvirt does, such as 0000:81:00.1; as it is,
// if it is none.
func PlainPCI(text string) string {
	if address, ok := parsePCI(text); ok {
		return address.String()
	}
	return text
}
