package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestWhatIsNotKnownIsAbsent(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(&v1alpha1.HypervisorHost{}, hostSection(known{}, ReceiveConfig{}, "")); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
	none := known{facts: hypervisor.HostFacts{
		Capabilities: &hypervisor.HostCapabilities{}, OfferedCPUs: &hypervisor.OfferedCPUs{},
		Networks: []hypervisor.Network{}, Bridges: []string{}, StoragePools: []hypervisor.StoragePool{}, MediatedTypes: []hypervisor.MediatedType{},
	}, files: hostfiles.Facts{PerfEvents: []string{}}}
	want := &v1alpha1.HypervisorHost{
		CPU: &v1alpha1.HostCPU{Offered: &v1alpha1.HostOfferedCPUs{}}, NUMA: &v1alpha1.HostNUMA{}, Architectures: &v1alpha1.HostArchitectures{},
		Networks: &v1alpha1.HostNetworks{}, Bridges: &v1alpha1.HostNames{}, StoragePools: &v1alpha1.HostStoragePools{},
		MediatedDevices: &v1alpha1.HostMediatedDevices{}, PerfEvents: &v1alpha1.HostNames{},
	}
	got := hostSection(none, ReceiveConfig{}, "")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("of a host that has nothing (-want +got):\n%s", diff)
	}
	text, err := json.Marshal(got)
	if err != nil || !strings.Contains(string(text), `"storagePools":{"count":0}`) {
		t.Errorf("that there are none is not told: %s, %v", text, err)
	}
}

func TestHostSection(t *testing.T) {
	t.Parallel()
	ends := time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)
	k := known{
		facts: hypervisor.HostFacts{
			Socket: "virtqemud-sock",
			Capabilities: &hypervisor.HostCapabilities{
				CPU: hypervisor.HostCPU{Architecture: "x86_64", Model: "EPYC", Vendor: "AMD", Features: []string{"a", "b"}},
				Architectures: []hypervisor.Architecture{{
					Name: "x86_64", DomainTypes: []string{"kvm"}, MachineTypes: []string{"pc-i440fx-7.2", "pc-q35-7.2"}, Deprecated: []string{"pc-i440fx-7.2"},
					Aliases: map[string]string{"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2"},
				}},
				Cells: []hypervisor.Cell{
					{ID: 0, MemoryBytes: 64, CPUs: []int{0, 1, 2, 8}, HugePages: []hypervisor.HugePages{{SizeBytes: 2 << 20, Total: 4}}},
					{ID: 2, MemoryBytes: 32, CPUs: []int{3}, HugePages: []hypervisor.HugePages{{SizeBytes: 1 << 30, Total: 1}}},
				},
				Emulator: &hypervisor.EmulatorUser{},
			},
			OfferedCPUs: &hypervisor.OfferedCPUs{
				DomainType: "kvm", HostModel: &hypervisor.OfferedCPU{Model: "EPYC", Vendor: "AMD", Required: []string{"x"}}, Maximum: &hypervisor.OfferedCPU{},
			},
			Memory:        []hypervisor.CellMemory{{ID: 0, FreeBytes: 7, FreePages: map[uint64]uint64{2 << 20: 3}}},
			Networks:      []hypervisor.Network{{Name: "z", Forward: "bridge", Bridge: "br0"}, {Name: "a", Active: true}},
			Bridges:       []string{"br0"},
			StoragePools:  []hypervisor.StoragePool{{Name: "p", Type: "dir", State: "Running", Path: "/p", CapacityBytes: new(uint64(9)), AvailableBytes: new(uint64(5))}},
			MediatedTypes: []hypervisor.MediatedType{{ID: "t", Name: "T", DeviceAPI: "vfio-pci", Parents: 1, Available: 2}},
			Errors:        map[hypervisor.FactGroup]error{hypervisor.FactsBridges: errors.New("no interface driver")},
		},
		files: hostfiles.Facts{
			Kernel: "6.1.0", CgroupVersion: 2, Memory: &hostfiles.Memory{TotalBytes: 100, AvailableBytes: 60}, PerfEvents: []string{"cpu_clock"},
			Userfaultfd: hostfiles.Userfaultfd{Everybody: new(false)},
			QEMU:        &hostfiles.QEMUConfig{MigrationPortMin: 49152, MigrationPortMax: 49215},
			Migration: &hostfiles.Credentials{
				Dir: "/etc/pki/qemu", Authority: hostfiles.Certificate{State: hostfiles.CertificateReady, NotAfter: ends},
				Server: hostfiles.Certificate{State: hostfiles.CertificateExpired, NotAfter: ends}, Client: hostfiles.Certificate{State: hostfiles.CertificateMissing},
			},
		},
	}
	receive := ReceiveConfig{
		Endpoint: v1alpha1.TargetEndpoint{Address: "192.0.2.1", DisksAddress: "2001:db8::3"}, ListenAddress: netip.MustParseAddr("192.0.2.2"), SharedCPUs: "0-3", DedicatedCPUs: "8",
	}
	end := metav1.NewTime(ends)
	want := &v1alpha1.HypervisorHost{
		Unread:        []v1alpha1.UnreadFact{{Fact: "Bridges", Message: "no interface driver"}},
		LibvirtSocket: "virtqemud-sock", KernelVersion: "6.1.0", CgroupVersion: 2,
		Addresses:      []v1alpha1.HostAddress{{Purpose: "Control", Address: "192.0.2.1"}, {Purpose: "Migration", Address: "192.0.2.1"}, {Purpose: "Disks", Address: "2001:db8::3"}, {Purpose: "Consoles", Address: "192.0.2.2"}},
		MigrationPorts: &v1alpha1.HostPortRange{First: 49152, Last: 49215},
		CPU: &v1alpha1.HostCPU{
			Architecture: "x86_64", Model: "EPYC", Vendor: "AMD", FeatureCount: new(int32(2)), CPUCount: new(int32(5)),
			Offered: &v1alpha1.HostOfferedCPUs{DomainType: "kvm", Maximum: &v1alpha1.HostOfferedCPU{}, HostModel: &v1alpha1.HostOfferedCPU{
				Model: "EPYC", Vendor: "AMD", Required: &v1alpha1.HostCPUFeatures{Count: 1, Names: []string{"x"}}, Disabled: &v1alpha1.HostCPUFeatures{},
			}},
		},
		CPUSets: &v1alpha1.HostCPUSets{Shared: "0-3", Dedicated: "8"},
		Memory:  &v1alpha1.HostMemory{TotalBytes: 100, AvailableBytes: 60},
		NUMA: &v1alpha1.HostNUMA{Count: 2, Cells: []v1alpha1.HostNUMACell{
			{CPUs: "0-2,8", MemoryBytes: 64, FreeBytes: new(int64(7)), HugePages: []v1alpha1.HostHugePages{{SizeBytes: 2 << 20, Total: 4, Free: new(int64(3))}}},
			{ID: 2, CPUs: "3", MemoryBytes: 32, HugePages: []v1alpha1.HostHugePages{{SizeBytes: 1 << 30, Total: 1}}},
		}},
		Architectures: &v1alpha1.HostArchitectures{Count: 1, Items: []v1alpha1.HostArchitecture{{
			Name: "x86_64", DomainTypes: []string{"kvm"}, MachineTypeCount: 2, MachineTypes: []string{"pc-i440fx-7.2", "pc-q35-7.2"}, Deprecated: []string{"pc-i440fx-7.2"},
			Aliases: []v1alpha1.HostMachineAlias{{Name: "pc", MachineType: "pc-i440fx-7.2"}, {Name: "q35", MachineType: "pc-q35-7.2"}},
		}}},
		Networks: &v1alpha1.HostNetworks{Count: 2, Items: []v1alpha1.HostNetwork{{Name: "a", State: "Active"}, {Name: "z", State: "Inactive", Forward: "bridge", Bridge: "br0"}}},
		Bridges:  &v1alpha1.HostNames{Count: 1, Names: []string{"br0"}},
		StoragePools: &v1alpha1.HostStoragePools{Count: 1, Items: []v1alpha1.HostStoragePool{
			{Name: "p", Type: "dir", State: "Running", Path: "/p", CapacityBytes: new(int64(9)), AvailableBytes: new(int64(5))},
		}},
		MediatedDevices: &v1alpha1.HostMediatedDevices{Count: 1, Items: []v1alpha1.HostMediatedType{{Type: "t", Name: "T", DeviceAPI: "vfio-pci", Parents: 1, Available: 2}}},
		PerfEvents:      &v1alpha1.HostNames{Count: 1, Names: []string{"cpu_clock"}},
		TLS: &v1alpha1.HostTLS{Migration: &v1alpha1.HostCredentials{
			Directory: "/etc/pki/qemu", Authority: v1alpha1.HostCertificate{State: "Ready", NotAfter: &end},
			Server: v1alpha1.HostCertificate{State: "Expired", NotAfter: &end}, Client: v1alpha1.HostCertificate{State: "Missing"},
		}},
		PostCopy: &v1alpha1.HostPostCopy{State: "Available", Message: "QEMU runs as root"},
	}
	if diff := cmp.Diff(want, hostSection(k, receive, "7.2.22")); diff != "" {
		t.Errorf("the section differs (-want +got):\n%s", diff)
	}
	receive.MigrationPorts = PortRange{First: 50000, Last: 50001}
	if got := hostSection(k, receive, "").MigrationPorts; *got != (v1alpha1.HostPortRange{First: 50000, Last: 50001}) {
		t.Errorf("though the agent was told, the ports are %v", got)
	}
}

// hugeHost has more of everything than the API takes, and all of it as long as it takes.
func hugeHost() known {
	text := func(n, length int) string { return fmt.Sprintf("%0*d", length, n) }
	list := func(n, length int) []string {
		var out []string
		for i := range n {
			out = append(out, text(i, length))
		}
		return out
	}
	k := known{
		facts: hypervisor.HostFacts{
			Socket: text(0, maxLongName),
			Capabilities: &hypervisor.HostCapabilities{
				CPU: hypervisor.HostCPU{Architecture: text(0, longestWord), Model: text(0, maxLongName), Vendor: text(0, maxLongName), Features: list(999, maxFeature)},
			},
			OfferedCPUs: &hypervisor.OfferedCPUs{DomainType: text(0, longestWord)},
			Bridges:     list(maxNames+1, maxName), Errors: map[hypervisor.FactGroup]error{},
		},
		files: hostfiles.Facts{Kernel: text(0, maxLongName), CgroupVersion: 2, Memory: &hostfiles.Memory{TotalBytes: math.MaxUint64, AvailableBytes: math.MaxUint64}, PerfEvents: list(maxNames+1, maxName)},
	}
	caps := k.facts.Capabilities
	cpu := &hypervisor.OfferedCPU{Model: text(0, maxLongName), Vendor: text(0, maxLongName), Required: list(maxFeatures+1, maxFeature), Disabled: list(maxFeatures+1, maxFeature)}
	k.facts.OfferedCPUs.HostModel, k.facts.OfferedCPUs.Maximum = cpu, cpu
	for n := range maxArchitectures + 1 {
		a := hypervisor.Architecture{Name: text(n, longestWord), DomainTypes: list(maxDomainTypes+1, longestWord), MachineTypes: list(maxMachineTypes+1, maxMachine), Deprecated: list(maxMachineTypes+1, maxMachine), Aliases: map[string]string{}}
		for i := range maxAliases + 1 {
			a.Aliases[text(i, maxMachine)] = text(i, maxMachine)
		}
		caps.Architectures = append(caps.Architectures, a)
	}
	var cpus []int
	for n := range 400 {
		cpus = append(cpus, 1000+2*n)
	}
	for n := range maxCells + 1 {
		cell := hypervisor.Cell{ID: n, MemoryBytes: math.MaxUint64, CPUs: cpus}
		free := hypervisor.CellMemory{ID: n, FreeBytes: math.MaxUint64, FreePages: map[uint64]uint64{}}
		for p := range maxPageSizes + 1 {
			size := v1alpha1.MaxInteger - uint64(p)
			cell.HugePages = append(cell.HugePages, hypervisor.HugePages{SizeBytes: size, Total: math.MaxUint64})
			free.FreePages[size] = math.MaxUint64
		}
		caps.Cells, k.facts.Memory = append(caps.Cells, cell), append(k.facts.Memory, free)
	}
	for n := range maxNetworks + 1 {
		k.facts.Networks = append(k.facts.Networks, hypervisor.Network{Name: text(n, maxLongName), Forward: text(n, longestWord), Bridge: text(n, maxName)})
	}
	for n := range maxPools + 1 {
		k.facts.StoragePools = append(k.facts.StoragePools, hypervisor.StoragePool{
			Name: text(n, maxLongName), Type: text(n, longestWord), State: "Inaccessible", Path: text(n, longestPath), CapacityBytes: new(uint64(math.MaxUint64)), AvailableBytes: new(uint64(math.MaxUint64)),
		})
	}
	for n := range maxMediated + 1 {
		k.facts.MediatedTypes = append(k.facts.MediatedTypes, hypervisor.MediatedType{ID: text(n, maxName), Name: text(n, maxLongName), DeviceAPI: text(n, longestWord), Parents: math.MaxInt, Available: math.MaxInt})
	}
	for n := range maxUnread + 1 {
		k.facts.Errors[hypervisor.FactGroup(text(n, maxName))] = errors.New(text(n, 2*maxUnreadMessage))
	}
	certificate := hostfiles.Certificate{State: hostfiles.CertificateUnreadable, NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	c := &hostfiles.Credentials{Dir: text(0, longestPath), Authority: certificate, Server: certificate, Client: certificate}
	k.files.Control, k.files.Migration = c, c
	return k
}

// maxSection is more than a host's section can come to. Together with the list of guests, that
// is less than what etcd takes.
const maxSection = 576 << 10

func TestAHostThatDoesNotFitIn(t *testing.T) {
	t.Parallel()
	host := hostSection(hugeHost(), ReceiveConfig{}, "")
	text, err := json.Marshal(host)
	if err != nil || len(text) > maxSection {
		t.Errorf("it takes %d bytes, %v", len(text), err)
	}
	t.Logf("the largest section takes %d bytes", len(text))
	for name, n := range map[string][3]int{
		"cells":         {len(host.NUMA.Cells), int(host.NUMA.Count), maxCells},
		"architectures": {len(host.Architectures.Items), int(host.Architectures.Count), maxArchitectures},
		"machine types": {len(host.Architectures.Items[0].MachineTypes), int(host.Architectures.Items[0].MachineTypeCount), maxMachineTypes},
		"networks":      {len(host.Networks.Items), int(host.Networks.Count), maxNetworks},
		"bridges":       {len(host.Bridges.Names), int(host.Bridges.Count), maxNames},
		"pools":         {len(host.StoragePools.Items), int(host.StoragePools.Count), maxPools},
		"mediated":      {len(host.MediatedDevices.Items), int(host.MediatedDevices.Count), maxMediated},
		"features":      {len(host.CPU.Offered.HostModel.Required.Names), int(host.CPU.Offered.HostModel.Required.Count), maxFeatures},
	} {
		if n[0] != n[2] || n[1] != n[2]+1 {
			t.Errorf("%s: %d of %d are listed, want %d", name, n[0], n[1], n[2])
		}
	}
	if last := host.Architectures.Items[0].MachineTypes; !strings.HasSuffix(last[len(last)-1], "192") {
		t.Errorf("the newest machine type is %s", last[len(last)-1])
	}
}

// TestOddNamesAreLeftOut, and counted.
func TestOddNamesAreLeftOut(t *testing.T) {
	t.Parallel()
	odd := []string{"", "a\nb", "\xff", strings.Repeat("x", maxName+1), strings.Repeat("ä", maxName/2+1), "fine"}
	got := names(odd)
	if got.Count != 6 || !slices.Equal(got.Names, []string{"fine"}) {
		t.Errorf("got %+v", got)
	}
}

func TestPostCopy(t *testing.T) {
	t.Parallel()
	user, root := &hypervisor.EmulatorUser{UID: 64055, GID: 106}, &hypervisor.EmulatorUser{}
	device := &hostfiles.Permissions{GID: 106, Mode: 0o660}
	for name, tt := range map[string]struct {
		faults   hostfiles.Userfaultfd
		emulator *hypervisor.EmulatorUser
		version  string
		want     v1alpha1.PostCopyState
	}{
		"an unknown kernel":           {hostfiles.Userfaultfd{}, root, "8.0.0", ""},
		"everybody may":               {hostfiles.Userfaultfd{Everybody: new(true)}, nil, "", v1alpha1.PostCopyAvailable},
		"root may":                    {hostfiles.Userfaultfd{Everybody: new(false)}, root, "7.2.0", v1alpha1.PostCopyAvailable},
		"an unknown user":             {hostfiles.Userfaultfd{Everybody: new(false)}, nil, "8.0.0", ""},
		"another user":                {hostfiles.Userfaultfd{Everybody: new(false)}, user, "8.0.0", v1alpha1.PostCopyUnavailable},
		"a device":                    {hostfiles.Userfaultfd{Everybody: new(false), Device: device}, user, "8.0.0", v1alpha1.PostCopyAvailable},
		"a device that is not seen":   {hostfiles.Userfaultfd{Everybody: new(false), HasDevice: true}, user, "8.0.0", ""},
		"a device, and an old QEMU":   {hostfiles.Userfaultfd{Everybody: new(false), HasDevice: true}, user, "7.2.22", v1alpha1.PostCopyUnavailable},
		"a device that it cannot use": {hostfiles.Userfaultfd{Everybody: new(false), Device: device}, user, "7.2.22", v1alpha1.PostCopyUnavailable},
		"a device of others":          {hostfiles.Userfaultfd{Everybody: new(false), Device: &hostfiles.Permissions{Mode: 0o600}}, user, "10.0.0", v1alpha1.PostCopyUnavailable},
	} {
		got := postCopy(tt.faults, tt.emulator, tt.version)
		if (got == nil) != (tt.want == "") || got != nil && (got.State != tt.want || got.Message == "") {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestParseCPUs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"0": "0", "8,0-3,2-4": "0-4,8", "3,1,2": "1-3", "0,2": "0,2"} {
		if got, err := ParseCPUs(text); got != want || err != nil {
			t.Errorf("%s: got %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "3-1", "1,", "-1", "1-", "^3", "8192", "0-99999", "1 ,2"} {
		if got, err := ParseCPUs(text); err == nil {
			t.Errorf("%q: got %q", text, got)
		}
	}
}

func TestSteadyNumbers(t *testing.T) {
	t.Parallel()
	host := func(memory, cell, pool int64) *v1alpha1.HypervisorHost {
		return &v1alpha1.HypervisorHost{
			Memory:       &v1alpha1.HostMemory{TotalBytes: 1600, AvailableBytes: memory},
			NUMA:         &v1alpha1.HostNUMA{Cells: []v1alpha1.HostNUMACell{{ID: 1, MemoryBytes: 1600, FreeBytes: &cell}}},
			StoragePools: &v1alpha1.HostStoragePools{Items: []v1alpha1.HostStoragePool{{Name: "p", CapacityBytes: new(int64(1600)), AvailableBytes: &pool}}},
		}
	}
	published := host(800, 800, 800)
	for name, tt := range map[string]struct{ now, want *v1alpha1.HypervisorHost }{
		"a little":     {host(900, 700, 899), published},
		"more":         {host(901, 699, 901), host(901, 699, 901)},
		"of one":       {host(801, 200, 801), host(800, 200, 800)},
		"nothing more": {&v1alpha1.HypervisorHost{}, &v1alpha1.HypervisorHost{}},
		"unknown":      {nil, nil},
	} {
		before := tt.now.DeepCopy()
		if diff := cmp.Diff(tt.want, steady(tt.now, published)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(before, tt.now); diff != "" {
			t.Errorf("%s: what is known was changed (-want +got):\n%s", name, diff)
		}
	}
	if got := steady(published, nil); got != published {
		t.Errorf("before anything was published, got %v", got)
	}
	// Another cell, or pool, is not the same for being in its place.
	other := host(800, 801, 801)
	other.NUMA.Cells[0].ID, other.StoragePools.Items[0].Name = 2, "q"
	if diff := cmp.Diff(other, steady(other, published)); diff != "" {
		t.Errorf("another (-want +got):\n%s", diff)
	}
}
