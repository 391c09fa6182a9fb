package v1alpha1

// HypervisorHost is what a node's host has and offers. A part that is absent is not known,
// and unread says why if that is worth knowing; what there is none of has a count of 0. A
// list that is shorter than its count leaves out what does not fit into the object.
type HypervisorHost struct {
	// unread is what the agent could not read when it looked last.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Unread []UnreadFact `json:"unread,omitempty"`
	// libvirtSocket is the name of the socket by which the agent reaches libvirt.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	LibvirtSocket string `json:"libvirtSocket,omitempty"`
	// kernelVersion is the version of the host's kernel.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	KernelVersion string `json:"kernelVersion,omitempty"`
	// cgroupVersion is the version of the control groups of the host.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2
	CgroupVersion int32 `json:"cgroupVersion,omitempty"`
	// addresses are the node's addresses, by what they are for.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Addresses []HostAddress `json:"addresses,omitempty"`
	// migrationPorts are the ports on which guests arrive.
	// +optional
	MigrationPorts *HostPortRange `json:"migrationPorts,omitempty"`
	// migrationLinkMbps is how fast the link is on which guests arrive and leave, in Mbit/s, as
	// the agent was told.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	MigrationLinkMbps int32 `json:"migrationLinkMbps,omitempty"`
	// cpu is the host's CPU, and what guests can be given of it.
	// +optional
	CPU *HostCPU `json:"cpu,omitempty"`
	// cpuSets are the CPUs that the agent was told to give to guests.
	// +optional
	CPUSets *HostCPUSets `json:"cpuSets,omitempty"`
	// memory is the memory of the whole host.
	// +optional
	Memory *HostMemory `json:"memory,omitempty"`
	// numa is the host's NUMA topology.
	// +optional
	NUMA *HostNUMA `json:"numa,omitempty"`
	// architectures are those for which the host runs guests, its own first.
	// +optional
	Architectures *HostArchitectures `json:"architectures,omitempty"`
	// networks are libvirt's networks.
	// +optional
	Networks *HostNetworks `json:"networks,omitempty"`
	// bridges are the host's bridges.
	// +optional
	Bridges *HostNames `json:"bridges,omitempty"`
	// storagePools are libvirt's storage pools.
	// +optional
	StoragePools *HostStoragePools `json:"storagePools,omitempty"`
	// mediatedDevices are the types of mediated devices that the host can make.
	// +optional
	MediatedDevices *HostMediatedDevices `json:"mediatedDevices,omitempty"`
	// perfEvents are the performance events of guests that the host can count.
	// +optional
	PerfEvents *HostNames `json:"perfEvents,omitempty"`
	// tls is which of the host's certificates serve their purpose, and when they end.
	// +optional
	TLS *HostTLS `json:"tls,omitempty"`
	// postCopy is whether the host can receive guests in post-copy.
	// +optional
	PostCopy *HostPostCopy `json:"postCopy,omitempty"`
}

// UnreadFact is what an agent could not read.
type UnreadFact struct {
	// fact is what it is.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Fact string `json:"fact,omitempty"`
	// message is why.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}

// AddressPurpose is what an address is for.
//
// +k8s:enum
type AddressPurpose string

// The purposes of addresses.
const (
	// AddressControl is where libvirt on other nodes reaches libvirt on this one.
	AddressControl AddressPurpose = "Control"
	// AddressMigration is where guests' memory arrives.
	AddressMigration AddressPurpose = "Migration"
	// AddressDisks is where disks arrive that are copied, if that is not where memory does.
	AddressDisks AddressPurpose = "Disks"
	// AddressConsoles is where consoles of guests that have arrived listen.
	AddressConsoles AddressPurpose = "Consoles"
)

// HostAddress is an address of a node.
type HostAddress struct {
	// purpose is what the address is for.
	// +required
	Purpose AddressPurpose `json:"purpose,omitempty"`
	// address is an IP address or a DNS name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Address string `json:"address,omitempty"`
}

// HostPortRange is a range of ports, both ends included.
type HostPortRange struct {
	// first is the lowest port.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	First int32 `json:"first,omitempty"`
	// last is the highest port.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Last int32 `json:"last,omitempty"`
}

// HostCPU is the CPU of a host.
type HostCPU struct {
	// architecture is libvirt's name of the CPU's architecture.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Architecture string `json:"architecture,omitempty"`
	// model is the closest of libvirt's models.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Model string `json:"model,omitempty"`
	// vendor is the CPU's vendor.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Vendor string `json:"vendor,omitempty"`
	// featureCount is how many features the CPU has beyond the model's.
	// +optional
	// +kubebuilder:validation:Minimum=0
	FeatureCount *int32 `json:"featureCount,omitempty"`
	// cpuCount is how many logical CPUs there are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CPUCount *int32 `json:"cpuCount,omitempty"`
	// offered are the CPUs that guests can be given by name.
	// +optional
	Offered *HostOfferedCPUs `json:"offered,omitempty"`
}

// HostOfferedCPUs are the CPUs that guests of the host's architecture can be given. What is
// absent in it is not offered.
type HostOfferedCPUs struct {
	// domainType is how these guests are run: kvm or qemu.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	DomainType string `json:"domainType,omitempty"`
	// hostModel is what a guest gets as host-model.
	// +optional
	HostModel *HostOfferedCPU `json:"hostModel,omitempty"`
	// maximum is what a guest gets as maximum.
	// +optional
	Maximum *HostOfferedCPU `json:"maximum,omitempty"`
}

// HostOfferedCPU is a CPU that guests can be given, as libvirt describes it.
type HostOfferedCPU struct {
	// model is its model; absent if libvirt does not say.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Model string `json:"model,omitempty"`
	// vendor is its vendor.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Vendor string `json:"vendor,omitempty"`
	// required is what it has beyond its model.
	// +optional
	Required *HostCPUFeatures `json:"required,omitempty"`
	// disabled is what it lacks of its model.
	// +optional
	Disabled *HostCPUFeatures `json:"disabled,omitempty"`
}

// HostCPUFeatures are features of a CPU.
type HostCPUFeatures struct {
	// count is how many there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
	// names are their names.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=32
	Names []string `json:"names,omitempty"`
}

// HostCPUSets are CPUs, written as in 0-3,8.
type HostCPUSets struct {
	// shared are those that guests share whose CPUs are not pinned.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Shared string `json:"shared,omitempty"`
	// dedicated are those to which CPUs of guests are pinned.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Dedicated string `json:"dedicated,omitempty"`
}

// HostMemory is the memory of a host.
type HostMemory struct {
	// totalBytes is how much there is.
	// +required
	// +kubebuilder:validation:Minimum=0
	TotalBytes int64 `json:"totalBytes"`
	// availableBytes is how much can be had without swapping.
	// +required
	// +kubebuilder:validation:Minimum=0
	AvailableBytes int64 `json:"availableBytes"`
}

// HostNUMA is the NUMA topology of a host.
type HostNUMA struct {
	// count is how many cells there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
	// cells are these.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Cells []HostNUMACell `json:"cells,omitempty"`
}

// HostNUMACell is a NUMA cell.
type HostNUMACell struct {
	// id is libvirt's number of the cell.
	// +required
	// +kubebuilder:validation:Minimum=0
	ID int32 `json:"id"`
	// cpus are its CPUs, written as in 0-3,8.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	CPUs string `json:"cpus,omitempty"`
	// memoryBytes is how much memory it has.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// freeBytes is how much of that is free, not counting what caches occupy.
	// +optional
	// +kubebuilder:validation:Minimum=0
	FreeBytes *int64 `json:"freeBytes,omitempty"`
	// hugePages are its huge pages, by size.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	HugePages []HostHugePages `json:"hugePages,omitempty"`
}

// HostHugePages are huge pages of one size.
type HostHugePages struct {
	// sizeBytes is the size of each.
	// +required
	// +kubebuilder:validation:Minimum=1
	SizeBytes int64 `json:"sizeBytes"`
	// total is how many there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	Total int64 `json:"total"`
	// free is how many of them are free.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Free *int64 `json:"free,omitempty"`
}

// HostArchitectures are architectures of guests.
type HostArchitectures struct {
	// count is how many there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
	// items are these.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Items []HostArchitecture `json:"items,omitempty"`
}

// HostArchitecture is an architecture of guests.
type HostArchitecture struct {
	// name is libvirt's name of the architecture.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name,omitempty"`
	// domainTypes are how guests can be run: kvm, qemu.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MaxLength=32
	DomainTypes []string `json:"domainTypes,omitempty"`
	// machineTypeCount is how many machine types there are.
	// +required
	// +kubebuilder:validation:Minimum=0
	MachineTypeCount int32 `json:"machineTypeCount"`
	// machineTypes are these, by the names that guests carry. Of more than 192, the newest
	// are listed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=192
	// +kubebuilder:validation:items:MaxLength=64
	MachineTypes []string `json:"machineTypes,omitempty"`
	// deprecated are those of them that a later QEMU will not have. Of more than 64, the
	// newest are listed.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=64
	Deprecated []string `json:"deprecated,omitempty"`
	// aliases are other names for them, such as pc and q35.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Aliases []HostMachineAlias `json:"aliases,omitempty"`
}

// HostMachineAlias is another name of a machine type.
type HostMachineAlias struct {
	// name is what a definition may say.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Name string `json:"name,omitempty"`
	// machineType is what becomes of it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MachineType string `json:"machineType,omitempty"`
}
