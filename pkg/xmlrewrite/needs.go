package xmlrewrite

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
	// Emulator, VirtType, Arch and Machine are what runs the guest, as it is on the source.
	Emulator, VirtType, Arch, Machine string
	// CPU is the guest's <cpu> if the emulator was held to it: the guest has exactly what
	// it says. Of others, only the emulator knows what they have.
	CPU string
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
	return needs, nil
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
