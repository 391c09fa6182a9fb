package agent

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// How much the API takes, in entries and bytes.
const (
	maxUnread, maxUnreadMessage           = 16, 512
	maxCells, maxPageSizes, maxCPUList    = 64, 8, 2048
	maxArchitectures, maxDomainTypes      = 8, 4
	maxMachineTypes, maxDeprecated        = 192, 64
	maxAliases, maxMachine                = 32, 64
	maxFeatures, maxFeature               = 256, 32
	maxNames, maxName                     = 256, 64
	maxNetworks, maxPools, maxMediated    = 256, 64, 64
	maxLongName, longestPath, longestWord = 128, 512, 32
)

// hostSection tells what is known of a host as the API takes it. What does not fit is left out
// and counted: one odd name must not keep the node from being published.
func hostSection(k known, receive ReceiveConfig, emulatorVersion string) *v1alpha1.HypervisorHost {
	f := k.facts
	host := &v1alpha1.HypervisorHost{
		Unread:         unread(f.Errors, k.filesError),
		LibvirtSocket:  fitting(f.Socket, maxLongName),
		KernelVersion:  fitting(k.files.Kernel, maxLongName),
		CgroupVersion:  int32(k.files.CgroupVersion), //nolint:gosec // It is 2 at most.
		Addresses:      addresses(receive),
		MigrationPorts: migrationPorts(receive, k.files.QEMU),

		MigrationLinkMbps: receive.LinkMbps,
		CPU:               hostCPU(f.Capabilities, f.OfferedCPUs),
		CPUSets:           cpuSets(receive),
		Memory:            hostMemory(k.files.Memory),
		NUMA:              hostNUMA(f.Capabilities, f.Memory),
		Architectures:     hostArchitectures(f.Capabilities),
		Networks:          hostNetworks(f.Networks),
		Bridges:           names(f.Bridges),
		StoragePools:      hostPools(f.StoragePools),
		MediatedDevices:   mediatedDevices(f.MediatedTypes),
		PerfEvents:        names(k.files.PerfEvents),
		TLS:               hostTLS(k.files),
	}
	var emulator *hypervisor.EmulatorUser
	if f.Capabilities != nil {
		emulator = f.Capabilities.Emulator
	}
	host.PostCopy = postCopy(k.files.Userfaultfd, emulator, emulatorVersion)
	return host
}

// fits reports whether a text is fit for the API and for people, within a number of bytes.
func fits(text string, most int) bool {
	return text != "" && len(text) <= most && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// fitting returns a text that fits; none otherwise.
func fitting(text string, most int) string {
	if fits(text, most) {
		return text
	}
	return ""
}

// entries converts what fits, up to a number of entries.
func entries[From, To any](all []From, most int, convert func(From) (To, bool)) []To {
	var out []To
	for _, from := range all {
		if len(out) == most {
			break
		}
		if to, ok := convert(from); ok {
			out = append(out, to)
		}
	}
	return out
}

// texts returns those that fit.
func texts(all []string, most, length int) []string {
	return entries(all, most, func(text string) (string, bool) { return text, fits(text, length) })
}

// number converts a count.
func number(n int) int32 { return int32(min(max(n, 0), math.MaxInt32)) }

// bytesOf converts a number of bytes.
func bytesOf(n uint64) int64 { return int64(min(n, v1alpha1.MaxInteger)) }

// factFiles is how the files of the host are called where they could not be read.
const factFiles = "Files"

func unread(errs map[hypervisor.FactGroup]error, files error) []v1alpha1.UnreadFact {
	if files != nil {
		errs = maps.Clone(errs)
		if errs == nil {
			errs = map[hypervisor.FactGroup]error{}
		}
		errs[factFiles] = files
	}
	return entries(slices.Sorted(maps.Keys(errs)), maxUnread, func(group hypervisor.FactGroup) (v1alpha1.UnreadFact, bool) {
		return v1alpha1.UnreadFact{Fact: string(group), Message: migration.Shorten(errs[group].Error(), maxUnreadMessage)}, true
	})
}

func addresses(receive ReceiveConfig) []v1alpha1.HostAddress {
	var out []v1alpha1.HostAddress
	if address := receive.Endpoint.Address; address != "" {
		out = append(out, v1alpha1.HostAddress{Purpose: v1alpha1.AddressControl, Address: address},
			v1alpha1.HostAddress{Purpose: v1alpha1.AddressMigration, Address: dataAddress(&receive.Endpoint)})
	}
	if address := receive.Endpoint.DisksAddress; address != "" {
		out = append(out, v1alpha1.HostAddress{Purpose: v1alpha1.AddressDisks, Address: address})
	}
	if receive.ListenAddress.IsValid() {
		out = append(out, v1alpha1.HostAddress{Purpose: v1alpha1.AddressConsoles, Address: receive.ListenAddress.String()})
	}
	return out
}

// migrationPorts returns the ports that the agent was told or, if it was not, those that it
// has read.
func migrationPorts(receive ReceiveConfig, config *hostfiles.QEMUConfig) *v1alpha1.HostPortRange {
	ports := receive.MigrationPorts
	if ports == (PortRange{}) && config != nil {
		ports = PortRange{First: config.MigrationPortMin, Last: config.MigrationPortMax}
	}
	if ports.First == 0 || ports.Last < ports.First {
		return nil
	}
	return &v1alpha1.HostPortRange{First: int32(ports.First), Last: int32(ports.Last)}
}

func cpuSets(receive ReceiveConfig) *v1alpha1.HostCPUSets {
	sets := v1alpha1.HostCPUSets{Shared: receive.SharedCPUs, Dedicated: receive.DedicatedCPUs}
	if sets == (v1alpha1.HostCPUSets{}) {
		return nil
	}
	return &sets
}

func hostCPU(caps *hypervisor.HostCapabilities, offered *hypervisor.OfferedCPUs) *v1alpha1.HostCPU {
	if caps == nil && offered == nil {
		return nil
	}
	out := &v1alpha1.HostCPU{}
	if caps != nil {
		cpu := caps.CPU
		out.Architecture, out.Model, out.Vendor = fitting(cpu.Architecture, longestWord), fitting(cpu.Model, maxLongName), fitting(cpu.Vendor, maxLongName)
		if cpu.Model != "" {
			out.FeatureCount = new(number(len(cpu.Features)))
		}
		if count := countCPUs(caps.Cells); count > 0 {
			out.CPUCount = new(number(count))
		}
	}
	if offered != nil {
		out.Offered = &v1alpha1.HostOfferedCPUs{
			DomainType: fitting(offered.DomainType, longestWord), HostModel: offeredCPU(offered.HostModel), Maximum: offeredCPU(offered.Maximum),
		}
	}
	return out
}

func countCPUs(cells []hypervisor.Cell) int {
	var count int
	for _, cell := range cells {
		count += len(cell.CPUs)
	}
	return count
}

func offeredCPU(cpu *hypervisor.OfferedCPU) *v1alpha1.HostOfferedCPU {
	if cpu == nil {
		return nil
	}
	out := &v1alpha1.HostOfferedCPU{Model: fitting(cpu.Model, maxLongName), Vendor: fitting(cpu.Vendor, maxLongName)}
	if cpu.Model != "" {
		out.Required, out.Disabled = features(cpu.Required), features(cpu.Disabled)
	}
	return out
}

func features(all []string) *v1alpha1.HostCPUFeatures {
	return &v1alpha1.HostCPUFeatures{Count: number(len(all)), Names: texts(all, maxFeatures, maxFeature)}
}

func hostMemory(memory *hostfiles.Memory) *v1alpha1.HostMemory {
	if memory == nil {
		return nil
	}
	return &v1alpha1.HostMemory{TotalBytes: bytesOf(memory.TotalBytes), AvailableBytes: bytesOf(memory.AvailableBytes)}
}

func hostNUMA(caps *hypervisor.HostCapabilities, free []hypervisor.CellMemory) *v1alpha1.HostNUMA {
	if caps == nil {
		return nil
	}
	return &v1alpha1.HostNUMA{
		Count: number(len(caps.Cells)),
		Cells: entries(caps.Cells, maxCells, func(cell hypervisor.Cell) (v1alpha1.HostNUMACell, bool) {
			out := v1alpha1.HostNUMACell{
				ID: number(cell.ID), CPUs: fitting(formatCPUs(cell.CPUs), maxCPUList), MemoryBytes: bytesOf(cell.MemoryBytes),
			}
			var pages map[uint64]uint64
			if i := slices.IndexFunc(free, func(m hypervisor.CellMemory) bool { return m.ID == cell.ID }); i >= 0 {
				out.FreeBytes, pages = new(bytesOf(free[i].FreeBytes)), free[i].FreePages
			}
			out.HugePages = entries(cell.HugePages, maxPageSizes, func(p hypervisor.HugePages) (v1alpha1.HostHugePages, bool) {
				entry := v1alpha1.HostHugePages{SizeBytes: bytesOf(p.SizeBytes), Total: bytesOf(p.Total)}
				if n, ok := pages[p.SizeBytes]; ok {
					entry.Free = new(bytesOf(n))
				}
				return entry, entry.SizeBytes > 0
			})
			return out, true
		}),
	}
}

// formatCPUs writes CPUs, which are in order, as in 0-3,8.
func formatCPUs(cpus []int) string {
	var out []string
	for i := 0; i < len(cpus); {
		last := i
		for last+1 < len(cpus) && cpus[last+1] == cpus[last]+1 {
			last++
		}
		text := strconv.Itoa(cpus[i])
		if last > i {
			text += "-" + strconv.Itoa(cpus[last])
		}
		out = append(out, text)
		i = last + 1
	}
	return strings.Join(out, ",")
}

func hostArchitectures(caps *hypervisor.HostCapabilities) *v1alpha1.HostArchitectures {
	if caps == nil {
		return nil
	}
	return &v1alpha1.HostArchitectures{
		Count: number(len(caps.Architectures)),
		Items: entries(caps.Architectures, maxArchitectures, func(a hypervisor.Architecture) (v1alpha1.HostArchitecture, bool) {
			aliases := entries(slices.Sorted(maps.Keys(a.Aliases)), maxAliases, func(alias string) (v1alpha1.HostMachineAlias, bool) {
				out := v1alpha1.HostMachineAlias{Name: alias, MachineType: a.Aliases[alias]}
				return out, fits(out.Name, maxMachine) && fits(out.MachineType, maxMachine)
			})
			return v1alpha1.HostArchitecture{
				Name: a.Name, DomainTypes: texts(a.DomainTypes, maxDomainTypes, longestWord),
				MachineTypeCount: number(len(a.MachineTypes)), MachineTypes: newest(a.MachineTypes, maxMachineTypes), Deprecated: newest(a.Deprecated, maxDeprecated), Aliases: aliases,
			}, fits(a.Name, longestWord)
		}),
	}
}

// newest returns the last of many machine types: those that guests have are among them
// sooner than among the first.
func newest(machines []string, most int) []string {
	fit := texts(machines, len(machines), maxMachine)
	return fit[max(len(fit)-most, 0):]
}

func hostNetworks(networks []hypervisor.Network) *v1alpha1.HostNetworks {
	if networks == nil {
		return nil
	}
	return &v1alpha1.HostNetworks{
		Count: number(len(networks)),
		Items: entries(byName(networks, func(n hypervisor.Network) string { return n.Name }), maxNetworks, func(n hypervisor.Network) (v1alpha1.HostNetwork, bool) {
			out := v1alpha1.HostNetwork{Name: n.Name, State: "Inactive", Forward: fitting(n.Forward, longestWord), Bridge: fitting(n.Bridge, maxName)}
			if n.Active {
				out.State = "Active"
			}
			return out, fits(n.Name, maxLongName)
		}),
	}
}

// byName puts what libvirt lists in no order into one.
func byName[T any](all []T, name func(T) string) []T {
	return slices.SortedFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(name(a), name(b)) })
}

func names(all []string) *v1alpha1.HostNames {
	if all == nil {
		return nil
	}
	return &v1alpha1.HostNames{Count: number(len(all)), Names: texts(all, maxNames, maxName)}
}

func hostPools(pools []hypervisor.StoragePool) *v1alpha1.HostStoragePools {
	if pools == nil {
		return nil
	}
	return &v1alpha1.HostStoragePools{
		Count: number(len(pools)),
		Items: entries(byName(pools, func(p hypervisor.StoragePool) string { return p.Name }), maxPools, func(p hypervisor.StoragePool) (v1alpha1.HostStoragePool, bool) {
			out := v1alpha1.HostStoragePool{
				Name: p.Name, Type: fitting(p.Type, longestWord), State: fitting(p.State, longestWord/2), Path: fitting(p.Path, longestPath),
			}
			if p.CapacityBytes != nil && p.AvailableBytes != nil {
				out.CapacityBytes, out.AvailableBytes = new(bytesOf(*p.CapacityBytes)), new(bytesOf(*p.AvailableBytes))
			}
			return out, fits(p.Name, maxLongName) && out.State != ""
		}),
	}
}

func mediatedDevices(types []hypervisor.MediatedType) *v1alpha1.HostMediatedDevices {
	if types == nil {
		return nil
	}
	return &v1alpha1.HostMediatedDevices{
		Count: number(len(types)),
		Items: entries(types, maxMediated, func(t hypervisor.MediatedType) (v1alpha1.HostMediatedType, bool) {
			return v1alpha1.HostMediatedType{
				Type: t.ID, Name: fitting(t.Name, maxLongName), DeviceAPI: fitting(t.DeviceAPI, longestWord),
				Parents: number(t.Parents), Available: number(t.Available),
			}, fits(t.ID, maxName)
		}),
	}
}

func hostTLS(files hostfiles.Facts) *v1alpha1.HostTLS {
	if files.Control == nil && files.Migration == nil {
		return nil
	}
	return &v1alpha1.HostTLS{Control: credentials(files.Control), Migration: credentials(files.Migration)}
}

func credentials(c *hostfiles.Credentials) *v1alpha1.HostCredentials {
	if c == nil {
		return nil
	}
	return &v1alpha1.HostCredentials{
		Directory: fitting(c.Dir, longestPath), Authority: certificate(c.Authority), Server: certificate(c.Server), Client: certificate(c.Client),
	}
}

func certificate(c hostfiles.Certificate) v1alpha1.HostCertificate {
	out := v1alpha1.HostCertificate{State: v1alpha1.CertificateState(c.State)}
	// The API's times have four digits for the year.
	if year := c.NotAfter.Year(); year >= 1000 && year <= 9999 { // That of no time is 1.
		out.NotAfter = new(metav1.NewTime(c.NotAfter.UTC()))
	}
	return out
}

// deviceSince is the version of QEMU that has come to use the device for page faults.
const deviceSince = 8

// postCopy says whether a host can receive guests in post-copy, as far as files and libvirt
// tell; nil where they do not.
func postCopy(faults hostfiles.Userfaultfd, emulator *hypervisor.EmulatorUser, version string) *v1alpha1.HostPostCopy {
	available := func(why string) *v1alpha1.HostPostCopy {
		return &v1alpha1.HostPostCopy{State: v1alpha1.PostCopyAvailable, Message: why}
	}
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	usesDevice := err == nil && n >= deviceSince
	switch {
	case faults.Everybody == nil:
		return nil
	case *faults.Everybody:
		return available("vm.unprivileged_userfaultfd is 1")
	case emulator == nil:
		return nil
	case emulator.UID == 0:
		return available("QEMU runs as root")
	case usesDevice && faults.Device != nil && faults.Device.Allow(emulator.UID, emulator.GID):
		return available("QEMU's user may open /dev/userfaultfd")
	case usesDevice && faults.HasDevice && faults.Device == nil:
		return nil // Who may open it is not seen from here.
	default:
		return &v1alpha1.HostPostCopy{
			State:   v1alpha1.PostCopyUnavailable,
			Message: "QEMU does not run as root, and vm.unprivileged_userfaultfd is 0; set it to 1 on the host",
		}
	}
}
