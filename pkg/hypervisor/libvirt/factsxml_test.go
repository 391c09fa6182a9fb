package libvirt

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// recordedHost returns what the libvirt 9.0 of Debian 12 has said of its host.
func recordedHost(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "host", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRecordedCapabilities(t *testing.T) {
	t.Parallel()
	got, err := parseCapabilities(recordedHost(t, "capabilities.xml"))
	if err != nil {
		t.Fatal(err)
	}
	if c := got.CPU; c.Architecture != "x86_64" || c.Model != "kvm64" || c.Vendor != "AMD" || len(c.Features) != 62 || !slices.Contains(c.Features, "avx512f") {
		t.Errorf("the CPU is %+v", c)
	}
	wantCells := []hypervisor.Cell{{MemoryBytes: 17393440 << 10, CPUs: []int{0, 1}, Cores: [][]int{{0}, {1}}, HugePages: []hypervisor.HugePages{{SizeBytes: 2 << 20}}}}
	if diff := cmp.Diff(wantCells, got.Cells); diff != "" {
		t.Errorf("the cells differ (-want +got):\n%s", diff)
	}
	if got.Emulator == nil || *got.Emulator != (hypervisor.EmulatorUser{}) {
		t.Errorf("emulators run as %v", got.Emulator)
	}
	if len(got.Architectures) != 2 {
		t.Fatalf("%d architectures", len(got.Architectures))
	}
	a := got.Architectures[0]
	if a.Name != "x86_64" || got.Architectures[1].Name != "i686" || !slices.Equal(a.DomainTypes, []string{"qemu"}) {
		t.Errorf("the architectures are %s %v and %s", a.Name, a.DomainTypes, got.Architectures[1].Name)
	}
	if diff := cmp.Diff(map[string]string{"pc": "pc-i440fx-7.2", "q35": "pc-q35-7.2"}, a.Aliases); diff != "" {
		t.Errorf("the aliases differ (-want +got):\n%s", diff)
	}
	if want := []string{"pc-i440fx-1.4", "pc-i440fx-1.5", "pc-i440fx-1.6", "pc-i440fx-1.7"}; !slices.Equal(a.Deprecated, want) {
		t.Errorf("deprecated are %v", a.Deprecated)
	}
	if len(a.MachineTypes) != 58 || slices.Contains(a.MachineTypes, "pc") ||
		slices.Index(a.MachineTypes, "pc-i440fx-2.9")+1 != slices.Index(a.MachineTypes, "pc-i440fx-2.10") {
		t.Errorf("the %d machine types are %v", len(a.MachineTypes), a.MachineTypes)
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		xml  string
		want hypervisor.HostCapabilities
	}{
		"nothing": {`<capabilities/>`, hypervisor.HostCapabilities{Architectures: []hypervisor.Architecture{}}},
		"cells": {
			`<capabilities><host><topology><cells num='2'>
			  <cell id='1'><memory unit='MiB'>2</memory><cpus num='2'><cpu id='7'/><cpu id='5'/></cpus>
			    <pages unit='KiB' size='1048576'>2</pages><pages unit='KiB' size='4'>9</pages><pages unit='KiB' size='2048'>5</pages></cell>
			  <cell id='3'><memory>1</memory><pages size='64'>1</pages></cell></cells></topology></host></capabilities>`,
			hypervisor.HostCapabilities{
				Architectures: []hypervisor.Architecture{},
				Cells: []hypervisor.Cell{
					{ID: 1, MemoryBytes: 2 << 20, CPUs: []int{5, 7}, HugePages: []hypervisor.HugePages{{SizeBytes: 2 << 20, Total: 5}, {SizeBytes: 1 << 30, Total: 2}}},
					{ID: 3, MemoryBytes: 1 << 10, HugePages: []hypervisor.HugePages{}},
				},
			},
		},
		"a user of its own": {
			`<capabilities><host><secmodel><model>apparmor</model></secmodel>
			  <secmodel><model>dac</model><baselabel type='kvm'>+64055:+106</baselabel></secmodel></host></capabilities>`,
			hypervisor.HostCapabilities{Architectures: []hypervisor.Architecture{}, Emulator: &hypervisor.EmulatorUser{UID: 64055, GID: 106}},
		},
		"a user by name": {
			`<capabilities><host><secmodel><model>dac</model><baselabel type='kvm'>qemu:qemu</baselabel></secmodel></host></capabilities>`,
			hypervisor.HostCapabilities{Architectures: []hypervisor.Architecture{}},
		},
		"types of domains with machines of their own": {
			`<capabilities><host><cpu><arch>aarch64</arch></cpu></host>
			  <guest><os_type>xen</os_type><arch name='x86_64'><machine>xenpv</machine></arch></guest>
			  <guest><os_type>hvm</os_type><arch name='armv7l'><domain type='qemu'/></arch></guest>
			  <guest><os_type>hvm</os_type><arch name='aarch64'><machine>virt-8.0</machine><domain type='qemu'/>
			    <domain type='kvm'><machine>virt-8.2</machine><machine canonical='virt-8.2'>virt</machine></domain></arch></guest></capabilities>`,
			hypervisor.HostCapabilities{
				CPU: hypervisor.HostCPU{Architecture: "aarch64"},
				Architectures: []hypervisor.Architecture{
					{Name: "aarch64", DomainTypes: []string{"kvm", "qemu"}, MachineTypes: []string{"virt-8.0", "virt-8.2"}, Aliases: map[string]string{"virt": "virt-8.2"}},
					{Name: "armv7l", DomainTypes: []string{"qemu"}, Aliases: map[string]string{}},
				},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parseCapabilities(tt.xml)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("they differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfferedCPUs(t *testing.T) {
	t.Parallel()
	got, err := parseOfferedCPUs(recordedHost(t, "domcapabilities.xml"))
	if err != nil {
		t.Fatal(err)
	}
	model := got.HostModel
	if got.DomainType != "qemu" || got.Machine != "pc-i440fx-7.2" || model == nil || model.Model != "EPYC" || model.Vendor != "AMD" ||
		len(model.Required) != 18 || len(model.Disabled) != 10 || !slices.Contains(model.Required, "pcommit") {
		t.Errorf("got %+v with %+v", got, model)
	}
	if got.Maximum == nil || !reflect.DeepEqual(*got.Maximum, hypervisor.OfferedCPU{}) {
		t.Errorf("the maximum is %+v", got.Maximum)
	}
	got, err = parseOfferedCPUs(`<domainCapabilities><domain>kvm</domain><cpu><mode name='host-model' supported='no'/>
	  <mode name='maximum' supported='yes'><model>qemu64</model><feature policy='require' name='b'/><feature policy='require' name='a'/></mode></cpu></domainCapabilities>`)
	want := &hypervisor.OfferedCPUs{DomainType: "kvm", Maximum: &hypervisor.OfferedCPU{Model: "qemu64", Required: []string{"a", "b"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := parseOfferedCPUs(`<domainCapabilities/>`); err != nil || got.HostModel != nil || got.Maximum != nil {
		t.Errorf("of nothing, got %+v, %v", got, err)
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]hypervisor.Network{
		recordedHost(t, "network.xml"):                                                     {Name: "facts-nat", Forward: "nat", Bridge: "virbr7"},
		recordedHost(t, "network-bridge.xml"):                                              {Name: "facts-bridge", Forward: "bridge", Bridge: "facts0"},
		`<network><name>x</name><forward/></network>`:                                      {Name: "x", Forward: "nat"},
		`<network><name>x</name><bridge name='b'/></network>`:                              {Name: "x", Bridge: "b"},
		`<network><name>x</name><forward mode='hostdev'><pf dev='e'/></forward></network>`: {Name: "x", Forward: "hostdev"},
	} {
		if got, err := parseNetwork(document); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for document, want := range map[string]string{
		`<interface type='bridge' name='br0'><bridge/></interface>`: "br0",
		`<interface type='ethernet' name='eth0'/>`:                  "",
	} {
		if got, err := parseBridge(document); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
}

func TestStoragePools(t *testing.T) {
	t.Parallel()
	recorded := hypervisor.StoragePool{Name: "facts-dir", Type: "dir", Path: "/var/lib/libvirt/images"}
	if got, err := parsePool(recordedHost(t, "pool.xml"), false); err != nil || !reflect.DeepEqual(got, recorded) {
		t.Errorf("got %+v, %v", got, err)
	}
	recorded.CapacityBytes, recorded.AvailableBytes = new(uint64(270553174016)), new(uint64(201066635264))
	if got, err := parsePool(recordedHost(t, "pool.xml"), true); err != nil || !reflect.DeepEqual(got, recorded) {
		t.Errorf("got %+v, %v", got, err)
	}
	// Of what it authenticates with, nothing is kept.
	rbd := `<pool type='rbd'><name>p</name><source><name>n</name><auth type='ceph' username='admin'><secret uuid='u'/></auth></source></pool>`
	if got, err := parsePool(rbd, true); err != nil || !reflect.DeepEqual(got, hypervisor.StoragePool{Name: "p", Type: "rbd"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestMediatedTypes(t *testing.T) {
	t.Parallel()
	device := func(capability string) []hypervisor.MediatedType {
		types, err := parseMediatedTypes(`<device><name>d</name>` + capability + `</device>`)
		if err != nil {
			t.Fatal(err)
		}
		return types
	}
	gpu := func(available string) []hypervisor.MediatedType {
		return device(`<capability type='pci'><domain>0</domain><capability type='mdev_types'>
		  <type id='t-2'><name>Two</name><deviceAPI>vfio-pci</deviceAPI><availableInstances>` + available + `</availableInstances></type>
		  <type id='t-1'><deviceAPI>vfio-pci</deviceAPI><availableInstances>1</availableInstances></type></capability></capability>`)
	}
	ccw := device(`<capability type='css'><cssid>0</cssid><capability type='mdev_types'>
	  <type id='vfio_ccw-io'><name>I/O</name><deviceAPI>vfio-ccw</deviceAPI><availableInstances>1</availableInstances></type></capability></capability>`)
	got := sumTypes(slices.Concat(gpu("3"), ccw, gpu("4"), device(`<capability type='system'/>`)))
	want := []hypervisor.MediatedType{
		{ID: "t-1", DeviceAPI: "vfio-pci", Parents: 2, Available: 2},
		{ID: "t-2", Name: "Two", DeviceAPI: "vfio-pci", Parents: 2, Available: 7},
		{ID: "vfio_ccw-io", Name: "I/O", DeviceAPI: "vfio-ccw", Parents: 1, Available: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("they differ (-want +got):\n%s", diff)
	}
}

// TestNoXMLIsQuoted: it may hold what an error must not.
func TestNoXMLIsQuoted(t *testing.T) {
	t.Parallel()
	const document = `<pool><secret>sesame</pool>`
	_, capabilities := parseCapabilities(document)
	_, cpus := parseOfferedCPUs(document)
	_, network := parseNetwork(document)
	_, bridge := parseBridge(document)
	_, pool := parsePool(document, true)
	_, types := parseMediatedTypes(document)
	for _, err := range []error{capabilities, cpus, network, bridge, pool, types} {
		if err == nil || strings.Contains(err.Error(), "sesame") {
			t.Errorf("got %v", err)
		}
	}
}

func TestVersionsAreOrdered(t *testing.T) {
	t.Parallel()
	want := []string{"isapc", "pc-i440fx-2.9", "pc-i440fx-2.10", "pc-i440fx-2.10.1", "pc-i440fx-10.0", "pc-q35-2.4", "x-remote"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareVersions)
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestAPartOfLibvirtThatIsGone is no lost connection: the rest goes on.
func TestAPartOfLibvirtThatIsGone(t *testing.T) {
	t.Parallel()
	gone := lv.Error{Code: lv.ERR_SYSTEM_ERROR, Domain: lv.FROM_RPC, Message: "Failed to connect socket to '/var/run/libvirt/virtstoraged-sock': No such file or directory"}
	stale, err := ofPart(gone)
	if stale || hypervisor.KindOf(err) != hypervisor.KindOther || !strings.Contains(err.Error(), "virtstoraged-sock") {
		t.Errorf("got %v, %v", stale, err)
	}
	gone.Code, gone.Message = lv.ERR_INTERNAL_ERROR, "client socket is closed"
	if stale, err = ofPart(gone); !stale || hypervisor.KindOf(err) != hypervisor.KindOther {
		t.Errorf("after it was there: %v, %v", stale, err)
	}
	other := lv.Error{Code: lv.ERR_NO_SUPPORT, Message: "not supported"}
	if stale, err = ofPart(other); stale || !errors.Is(err, other) {
		t.Errorf("got %v, %v", stale, err)
	}
}

// TestCoresOfACell are those of CPUs that are online.
func TestCoresOfACell(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cpus           string
		cores          [][]int
		offline, wants []int
	}{
		"two of two threads":       {"<cpu id='0' siblings='0,2'/><cpu id='2' siblings='0,2'/><cpu id='1' siblings='1,3'/><cpu id='3' siblings='1,3'/>", [][]int{{0, 2}, {1, 3}}, nil, []int{0, 1, 2, 3}},
		"one that is offline":      {"<cpu id='0' siblings='0-1'/><cpu id='1' siblings='0-1'/><cpu id='2'/>", [][]int{{0, 1}}, []int{2}, []int{0, 1, 2}},
		"no topology":              {"<cpu id='0'/><cpu id='1'/>", nil, nil, []int{0, 1}},
		"siblings without meaning": {"<cpu id='0' siblings='x'/>", [][]int{nil}, nil, []int{0}},
	} {
		got, err := parseCapabilities("<capabilities><host><topology><cells><cell id='0'><cpus>" + c.cpus + "</cpus></cell></cells></topology></host></capabilities>")
		if err != nil {
			t.Fatal(err)
		}
		want := []hypervisor.Cell{{CPUs: c.wants, Offline: c.offline, Cores: c.cores}}
		if diff := cmp.Diff(want, got.Cells); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}
	}
}
