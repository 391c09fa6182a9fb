package v1alpha1

// GuestFacts are what the target has to know about a guest.
type GuestFacts struct {
	// name is the guest's libvirt name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`
	// hostUUID is the UUID of the source's libvirt.
	// +optional
	// +kubebuilder:validation:MaxLength=36
	HostUUID string `json:"hostUUID,omitempty"`
	// serialPorts is how many TCP ports the guest's serial consoles listen on.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	SerialPorts int32 `json:"serialPorts,omitempty"`
	// secrets are the libvirt secrets to which the definitions for the target refer. The
	// target's libvirt must have them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	Secrets []SecretReference `json:"secrets,omitempty"`
	// emulator is what runs the guest.
	// +optional
	Emulator *GuestEmulator `json:"emulator,omitempty"`
	// firmware is what the guest boots from, if that is of files of its host.
	// +optional
	Firmware *GuestFirmware `json:"firmware,omitempty"`
	// disks are those that options.storageCopy is about.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Disks []GuestDisk `json:"disks,omitempty"`
	// macAddresses are those of its network interfaces, in the order of its definition, in lower
	// case. They are the same on the target. Of more than 64, the rest is left out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	MACAddresses []MACAddress `json:"macAddresses,omitempty"`
	// hostInterfaces are the MAC addresses of those that options.detachHostInterfaces is about.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	HostInterfaces []MACAddress `json:"hostInterfaces,omitempty"`
	// diskFiles are the files of its disks that the target is to see where they are, unless
	// the disk is copied.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	DiskFiles []DiskFile `json:"diskFiles,omitempty"`
	// blockDevices are the block devices of its disks of which the source's host knows which
	// ones they are: volumes of LVM, and devices to which several paths lead.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	BlockDevices []BlockDevice `json:"blockDevices,omitempty"`
	// storageMappings are those of the attempt that give a disk of the guest another place.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=from
	// +kubebuilder:validation:MaxItems=64
	StorageMappings []StorageMapping `json:"storageMappings,omitempty"`
	// resources are what the guest takes of its host.
	// +optional
	Resources *GuestResources `json:"resources,omitempty"`
}

// GuestResources are what a guest takes of its host, as it is to be on the target. What is
// absent is not known, and not checked.
type GuestResources struct {
	// memoryBytes is the memory that the guest has now; absent if it is in huge pages.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// hugePages are what its memory is in.
	// +optional
	HugePages *GuestHugePages `json:"hugePages,omitempty"`
	// networks are the networks of libvirt to which it is connected.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Networks []string `json:"networks,omitempty"`
	// bridges are the bridges of the host to which it is connected.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	Bridges []string `json:"bridges,omitempty"`
	// virtualSwitches are bridges to which it is connected by a virtual port, as those of
	// Open vSwitch, which the kernel does not know as bridges.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	VirtualSwitches []string `json:"virtualSwitches,omitempty"`
	// definedNetworks are the networks and bridges that only its persistent definition names.
	// They are mapped as the others, and nobody checks whether they are there.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	DefinedNetworks []GuestNetwork `json:"definedNetworks,omitempty"`
	// perfEvents are the performance events that are counted for it, unless the migrate data
	// say which.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	PerfEvents []PerfEvent `json:"perfEvents,omitempty"`
	// pinning is what it is pinned to; absent if that is nothing, and if the migrate data give
	// its pins on the target.
	// +optional
	Pinning *GuestPinning `json:"pinning,omitempty"`
	// mediatedDevices are its mediated devices, unless the migrate data map them.
	// +optional
	// +listType=map
	// +listMapKey=uuid
	// +kubebuilder:validation:MaxItems=64
	MediatedDevices []GuestMediatedDevice `json:"mediatedDevices,omitempty"`
	// pciDevices are the PCI functions of the host that it has, unless the migrate data map
	// them.
	// +optional
	// +listType=map
	// +listMapKey=address
	// +kubebuilder:validation:MaxItems=64
	PCIDevices []GuestPCIDevice `json:"pciDevices,omitempty"`
}

// GuestPinning is what a guest is pinned to on the source, by the numbers that its CPUs and
// NUMA nodes have there.
type GuestPinning struct {
	// vcpuPins are the pins of virtual CPUs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=512
	VCPUPins []GuestPin `json:"vcpuPins,omitempty"`
	// ioThreadPins are those of I/O threads.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=128
	IOThreadPins []GuestPin `json:"ioThreadPins,omitempty"`
	// emulatorCPUs are what the emulator is pinned to.
	// +optional
	EmulatorCPUs CPUSet `json:"emulatorCPUs,omitempty"`
	// cellBindings are the nodes that the memory of its NUMA cells is bound to.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	CellBindings []GuestCellBinding `json:"cellBindings,omitempty"`
	// memoryNodes are those of its memory as a whole.
	// +optional
	MemoryNodes CPUSet `json:"memoryNodes,omitempty"`
	// hostCells are the NUMA cells of the source to which these CPUs and nodes belong.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	HostCells []GuestHostCell `json:"hostCells,omitempty"`
}

// GuestPin is threads of a guest that are pinned to the same CPUs.
type GuestPin struct {
	// ids are the numbers of the threads, as a list such as 0-3,8.
	// +required
	IDs CPUSet `json:"ids,omitempty"`
	// hostCPUs are the CPUs.
	// +required
	HostCPUs CPUSet `json:"hostCPUs,omitempty"`
}

// GuestCellBinding is a NUMA cell of a guest and the nodes that its memory is bound to.
type GuestCellBinding struct {
	// cell is the number of the guest's NUMA cell.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1023
	Cell int32 `json:"cell"`
	// hostNodes are the nodes.
	// +required
	HostNodes CPUSet `json:"hostNodes,omitempty"`
	// hugePages is in how many huge pages it is.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HugePages int64 `json:"hugePages,omitempty"`
}

// GuestHostCell is what a guest uses of a NUMA cell of its host.
type GuestHostCell struct {
	// id is libvirt's number of the cell.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	ID int32 `json:"id"`
	// cpus are CPUs of the cell to which the guest is pinned.
	// +optional
	CPUs CPUSet `json:"cpus,omitempty"`
	// cores are those of them that are threads of one core, if it has several.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Cores []CPUSet `json:"cores,omitempty"`
}

// GuestMediatedDevice is a mediated device of a guest.
type GuestMediatedDevice struct {
	// uuid is its UUID on the source.
	// +required
	UUID UUID `json:"uuid,omitempty"`
	// type is the driver's name of its type.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Type string `json:"type,omitempty"`
}

// GuestPCIDevice is a PCI function of the host that a guest has.
type GuestPCIDevice struct {
	// address is its address on the source.
	// +required
	Address PCIAddress `json:"address,omitempty"`
	// vendor and product say what it is, by their numbers, such as 0x8086.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	Vendor string `json:"vendor,omitempty"`
	// product is that of the vendor.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	Product string `json:"product,omitempty"`
	// virtualFunction is whether it is a virtual function of another.
	// +optional
	VirtualFunction bool `json:"virtualFunction,omitempty"`
}

// GuestNetwork is a network or bridge that a guest's definition names.
type GuestNetwork struct {
	// kind is what it is.
	// +required
	Kind NetworkKind `json:"kind,omitempty"`
	// name is its name on the source host.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// GuestHugePages are huge pages of one size.
type GuestHugePages struct {
	// sizeBytes is the size of a page.
	// +required
	// +kubebuilder:validation:Minimum=1
	SizeBytes int64 `json:"sizeBytes,omitempty"`
	// count is how many there are.
	// +required
	// +kubebuilder:validation:Minimum=1
	Count int64 `json:"count,omitempty"`
}

// GuestEmulator is what runs a guest. The target's libvirt is asked beforehand whether it can
// do the same.
type GuestEmulator struct {
	// path is where it is to be on the target.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Path string `json:"path,omitempty"`
	// virtType is the kind of virtualization, such as kvm.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	VirtType string `json:"virtType,omitempty"`
	// arch is the guest's architecture, such as x86_64.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Arch string `json:"arch,omitempty"`
	// machine is the type of machine, such as pc-q35-7.2.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Machine string `json:"machine,omitempty"`
	// cpu is the guest's CPU, as an element of its definition. It is absent where only the
	// emulator knows what the guest's CPU has, and then not compared.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	CPU string `json:"cpu,omitempty"`
}

// GuestFirmware are files that a guest boots from, by where they are to be on the target. QEMU
// takes the guest only if they are as large there.
type GuestFirmware struct {
	// codePath is the firmware itself.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	CodePath string `json:"codePath,omitempty"`
	// codeBytes is its size on the source; absent where that is not known.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CodeBytes int64 `json:"codeBytes,omitempty"`
	// variablesPath is where it keeps its variables. They move with the guest.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	VariablesPath string `json:"variablesPath,omitempty"`
	// variablesBytes is their size on the source; absent where that is not known.
	// +optional
	// +kubebuilder:validation:Minimum=0
	VariablesBytes int64 `json:"variablesBytes,omitempty"`
	// templatePath is of what libvirt makes the file of the variables where there is none.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	TemplatePath string `json:"templatePath,omitempty"`
}

// HostInterface is what becomes of an interface that is a PCI device of the guest's host.
type HostInterface struct {
	// macAddress finds it.
	// +required
	MACAddress MACAddress `json:"macAddress"`
	// state is how far it is.
	// +required
	State HostInterfaceState `json:"state,omitempty"`
	// error is what the last try to give it back failed with.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Error string `json:"error,omitempty"`
}

// HostInterfaceState is how far a host's interface is.
//
// +kubebuilder:validation:Enum=Detaching;Detached;Attached
type HostInterfaceState string

// The states of a host's interface.
const (
	// HostInterfaceDetaching: it is being taken from the guest, or has been.
	HostInterfaceDetaching HostInterfaceState = "Detaching"
	// HostInterfaceDetached: the guest does not have it.
	HostInterfaceDetached HostInterfaceState = "Detached"
	// HostInterfaceAttached: the guest has it again.
	HostInterfaceAttached HostInterfaceState = "Attached"
)
