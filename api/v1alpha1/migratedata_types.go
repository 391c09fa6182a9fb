package v1alpha1

// MigrateData says what the parts of a guest that belong to its host become on the target.
// The target's agent fills in an absent part where it can; other absent parts stay as they
// are or, where that cannot be right, the migration is refused. A part that is present but
// empty means that there is none of it.
//
// +kubebuilder:validation:MinProperties=1
type MigrateData struct {
	// graphics holds the addresses on which the guest's graphics listen.
	// +optional
	Graphics *GraphicsMigrateData `json:"graphics,omitempty"`

	// serial holds the address and ports of serial ports and consoles that
	// listen on TCP.
	// +optional
	Serial *SerialMigrateData `json:"serial,omitempty"`

	// volumes says where the data of the guest's disks are on the target.
	// Absent finds them by the storageMappings of the target's Hypervisor, and leaves those
	// where they are that it does not map. A list, even an empty one, is
	// complete: it must name every disk that has a serial.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:XValidation:rule="self.transformMapEntry(i, v, has(v.serial), {v.serial: i}).size() <= self.size()",message="each serial may be listed only once"
	// +kubebuilder:validation:XValidation:rule="self.transformMapEntry(i, v, has(v.targetDevice), {v.targetDevice: i}).size() <= self.size()",message="each targetDevice may be listed only once"
	Volumes []VolumeMigrateData `json:"volumes,omitzero"`

	// rbdMonitors holds the monitors of the same Ceph cluster as the target reaches them.
	// They are given to the guest's RBD disks that are not listed in volumes, whose
	// authentication stays.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	RBDMonitors []RBDMonitor `json:"rbdMonitors,omitzero"`

	// perfEvents holds the perf events that the target supports. Events that
	// the guest has enabled and that are not listed are switched off; none is
	// ever switched on. An empty list switches all of them off. Absent switches off those
	// of which the target's agent knows that its host cannot count them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	PerfEvents []PerfEvent `json:"perfEvents,omitzero"`

	// memoryBacking says whether the guest's memory is kept in files.
	// +optional
	MemoryBacking *MemoryBackingMigrateData `json:"memoryBacking,omitempty"`

	// cpuShares says what becomes of the guest's CPU weight.
	// +optional
	CPUShares *CPUSharesMigrateData `json:"cpuShares,omitempty"`

	// interfaces says what the guest's network interfaces are connected to on
	// the target. Absent connects them by the networkMappings of the target's Hypervisor,
	// and leaves those as they are that it does not map. A list, even an empty one, is
	// complete: it must name every interface, but for passed-through functions
	// that share the MAC address of one, and that pciDevices maps. An entry with
	// nothing but a MAC address leaves that interface as it is.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:XValidation:rule="self.transformMapEntry(i, v, {v.macAddress.lowerAscii() + (has(v.guestAddress) ? ' ' + v.guestAddress : '') + (has(v.alias) ? ' ' + v.alias : ''): i}).size() <= self.size()",message="each interface may be listed only once; guestAddress and alias tell those with the same MAC address apart"
	Interfaces []InterfaceMigrateData `json:"interfaces,omitzero"`

	// sharedCPUSet is the set of the target's CPUs on which guests without CPU pins run,
	// such as "0-3,8". Empty lets the guest run on all CPUs. It has no effect on guests
	// whose virtual CPUs are all pinned.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*)?$`
	SharedCPUSet *string `json:"sharedCPUSet,omitempty"`

	// numa says which of the target's CPUs and NUMA nodes take the place of those the guest
	// is pinned to. Absent has the target's agent choose some that are free.
	// +optional
	NUMA *NUMAMigrateData `json:"numa,omitempty"`

	// mediatedDevices maps each of the guest's mediated devices to one on the target. Absent
	// has the target's agent choose free ones of the same types.
	// +optional
	// +listType=map
	// +listMapKey=source
	// +kubebuilder:validation:MaxItems=64
	MediatedDevices []MediatedDeviceMigrateData `json:"mediatedDevices,omitzero"`

	// pciDevices maps each of the host PCI devices that the guest uses to one
	// on the target. Maps may swap or chain addresses. Absent has the target's agent choose
	// free ones of the same vendor and product.
	// +optional
	// +listType=map
	// +listMapKey=source
	// +kubebuilder:validation:MaxItems=64
	PCIDevices []PCIDeviceMigrateData `json:"pciDevices,omitzero"`

	// usbDevices maps the USB devices of the source host that the guest uses to those
	// of the target. One that is found by vendor and product needs no entry if the
	// target has such a device, too.
	// +optional
	// +listType=map
	// +listMapKey=source
	// +kubebuilder:validation:MaxItems=64
	USBDevices []USBDeviceMigrateData `json:"usbDevices,omitzero"`

	// virtualPMEM holds the backing of the guest's virtual persistent memory
	// on the target, one entry per NVDIMM or virtio-pmem device, in the guest's
	// order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	VirtualPMEM []VirtualPMEMMigrateData `json:"virtualPMEM,omitzero"`

	// secrets are secrets that the target's libvirt is to have while the guest moves there,
	// with values from the cluster. What it has itself, it keeps. Each must be one to which
	// the guest's definition for the target refers.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Secrets []SecretMigrateData `json:"secrets,omitzero"`

	// pathMappings says what paths of the source host become on the target for which
	// there is no field above: the emulator, firmware and its variables, backing chains,
	// render nodes, shared directories, host character and input devices, and sockets
	// and files of character devices, TPMs and file systems. An entry whose ends are the
	// same says that the path is right on the target.
	// +optional
	// +listType=map
	// +listMapKey=from
	// +kubebuilder:validation:MaxItems=64
	PathMappings []PathMapping `json:"pathMappings,omitzero"`

	// portMappings says what ports become on the target on which character devices other
	// than serial ports on TCP listen: channels, parallel ports, redirected devices, smart
	// cards, random number generators, and serial ports on UDP. An entry whose ends are the
	// same says that the port is free on the target. Entries may swap ports and pass them on.
	// +optional
	// +listType=map
	// +listMapKey=from
	// +kubebuilder:validation:MaxItems=64
	PortMappings []PortMapping `json:"portMappings,omitzero"`
}

// GraphicsMigrateData holds listen addresses per type of graphics. An address given here
// applies to every listener of its type that listens on an address, including a wildcard
// or loopback address; sockets are left alone.
//
// +kubebuilder:validation:MinProperties=1
type GraphicsMigrateData struct {
	// vncListenAddress is the IP address on which VNC listens on the target.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without brackets or port"
	VNCListenAddress *string `json:"vncListenAddress,omitempty"`

	// spiceListenAddress is the IP address on which SPICE listens on the target.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without brackets or port"
	SPICEListenAddress *string `json:"spiceListenAddress,omitempty"`

	// rdpListenAddress is the IP address on which RDP listens on the target.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without brackets or port"
	RDPListenAddress *string `json:"rdpListenAddress,omitempty"`

	// fixedPorts says what becomes of ports that the guest's definition gives by number.
	// Absent keeps them, with a warning.
	// +optional
	FixedPorts *FixedPorts `json:"fixedPorts,omitempty"`
}

// SerialMigrateData holds what serial ports and consoles over TCP listen on. This applies
// only to those that wait for connections, not to those that connect out.
type SerialMigrateData struct {
	// listenAddress is the IP address to listen on at the target. Other character
	// devices, such as channels, get it too where they listen on an address that is
	// the source host's own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without brackets or port"
	ListenAddress *string `json:"listenAddress,omitempty"`

	// ports holds the TCP port of each serial port: the first entry belongs to
	// the serial port with index 0 in the guest, and so on. A console that
	// mirrors a serial port shares its port.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	Ports []int32 `json:"ports,omitzero"`
}

// PerfEvent is a perf event as libvirt names it.
//
// +kubebuilder:validation:Enum=cmt;mbmt;mbml;cpu_cycles;instructions;cache_references;cache_misses;branch_instructions;branch_misses;bus_cycles;stalled_cycles_frontend;stalled_cycles_backend;ref_cpu_cycles;cpu_clock;task_clock;page_faults;context_switches;cpu_migrations;page_faults_min;page_faults_maj;alignment_faults;emulation_faults
// +kubebuilder:validation:MaxLength=64
type PerfEvent string

// RBDMonitor is a Ceph monitor.
type RBDMonitor struct {
	// host is the monitor's name or IP address, without brackets.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._:-]+$`
	Host string `json:"host"`

	// port is the monitor's TCP port; absent means Ceph's default.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`
}

// FileBacking says whether a guest's memory is kept in files.
//
// +kubebuilder:validation:Enum=Required;None
type FileBacking string

const (
	// FileBackingRequired keeps the guest's memory in files on the target.
	FileBackingRequired FileBacking = "Required"
	// FileBackingNone gives the guest ordinary memory on the target.
	FileBackingNone FileBacking = "None"
)

// Toggle switches something on or off.
//
// +kubebuilder:validation:Enum=Enabled;Disabled
type Toggle string

const (
	// ToggleEnabled switches it on.
	ToggleEnabled Toggle = "Enabled"
	// ToggleDisabled switches it off.
	ToggleDisabled Toggle = "Disabled"
)

// MemoryBackingMigrateData says how a guest's memory is backed. Memory in an anonymous
// file (memfd) is left alone: it works on every host.
//
// +kubebuilder:validation:XValidation:rule="!has(self.discard) || self.fileBacking == 'Required'",message="discard needs fileBacking: Required"
type MemoryBackingMigrateData struct {
	// fileBacking says whether the memory is kept in files.
	// +required
	FileBacking FileBacking `json:"fileBacking"`

	// discard says whether the content of the files is discarded when the guest ends.
	// Absent leaves it as the guest has it.
	// +optional
	Discard *Toggle `json:"discard,omitempty"`
}

// CPUSharesPolicy says what becomes of a CPU weight.
//
// +kubebuilder:validation:Enum=Keep;Remove;Set
type CPUSharesPolicy string

const (
	// CPUSharesKeep leaves the weight as it is.
	CPUSharesKeep CPUSharesPolicy = "Keep"
	// CPUSharesRemove leaves the weight to the target's default.
	CPUSharesRemove CPUSharesPolicy = "Remove"
	// CPUSharesSet sets a new weight.
	CPUSharesSet CPUSharesPolicy = "Set"
)

// CPUSharesMigrateData says what becomes of a guest's CPU weight. Hosts with cgroups
// version 2 accept 1 to 10000, hosts with version 1 accept 2 to 262144.
//
// +kubebuilder:validation:XValidation:rule="has(self.shares) == (self.policy == 'Set')",message="shares must be given with policy: Set, and only then"
type CPUSharesMigrateData struct {
	// policy says what to do with the weight.
	// +required
	Policy CPUSharesPolicy `json:"policy"`

	// shares is the new weight.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=262144
	Shares *int64 `json:"shares,omitempty"`
}

// CPUSet is a list of numbers and ranges, such as "0-3,8".
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
// +kubebuilder:validation:Pattern=`^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$`
type CPUSet string

// UUID is a UUID in its usual form, in either case.
//
// +kubebuilder:validation:MaxLength=36
// +kubebuilder:validation:Pattern=`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`
type UUID string

// GuestAddress is the address of a device inside the guest: that of a PCI function, such as
// 0000:01:00.0, or that of a channel device (CCW), such as fe.0.0001.
//
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:Pattern=`^(([0-9a-fA-F]{1,8}:)?[0-9a-fA-F]{1,2}:[01]?[0-9a-fA-F]\.[0-7]|[0-9a-fA-F]{1,2}\.[0-3]\.[0-9a-fA-F]{1,4})$`
type GuestAddress string

// PCIAddress is the address of a PCI function, such as 0000:81:00.1.
//
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:Pattern=`^([0-9a-fA-F]{1,8}:)?[0-9a-fA-F]{1,2}:[01]?[0-9a-fA-F]\.[0-7]$`
type PCIAddress string

// NUMAMigrateData says where a pinned guest runs on the target. Every pin that
// the guest has must be covered; pins it does not have yet are added.
type NUMAMigrateData struct {
	// vcpuPins pins virtual CPUs to CPUs of the target.
	// +optional
	// +listType=map
	// +listMapKey=vcpu
	// +kubebuilder:validation:MaxItems=4096
	VCPUPins []VCPUPin `json:"vcpuPins,omitzero"`

	// emulatorPin pins the emulator to CPUs of the target.
	// +optional
	EmulatorPin *CPUSet `json:"emulatorPin,omitempty"`

	// ioThreadPins pins I/O threads to CPUs of the target. Absent pins those
	// that were pinned before to the CPUs of emulatorPin.
	// +optional
	// +listType=map
	// +listMapKey=ioThread
	// +kubebuilder:validation:MaxItems=1024
	IOThreadPins []IOThreadPin `json:"ioThreadPins,omitzero"`

	// cellPins binds the memory of the guest's NUMA cells to NUMA nodes of the
	// target.
	// +optional
	// +listType=map
	// +listMapKey=cell
	// +kubebuilder:validation:MaxItems=256
	CellPins []CellPin `json:"cellPins,omitzero"`

	// memoryNodes is the set of the target's NUMA nodes that the guest's
	// memory may come from. Absent means all the nodes in cellPins.
	// +optional
	MemoryNodes *CPUSet `json:"memoryNodes,omitempty"`

	// realtime says which virtual CPUs run under a real-time scheduler.
	// Absent leaves that as the guest has it; empty means none.
	// +optional
	Realtime *RealtimeMigrateData `json:"realtime,omitempty"`

	// caches maps the caches of the source host of which the guest's virtual CPUs
	// have a share (cachetune) to those of the target, by the numbers that libvirt's
	// capabilities give them.
	// +optional
	// +listType=map
	// +listMapKey=source
	// +kubebuilder:validation:MaxItems=256
	Caches []NumberMapping `json:"caches,omitzero"`

	// memoryBandwidthNodes maps the nodes of the source host of whose memory
	// bandwidth the guest's virtual CPUs have a share (memorytune) to those of the
	// target, likewise.
	// +optional
	// +listType=map
	// +listMapKey=source
	// +kubebuilder:validation:MaxItems=256
	MemoryBandwidthNodes []NumberMapping `json:"memoryBandwidthNodes,omitzero"`
}

// VCPUPin pins one virtual CPU.
type VCPUPin struct {
	// vcpu is the number of the virtual CPU.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16383
	VCPU int32 `json:"vcpu"`

	// hostCPUs is the set of CPUs of the target.
	// +required
	HostCPUs CPUSet `json:"hostCPUs"`
}

// IOThreadPin pins one I/O thread.
type IOThreadPin struct {
	// ioThread is the number of the I/O thread.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	IOThread int32 `json:"ioThread"`

	// hostCPUs is the set of CPUs of the target.
	// +required
	HostCPUs CPUSet `json:"hostCPUs"`
}

// CellPin binds the memory of one of the guest's NUMA cells.
type CellPin struct {
	// cell is the number of the guest's NUMA cell.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1023
	Cell int32 `json:"cell"`

	// hostNodes is the set of NUMA nodes of the target.
	// +required
	HostNodes CPUSet `json:"hostNodes"`
}

// SchedulerPolicy is a real-time scheduling policy as libvirt names it.
//
// +kubebuilder:validation:Enum=fifo;rr
type SchedulerPolicy string

const (
	// SchedulerFIFO runs until it yields.
	SchedulerFIFO SchedulerPolicy = "fifo"
	// SchedulerRoundRobin shares a priority in turns.
	SchedulerRoundRobin SchedulerPolicy = "rr"
)

// RealtimeMigrateData says which virtual CPUs run under a real-time scheduler.
//
// +kubebuilder:validation:XValidation:rule="has(self.vcpus) == has(self.priority)",message="vcpus and priority belong together"
// +kubebuilder:validation:XValidation:rule="!has(self.policy) || has(self.vcpus)",message="policy needs vcpus and priority"
type RealtimeMigrateData struct {
	// vcpus is the set of virtual CPUs.
	// +optional
	VCPUs *CPUSet `json:"vcpus,omitempty"`

	// priority is the scheduling priority.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=99
	Priority *int32 `json:"priority,omitempty"`

	// policy is the scheduling policy. Absent keeps the guest's, or takes fifo
	// where it has none.
	// +optional
	Policy *SchedulerPolicy `json:"policy,omitempty"`
}

// MediatedDeviceMigrateData maps one mediated device.
type MediatedDeviceMigrateData struct {
	// source is the device's UUID on the source.
	// +required
	Source UUID `json:"source"`

	// target is the device's UUID on the target.
	// +required
	Target UUID `json:"target"`
}

// PCIDeviceMigrateData maps one host PCI device.
type PCIDeviceMigrateData struct {
	// source is the device's address on the source host.
	// +required
	Source PCIAddress `json:"source"`

	// target is the device's address on the target host.
	// +required
	Target PCIAddress `json:"target"`

	// guestAddress is the device's PCI address inside the guest. It is needed only if
	// addresses swap places and the rewrite may be repeated: it identifies each device
	// by something that never changes.
	// +optional
	GuestAddress *PCIAddress `json:"guestAddress,omitempty"`
}

// VirtualPMEMMigrateData is the backing of one NVDIMM or virtio-pmem device.
type VirtualPMEMMigrateData struct {
	// path is the file or device on the target.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:Pattern=`^/[^\x00-\x1f]+$`
	Path string `json:"path"`
}
