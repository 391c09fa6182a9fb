package v1alpha1

// TargetEndpoint is where a host receives guests.
type TargetEndpoint struct {
	// transport is how the source's libvirt reaches this one.
	// +required
	Transport Transport `json:"transport,omitempty"`
	// address is the host's IP address, without brackets, or its DNS name. The
	// source's libvirt connects there, unless the transport is unix.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="isIP(self) ? ip(self).isGlobalUnicast() || ip(self).isLinkLocalUnicast() : !format.dns1123Subdomain().validate(self).hasValue()",message="address must be the IP address of a host, without brackets, or a DNS name in lower case"
	Address string `json:"address,omitempty"`
	// dataAddress is where the guest's memory and disks go, if that is elsewhere: the
	// host's address in another network.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="isIP(self) ? ip(self).isGlobalUnicast() || ip(self).isLinkLocalUnicast() : !format.dns1123Subdomain().validate(self).hasValue()",message="dataAddress must be the IP address of a host, without brackets, or a DNS name in lower case"
	DataAddress string `json:"dataAddress,omitempty"`
	// disksAddress is where disks that are copied go, if not there as well: the host's
	// IP address in another network. Its hypervisor listens on it for them.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self) && ip(self).isGlobalUnicast()",message="disksAddress must be an IP address of a host, without brackets, which is not link-local"
	DisksAddress string `json:"disksAddress,omitempty"`
}

// Transport is how one libvirt reaches another.
//
// +kubebuilder:validation:Enum=tls;tcp;ssh;unix
type Transport string

// The transports.
const (
	// TransportTLS is TCP, encrypted and authenticated by X.509 certificates.
	TransportTLS Transport = "tls"
	// TransportTCP is plain TCP, neither encrypted nor authenticated.
	TransportTCP Transport = "tcp"
	// TransportSSH is a tunnel through the hosts' SSH.
	TransportSSH Transport = "ssh"
	// TransportUnix is a Unix socket on the source host, from which a proxy leads to this one.
	TransportUnix Transport = "unix"
)

// TargetOffer is what a host fills in for parts of the migrate data that the user left
// out.
type TargetOffer struct {
	// graphics holds the addresses on which the guest's graphics listen here.
	// +optional
	Graphics *GraphicsMigrateData `json:"graphics,omitempty"`
	// serial holds the address and the ports, reserved for the guest, on which its
	// serial ports listen here.
	// +optional
	Serial *SerialMigrateData `json:"serial,omitempty"`
	// numa holds the CPUs and NUMA nodes of this host, claimed for the guest, that take the
	// place of those it is pinned to.
	// +optional
	NUMA *TargetPins `json:"numa,omitempty"`
	// mediatedDevices are those of this host, claimed for the guest, that take the place of
	// its own.
	// +optional
	// +listType=map
	// +listMapKey=source
	// +kubebuilder:validation:MaxItems=64
	MediatedDevices []MediatedDeviceMigrateData `json:"mediatedDevices,omitempty"`
	// pciDevices are the PCI functions of this host, likewise.
	// +optional
	// +listType=map
	// +listMapKey=source
	// +kubebuilder:validation:MaxItems=64
	PCIDevices []TargetPCIDevice `json:"pciDevices,omitempty"`
	// droppedPerfEvents are those of the guest's performance events that this host cannot
	// count. They are switched off.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	DroppedPerfEvents []PerfEvent `json:"droppedPerfEvents,omitempty"`
	// networkMappings are those of the Hypervisor's that apply to the guest.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=from
	// +kubebuilder:validation:MaxItems=192
	NetworkMappings []NetworkMapping `json:"networkMappings,omitempty"`
}

// TargetPCIDevice maps a PCI function of the source to one of the target.
type TargetPCIDevice struct {
	// source is its address on the source host.
	// +required
	Source PCIAddress `json:"source,omitempty"`
	// target is that on the target host.
	// +required
	Target PCIAddress `json:"target,omitempty"`
}

// TargetPins are CPUs and NUMA nodes of the target that take the place of those a guest is
// pinned to.
type TargetPins struct {
	// vcpuPins are those of the guest's virtual CPUs.
	// +optional
	// +listType=map
	// +listMapKey=vcpu
	// +kubebuilder:validation:MaxItems=4096
	VCPUPins []VCPUPin `json:"vcpuPins,omitempty"`
	// emulatorPin is that of its emulator.
	// +optional
	EmulatorPin CPUSet `json:"emulatorPin,omitempty"`
	// ioThreadPins are those of its I/O threads.
	// +optional
	// +listType=map
	// +listMapKey=ioThread
	// +kubebuilder:validation:MaxItems=1024
	IOThreadPins []IOThreadPin `json:"ioThreadPins,omitempty"`
	// cellPins are the nodes of its NUMA cells.
	// +optional
	// +listType=map
	// +listMapKey=cell
	// +kubebuilder:validation:MaxItems=256
	CellPins []CellPin `json:"cellPins,omitempty"`
	// memoryNodes are the nodes of its memory as a whole.
	// +optional
	MemoryNodes CPUSet `json:"memoryNodes,omitempty"`
}

// TargetHost describes the target's host. What is not known is left out, and is not
// checked.
type TargetHost struct {
	// onlineCPUs are the host's CPUs, as a list such as 0-31.
	// +optional
	OnlineCPUs CPUSet `json:"onlineCPUs,omitempty"`
	// numaNodes are the host's NUMA nodes, as a list such as 0-1.
	// +optional
	NUMANodes CPUSet `json:"numaNodes,omitempty"`
	// cgroupVersion is the version of the host's control groups, which decides what CPU
	// shares are allowed.
	// +optional
	// +kubebuilder:validation:Enum=1;2
	CgroupVersion int32 `json:"cgroupVersion,omitempty"`
	// libvirtVersion is that of the host's libvirt, which decides what it accepts.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	LibvirtVersion string `json:"libvirtVersion,omitempty"`
	// hypervisorVersion is the version of the host's QEMU.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	HypervisorVersion string `json:"hypervisorVersion,omitempty"`
	// migrationLinkMbps is how fast the link is on which guests arrive, in Mbit/s, as the agent
	// was told.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	MigrationLinkMbps int32 `json:"migrationLinkMbps,omitempty"`
	// migrationTLS is whether the host's QEMU can encrypt migrations.
	// +optional
	MigrationTLS *MigrationTLS `json:"migrationTLS,omitempty"`
}
