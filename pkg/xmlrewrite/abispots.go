package xmlrewrite

import (
	"slices"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// spot is a kind of element some of whose content belongs to the host: the
// guest cannot see it. Everything that is not listed here is taken to be
// visible to the guest, so what is unknown is guarded too.
type spot int

const (
	spotGuest spot = iota // Nothing in it belongs to the host.
	spotDomain
	spotVCPU
	spotBlockTune
	spotCPUTune
	spotCPUResource
	spotCPUResourceID
	spotNUMATune
	spotNUMAMemory
	spotMemoryBacking
	spotPerf
	spotDevices
	spotGraphics
	spotListen
	spotSerial
	spotSerialSource
	spotRNG
	spotDisk
	spotDiskDriver
	spotDiskSource
	spotInterface
	spotInterfaceDriver
	spotInterfaceTarget
	spotInterfaceSource
	spotInterfaceBackend
	spotHostdev
	spotHostdevSource
	spotHostdevAddress
	spotUSBHostdev
	spotUSBSource
	spotMemory
	spotMemorySource
)

// spotOf returns the spot of an element, and whether the element is part of one
// that belongs to the host altogether.
func spotOf(n *xmltree.Node) (s spot, hidden bool) {
	if n.Parent == nil {
		return spotDomain, false
	}
	in, hidden := spotOf(n.Parent)
	return in.part(n), hidden || (!n.Foreign && in.whole(n.Name))
}

// part returns the spot of a child element.
func (s spot) part(n *xmltree.Node) spot {
	if n.Foreign {
		return spotGuest
	}
	// The others have none.
	//exhaustive:ignore
	switch s {
	case spotDomain:
		return partOfDomain(n.Name)
	case spotDevices:
		if n.Name == "hostdev" && n.Value("type") == "usb" {
			return spotUSBHostdev
		}
		return partOfDevices(n.Name)
	case spotCPUTune:
		return partIf(isOneOf(n.Name, "cachetune", "memorytune"), spotCPUResource)
	case spotCPUResource:
		return partIf(isOneOf(n.Name, "cache", "node"), spotCPUResourceID)
	case spotNUMATune:
		return partIf(n.Name == "memory", spotNUMAMemory)
	}
	return s.partOfDevice(n.Name)
}

// partOfDevice returns the spot of an element in a device.
func (s spot) partOfDevice(name string) spot {
	// The others have none.
	//exhaustive:ignore
	switch s {
	case spotGraphics:
		return partIf(name == "listen", spotListen)
	case spotSerial:
		return partIf(name == "source", spotSerialSource)
	case spotRNG:
		return partIf(name == "backend", spotSerial)
	case spotDisk:
		return partIf(name == "driver", spotDiskDriver) | partIf(name == "source", spotDiskSource)
	case spotInterface:
		return partIf(name == "driver", spotInterfaceDriver) | partIf(name == "target", spotInterfaceTarget) |
			partIf(name == "source", spotInterfaceSource) | partIf(name == "backend", spotInterfaceBackend)
	case spotHostdev:
		return partIf(name == "source", spotHostdevSource)
	case spotUSBHostdev:
		return partIf(name == "source", spotUSBSource)
	case spotHostdevSource:
		return partIf(name == "address", spotHostdevAddress)
	case spotMemory:
		return partIf(name == "source", spotMemorySource)
	}
	return spotGuest
}

func partIf(is bool, s spot) spot {
	if is {
		return s
	}
	return spotGuest
}

func partOfDomain(name string) spot {
	switch name {
	case "vcpu":
		return spotVCPU
	case "blkiotune":
		return spotBlockTune
	case "cputune":
		return spotCPUTune
	case "numatune":
		return spotNUMATune
	case "memoryBacking":
		return spotMemoryBacking
	case "perf":
		return spotPerf
	case "devices":
		return spotDevices
	}
	return spotGuest
}

func partOfDevices(name string) spot {
	switch name {
	case "graphics":
		return spotGraphics
	case "serial", "console", "channel", "parallel", "redirdev", "smartcard":
		return spotSerial
	case "rng":
		return spotRNG
	case "disk":
		return spotDisk
	case "interface":
		return spotInterface
	case "hostdev":
		return spotHostdev
	case "memory":
		return spotMemory
	}
	return spotGuest
}

// optional reports whether the element may come and go while nothing that the
// guest can see is in it.
func (s spot) optional() bool {
	// The others have none.
	//exhaustive:ignore
	switch s {
	case spotBlockTune, spotCPUTune, spotNUMATune, spotNUMAMemory, spotMemoryBacking, spotPerf, spotListen,
		spotDiskDriver, spotDiskSource, spotInterfaceDriver, spotInterfaceTarget, spotInterfaceSource, spotInterfaceBackend:
		return true
	}
	return false
}

// hasAttr reports whether an attribute belongs to the host.
func (s spot) hasAttr(name string) bool {
	// The others have none.
	//exhaustive:ignore
	switch s {
	case spotVCPU:
		return name == "cpuset"
	case spotNUMAMemory:
		return isOneOf(name, "mode", "nodeset")
	case spotCPUResourceID:
		return name == "id"
	case spotGraphics:
		return isOneOf(name, "listen", "autoport", "port", "tlsPort", "websocket")
	case spotListen:
		return isOneOf(name, "type", "address")
	case spotSerialSource:
		return isOneOf(name, "host", "service")
	case spotHostdevAddress:
		return isOneOf(name, "domain", "bus", "slot", "function", "uuid")
	}
	return s.hasDiskAttr(name) || s.hasInterfaceAttr(name)
}

func (s spot) hasDiskAttr(name string) bool {
	// The others are no part of a disk.
	//exhaustive:ignore
	switch s {
	case spotDisk:
		return name == "type"
	case spotDiskDriver:
		return isOneOf(name, "name", "type", "cache", "io", "discard", "discard_no_unref")
	case spotDiskSource:
		return isOneOf(name, "file", "fdgroup", "dev", "dir", "pool", "volume", "mode", "protocol", "name", "query",
			"tls", "tlsHostname", "type", "path", "namespace", "managed", "startupPolicy")
	}
	return false
}

func (s spot) hasInterfaceAttr(name string) bool {
	// The others are no part of an interface.
	//exhaustive:ignore
	switch s {
	case spotInterface:
		return name == "type"
	case spotInterfaceDriver:
		return name == "name"
	case spotInterfaceTarget:
		return isOneOf(name, "dev", "managed")
	case spotInterfaceBackend:
		return isOneOf(name, "type", "logFile", "hostname", "fqdn", "tap")
	case spotInterfaceSource:
		return isOneOf(name, "bridge", "network", "portgroup", "portid", "dev", "mode", "type", "path",
			"address", "port", "name", "switchid", "portgroupid", "connectionid", "macTableManager", "missing")
	}
	return false
}

// whole reports whether a child element belongs to the host altogether.
func (s spot) whole(name string) bool {
	// The others have none.
	//exhaustive:ignore
	switch s {
	case spotBlockTune:
		return name == "device"
	case spotCPUTune:
		return isOneOf(name, "shares", "vcpupin", "emulatorpin", "iothreadpin", "vcpusched")
	case spotNUMATune:
		return name == "memnode"
	case spotMemoryBacking:
		return isOneOf(name, "source", "access", "allocation", "discard")
	case spotPerf:
		return name == "event"
	case spotInterface:
		return isOneOf(name, "virtualport", "vlan", "filterref", "bandwidth", "port", "ip", "route", "portForward", "coalesce")
	case spotUSBSource:
		return isOneOf(name, "vendor", "product", "address")
	case spotInterfaceSource:
		return isOneOf(name, "address", "reconnect", "local", "ip", "route")
	case spotMemorySource:
		return isOneOf(name, "path", "nodemask")
	}
	return s.wholeInDisk(name)
}

func (s spot) wholeInDisk(name string) bool {
	// The others are no part of a disk.
	//exhaustive:ignore
	switch s {
	case spotDisk:
		return isOneOf(name, "auth", "encryption", "backingStore")
	case spotDiskDriver:
		return name == "metadata_cache"
	case spotDiskSource:
		return isOneOf(name, "host", "auth", "address", "snapshot", "config", "initiator", "identity", "ssl",
			"cookies", "readahead", "timeout", "reconnect", "knownHosts", "encryption", "dataStore")
	}
	return false
}

func isOneOf(name string, names ...string) bool { return slices.Contains(names, name) }
