package hypervisor

import (
	"slices"
	"strings"
)

// FactGroup names facts of a host that are read together.
type FactGroup string

// The groups of facts.
const (
	// FactsCapabilities are the CPU, the architectures, the NUMA cells and the emulator's
	// user.
	FactsCapabilities FactGroup = "Capabilities"
	// FactsOfferedCPUs are the CPUs that guests may be given.
	FactsOfferedCPUs FactGroup = "OfferedCPUs"
	// FactsMemory is how much memory is free in each cell.
	FactsMemory       FactGroup = "Memory"
	FactsNetworks     FactGroup = "Networks"
	FactsBridges      FactGroup = "Bridges"
	FactsStoragePools FactGroup = "StoragePools"
	// FactsMediatedDevices are the types of mediated devices that can be made.
	FactsMediatedDevices FactGroup = "MediatedDevices"
)

// FactsHostDevices are devices that guests may be given. It takes a call for each of the
// host's, so nobody asks who does not need it, and FactGroups leaves it out.
const FactsHostDevices FactGroup = "HostDevices"

// FactGroups returns the groups that describe a host, in the order in which they are read.
func FactGroups() []FactGroup {
	return []FactGroup{
		FactsCapabilities, FactsOfferedCPUs, FactsMemory, FactsNetworks, FactsBridges, FactsStoragePools, FactsMediatedDevices,
	}
}

// HostFacts is what a host has and offers. What is nil was not asked for or is not known,
// and Errors says why; what is empty, but not nil, is not there.
type HostFacts struct {
	// Socket is the name of the file through which the daemon is reached, if it is one.
	Socket       string
	Capabilities *HostCapabilities
	OfferedCPUs  *OfferedCPUs
	Memory       []CellMemory
	Networks     []Network
	// Bridges are those that are not called as IsGuestPort says.
	Bridges      []string
	StoragePools []StoragePool
	// MediatedTypes are ordered by their names.
	MediatedTypes []MediatedType
	Devices       *HostDevices
	// Errors says why a group that was asked for could not be read.
	Errors map[FactGroup]error
}

// IsGuestPort reports whether something of the host's network is called as its ends of guests'
// interfaces are: there may be hundreds of them, so nobody looks whether one is a bridge.
func IsGuestPort(name string) bool {
	return slices.ContainsFunc([]string{"vnet", "macvtap", "macvlan", "tap", "veth"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// HostCapabilities is what a host is made of, and which guests it can run.
type HostCapabilities struct {
	CPU HostCPU
	// Architectures begin with the host's own.
	Architectures []Architecture
	// Cells are the NUMA cells, at least one where the host tells.
	Cells []Cell
	// Emulator is the user as whom emulators run; nil where it is not known.
	Emulator *EmulatorUser
}

// HostCPU is a host's CPU, as the hypervisor knows it.
type HostCPU struct {
	Architecture, Model, Vendor string
	// Features are those beyond the model's.
	Features []string
}

// EmulatorUser is a user by its numbers.
type EmulatorUser struct{ UID, GID uint32 }

// Architecture is one for which a host runs guests.
type Architecture struct {
	Name string
	// DomainTypes are the ways in which it does, for example "kvm".
	DomainTypes []string
	// MachineTypes are the names that domains carry, and Deprecated those of them that a
	// later version will not have.
	MachineTypes, Deprecated []string
	// Aliases are other names, which a definition may have, and what becomes of them.
	Aliases map[string]string
}

// Cell is a NUMA cell.
type Cell struct {
	ID          int
	MemoryBytes uint64
	CPUs        []int
	// Offline are those of the CPUs that cannot be used, and Cores the threads of each core of
	// the others.
	Offline   []int
	Cores     [][]int
	HugePages []HugePages
}

// HugePages are a cell's pages of one size.
type HugePages struct{ SizeBytes, Total uint64 }

// CellMemory is how much memory of a cell is free.
type CellMemory struct {
	ID int
	// FreeBytes does not count what caches occupy, though that can be had.
	FreeBytes uint64
	// FreePages are the free huge pages, by their size in bytes.
	FreePages map[uint64]uint64
}

// OfferedCPUs are the CPUs that guests of the host's own architecture may be given.
type OfferedCPUs struct {
	// DomainType and Machine are what they were asked for.
	DomainType, Machine string
	// HostModel is like the host's own, and Maximum has everything that can be had; nil
	// where there is no such thing.
	HostModel, Maximum *OfferedCPU
}

// OfferedCPU is a CPU that guests may be given. All is empty where the hypervisor only says
// that there is one.
type OfferedCPU struct {
	Model, Vendor string
	// Required and Disabled are the features in which it differs from the model.
	Required, Disabled []string
}

// Network is one to which guests are connected by name.
type Network struct {
	Name   string
	Active bool
	// Forward is the hypervisor's word for where its traffic goes; empty is nowhere.
	Forward string
	// Bridge is empty where it has none.
	Bridge string
}

// StoragePool is a place for disks.
type StoragePool struct {
	Name, Type string
	// State is the hypervisor's word for it, such as PoolRunning.
	State string
	Path  string
	// CapacityBytes and AvailableBytes are as they were when the hypervisor looked last;
	// nil where it has not.
	CapacityBytes, AvailableBytes *uint64
}

// The states of storage pools in which guests can use them.
const (
	PoolRunning  = "Running"
	PoolDegraded = "Degraded"
)

// MediatedType is a type of mediated devices.
type MediatedType struct {
	ID, Name, DeviceAPI string
	// Parents is how many devices can be divided so, and Available into how many more
	// pieces in all.
	Parents, Available int
}

// NoCell is the cell of a device of which it is not known.
const NoCell = -1

// HostDevices are devices that guests may be given.
type HostDevices struct {
	Mediated []MediatedDevice
	PCI      []PCIDevice
}

// MediatedDevice is one that is there to be used.
type MediatedDevice struct {
	UUID, Type string
	// Cell is the NUMA cell of the device of which it is a part.
	Cell int
}

// PCIDevice is a PCI function.
type PCIDevice struct {
	// Address is written as 0000:81:00.1, and Vendor and Product as 0x8086.
	Address, Vendor, Product string
	// Driver is the host's driver that has it; empty if none has.
	Driver string
	// Virtual is whether it is a virtual function of another.
	Virtual bool
	Cell    int
}
