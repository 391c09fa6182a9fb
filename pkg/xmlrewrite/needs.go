package xmlrewrite

import (
	"slices"
	"strconv"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// Needs is what a guest asks of its target, as far as the target's agent can
// offer it. It is read from the source XML before there is a plan.
type Needs struct {
	// SerialPorts is how many TCP ports to reserve: one more than the highest
	// index of a serial port or console that listens on TCP.
	SerialPorts int
	// SerialAddress is set if a serial port, or another character device, listens
	// on an address of its host.
	SerialAddress bool
	// VNCAddress, SPICEAddress and RDPAddress are set if graphics of the type
	// listen on an address of their host.
	VNCAddress   bool
	SPICEAddress bool
	RDPAddress   bool
	// CPUThreads is whether the guest's CPU has several threads a core, and VMX whether it
	// is said to have Intel's virtualization.
	CPUThreads, VMX bool
	// Virtio is whether the guest has virtio devices, and GuestAgent whether it has a channel to
	// QEMU's guest agent.
	Virtio, GuestAgent bool
	// Emulator, VirtType, Arch and Machine are what runs the guest, as it is on the source.
	Emulator, VirtType, Arch, Machine string
	// Firmware is the file of its firmware, Variables that in which this keeps its variables,
	// and Template of what libvirt makes it; empty where they are not files, or not known.
	Firmware, Variables, Template string
	// CPU is the guest's <cpu> if the emulator was held to it: the guest has exactly what
	// it says. Of others, only the emulator knows what they have.
	CPU string
	// MemoryBytes is the memory that the guest has now, and HugePageBytes the size of the
	// pages that all of it is in; zero where it is in ordinary ones, or not known. Such
	// memory counts in full, whatever a balloon has given back.
	MemoryBytes, HugePageBytes uint64
	// Networks are the names of libvirt's networks to which it is connected, each once.
	Networks []string
	// Bridges are the bridges of the host to which it is connected, and VirtualSwitches those
	// of a virtual switch's, to which there is a virtual port; each once.
	Bridges, VirtualSwitches []string
	// PerfEvents are the names of the performance events that are counted for it, each once.
	PerfEvents []string
	// MACAddresses are those of its interfaces, in lower case, each once.
	MACAddresses []string
}

// maxSerialPorts bounds how many ports an agent is asked to reserve.
const maxSerialPorts = 64

// ReadNeeds reads what the guest asks of its target. The error is [Problems].
func ReadNeeds[Text ~string | ~[]byte](domainXML Text) (Needs, error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return Needs{}, err
	}
	var needs Needs
	for _, l := range serialListeners(doc) {
		if l.index >= maxSerialPorts {
			return Needs{}, Problems{{
				Kind: ProblemInvalidXML, XMLPath: l.device.Path(),
				Message: "the index of a serial port must be below " + itoa(maxSerialPorts) + "; correct it in the guest's definition",
			}}
		}
		needs.SerialPorts = max(needs.SerialPorts, l.index+1)
		needs.SerialAddress = needs.SerialAddress || scopeOf(l.source.Value("host")) == scopeHost
	}
	for _, source := range otherListeners(doc) {
		needs.SerialAddress = needs.SerialAddress || scopeOf(source.Value("host")) == scopeHost
	}
	needs.readGraphics(doc)
	needs.readCPU(doc)
	needs.readFirmware(doc)
	needs.readMemory(doc)
	for _, i := range doc.devices("interface") {
		needs.readInterface(i)
	}
	needs.PerfEvents = perfEvents(doc)
	for _, channel := range doc.devices("channel") {
		needs.GuestAgent = needs.GuestAgent || channel.Child("target").Value("name") == "org.qemu.guest_agent.0"
	}
	needs.Virtio = isVirtio(doc.Root.Child("devices"))
	return needs, nil
}

// ReadNeedsOnTarget reads what a guest will take of its target, from its definition as it
// will be there but for what the target offers. What is wrong with the migrate data is told when
// the guest is rewritten; here, it is followed as far as it can be, so that all else that is in
// the guest's way is found along with that. The other definition is as in [Options].
func ReadNeedsOnTarget[Text ~string | ~[]byte](domainXML, other Text, data *v1alpha1.MigrateData) (needs Needs, known bool) {
	anywhere := "127.0.0.1"
	offer := &v1alpha1.MigrateData{
		Graphics: &v1alpha1.GraphicsMigrateData{VNCListenAddress: &anywhere, SPICEListenAddress: &anywhere, RDPListenAddress: &anywhere},
		Serial:   &v1alpha1.SerialMigrateData{ListenAddress: &anywhere},
	}
	for i := range maxSerialPorts {
		offer.Serial.Ports = append(offer.Serial.Ports, int32(10000+i))
	}
	same := sameParts(data, string(domainXML), string(other))
	offer.NUMA, offer.MediatedDevices, offer.PCIDevices = same.NUMA, same.MediatedDevices, same.PCIDevices
	p, err := newPlanner(string(domainXML), data, Options{Offer: offer, Other: string(other)})
	if err != nil {
		return Needs{}, false
	}
	for _, plan := range steps() {
		plan(p)
	}
	needs, err = ReadNeeds(p.doc.Render().String())
	if p.problems.about("interfaces") {
		needs.Networks, needs.Bridges, needs.VirtualSwitches = nil, nil, nil // Where it is to be connected is what is not clear.
	}
	if p.problems.about("memoryBacking") {
		needs.MemoryBytes, needs.HugePageBytes = 0, 0
	}
	return needs, err == nil
}

func (n *Needs) readInterface(i *xmltree.Node) {
	names := &n.Networks
	kind, name := connectedTo(i)
	switch {
	case kind == v1alpha1.NetworkKindBridge && i.Child("virtualport") != nil:
		names = &n.VirtualSwitches
	case kind == v1alpha1.NetworkKindBridge:
		names = &n.Bridges
	}
	if name != "" && !slices.Contains(*names, name) {
		*names = append(*names, name)
	}
	mac, ok := parseMAC(i.Child("mac").Value("address"))
	if ok && !slices.Contains(n.MACAddresses, mac) {
		n.MACAddresses = append(n.MACAddresses, mac)
	}
}

func (n *Needs) readMemory(doc *guest) {
	whole, now := kibibytes(doc.Root.Child("memory")), kibibytes(doc.Root.Child("currentMemory"))
	n.MemoryBytes = whole
	if now != 0 && now < whole {
		n.MemoryBytes = now
	}
	hugePages := doc.Root.Child("memoryBacking").Child("hugepages")
	if hugePages == nil {
		return
	}
	pages := hugePages.Children("page")
	n.MemoryBytes = whole
	if len(pages) != 1 || pages[0].Value("nodeset") != "" {
		n.MemoryBytes = 0 // In pages of several sizes, or of the host's default one.
		return
	}
	if n.HugePageBytes = kibibytesOf(pages[0].Value("size"), pages[0].Value("unit")); n.HugePageBytes == 0 {
		n.MemoryBytes = 0
	}
}

// kibibytes reads an amount of memory, in bytes; zero is unknown. Of a running guest, libvirt
// gives it in KiB.
func kibibytes(e *xmltree.Node) uint64 { return kibibytesOf(e.Text(), e.Value("unit")) }

func kibibytesOf(number, unit string) uint64 {
	if unit != "KiB" && unit != "" {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 52)
	if err != nil {
		return 0
	}
	return n << 10
}

func (n *Needs) readCPU(doc *guest) {
	os := doc.Root.Child("os").Child("type")
	n.VirtType, n.Arch, n.Machine = doc.Root.Value("type"), os.Value("arch"), os.Value("machine")
	n.Emulator = doc.Root.Child("devices").Child("emulator").Text()
	cpu := doc.Root.Child("cpu")
	if cpu.Value("mode") == "custom" && isOneOf(cpu.Value("check"), "partial", "full") {
		n.CPU = cpu.Source()
	}
	threads := cpu.Child("topology").Value("threads")
	n.CPUThreads = threads != "" && threads != "1"
	for _, f := range cpu.Children("feature") {
		n.VMX = n.VMX || f.Value("name") == "vmx" && isOneOf(f.Value("policy"), "require", "force", "")
	}
}

func (n *Needs) readFirmware(doc *guest) {
	os := doc.Root.Child("os")
	nvram := os.Child("nvram")
	n.Firmware, n.Variables, n.Template = os.Child("loader").Text(), nvram.Text(), nvram.Value("template")
	if nvram.Value("type") != "" {
		n.Variables = nvram.Child("source").Value("file")
	}
	for _, file := range []*string{&n.Firmware, &n.Variables, &n.Template} {
		*file = strings.Clone(strings.TrimSpace(*file))
	}
}

// isVirtio reports whether a device, or one inside it, is a virtio device: its model, type or
// bus is called virtio or so, as in virtio-scsi and virtio-non-transitional.
func isVirtio(device *xmltree.Node) bool {
	for name, value := range device.Attrs() {
		if strings.HasPrefix(value, "virtio") && isOneOf(name, "model", "type", "bus") {
			return true
		}
	}
	if device == nil {
		return false
	}
	for child := device.FirstChild; child != nil; child = child.NextSibling {
		if !child.Foreign && isVirtio(child) {
			return true
		}
	}
	return false
}

func (n *Needs) readGraphics(doc *guest) {
	for _, g := range doc.devices("graphics") {
		for _, l := range graphicsListeners(g) {
			if scopeOf(l.address) != scopeHost {
				continue
			}
			switch g.Value("type") {
			case "vnc":
				n.VNCAddress = true
			case "spice":
				n.SPICEAddress = true
			case "rdp":
				n.RDPAddress = true
			}
		}
	}
}
