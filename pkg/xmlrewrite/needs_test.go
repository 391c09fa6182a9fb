package xmlrewrite

import (
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestNeedsOfTheCPU: what some versions of libvirt refuse.
func TestNeedsOfTheCPU(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cpu          string
		threads, vmx bool
	}{
		{"", false, false},
		{"<cpu mode='host-passthrough'/>", false, false},
		{"<cpu><topology sockets='2' dies='1' cores='4' threads='1'/></cpu>", false, false},
		{"<cpu><topology sockets='2' dies='1' cores='4'/></cpu>", false, false},
		{"<cpu><topology sockets='2' dies='1' cores='4' threads='2'/></cpu>", true, false},
		{"<cpu><feature policy='require' name='aes'/><feature policy='require' name='vmx'/></cpu>", false, true},
		{"<cpu><feature policy='force' name='vmx'/></cpu>", false, true},
		{"<cpu><feature name='vmx'/></cpu>", false, true},
		{"<cpu><feature policy='disable' name='vmx'/></cpu>", false, false},
		{"<cpu><feature policy='optional' name='vmx'/></cpu>", false, false},
		{"<cpu><feature policy='require' name='vmx-ept'/></cpu>", false, false},
	} {
		got, err := ReadNeeds("<domain>" + c.cpu + "<devices/></domain>")
		if err != nil || got.CPUThreads != c.threads || got.VMX != c.vmx {
			t.Errorf("%s: threads %t, vmx %t, %v", c.cpu, got.CPUThreads, got.VMX, err)
		}
	}
}

func TestNeedsOfMemory(t *testing.T) {
	t.Parallel()
	const gib, mib = 1 << 30, 1 << 20
	for _, c := range []struct {
		xml         string
		bytes, page uint64
	}{
		{"<memory unit='KiB'>2097152</memory><currentMemory unit='KiB'>1048576</currentMemory>", gib, 0},
		{"<memory>2097152</memory>", 2 * gib, 0},
		{"<memory unit='KiB'>1048576</memory><currentMemory unit='KiB'>2097152</currentMemory>", gib, 0},
		{"<memory unit='GiB'>2</memory>", 0, 0},
		{"<memory unit='KiB'>99999999999999999999</memory>", 0, 0},
		{"", 0, 0},
		{
			"<memory unit='KiB'>2097152</memory><currentMemory unit='KiB'>1048576</currentMemory>" +
				"<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>", 2 * gib, 2 * mib,
		},
		{"<memory unit='KiB'>2097152</memory><memoryBacking><hugepages/></memoryBacking>", 0, 0},
		{"<memory unit='KiB'>2097152</memory><memoryBacking><hugepages><page size='2' unit='M'/></hugepages></memoryBacking>", 0, 0},
		{"<memory unit='KiB'>2097152</memory><memoryBacking><hugepages><page size='2048' unit='KiB' nodeset='0'/></hugepages></memoryBacking>", 0, 0},
	} {
		got, err := ReadNeeds("<domain>" + c.xml + "<devices/></domain>")
		if err != nil || got.MemoryBytes != c.bytes || got.HugePageBytes != c.page {
			t.Errorf("%s: %d bytes in pages of %d, %v", c.xml, got.MemoryBytes, got.HugePageBytes, err)
		}
	}
}

// TestNeedsOnTheTarget are those of the rewritten guest, as far as it can be rewritten.
func TestNeedsOnTheTarget(t *testing.T) {
	t.Parallel()
	const guest = "<domain type='kvm'><name>a</name><uuid>11111111-1111-4111-8111-111111111111</uuid><memory unit='KiB'>1024</memory><devices>" +
		"<interface type='network'><mac address='52:54:00:00:00:01'/><source network='blue'/></interface>" +
		"<interface type='network'><mac address='52:54:00:00:00:02'/><source network='green'/></interface>" +
		"<interface type='network'><mac address='52:54:00:00:00:03'/><source network='green'/></interface>" +
		"<graphics type='vnc' port='5900' autoport='yes' listen='192.0.2.1'><listen type='address' address='192.0.2.1'/></graphics></devices></domain>"
	to := func(macs ...v1alpha1.MACAddress) *v1alpha1.MigrateData {
		data := &v1alpha1.MigrateData{}
		for i, mac := range macs {
			entry := v1alpha1.InterfaceMigrateData{MACAddress: mac}
			if i == 0 {
				entry.Source = &v1alpha1.InterfaceSource{Network: &v1alpha1.NetworkInterfaceSource{Name: "red"}}
			}
			data.Interfaces = append(data.Interfaces, entry)
		}
		return data
	}
	for name, c := range map[string]struct {
		data  *v1alpha1.MigrateData
		want  []string
		known bool
	}{
		"as it is":                        {nil, []string{"blue", "green"}, true},
		"one is mapped":                   {to("52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"), []string{"red", "green"}, true},
		"one is mapped that is not there": {to("52:54:00:00:00:09"), nil, true},
		"something else is wrong":         {&v1alpha1.MigrateData{PCIDevices: []v1alpha1.PCIDeviceMigrateData{{Source: "0000:81:00.1", Target: "0000:3b:00.1"}}}, []string{"blue", "green"}, true},
	} {
		got, known := ReadNeedsOnTarget(guest, "", c.data)
		if known != c.known || !slices.Equal(got.Networks, c.want) || known && got.MemoryBytes != 1<<20 {
			t.Errorf("%s: %+v, %t", name, got, known)
		}
	}
}

// TestMACAddressesOfAGuest are those of all its interfaces, as libvirt understands them.
func TestMACAddressesOfAGuest(t *testing.T) {
	t.Parallel()
	nic := func(mac string) string {
		return "<interface type='bridge'><mac address='" + mac + "'/><source bridge='br0'/></interface>"
	}
	for devices, want := range map[string][]string{
		"": nil,
		nic("52:54:00:AA:bb:01") + nic("52:54:0:aa:bb:2"):                                                 {"52:54:00:aa:bb:01", "52:54:00:aa:bb:02"},
		nic("52:54:00:aa:bb:01") + nic("52:54:00:AA:BB:01"):                                               {"52:54:00:aa:bb:01"},
		nic("nonsense") + "<interface type='user'/>" + nic("52:54:00:aa:bb:01"):                           {"52:54:00:aa:bb:01"},
		"<interface type='hostdev'><mac address='52:54:00:aa:bb:03'/></interface>":                        {"52:54:00:aa:bb:03"},
		"<hostdev><source><mac address='52:54:00:aa:bb:04'/></source></hostdev>" + nic("52:54:00:0:0:05"): {"52:54:00:00:00:05"},
	} {
		got, err := ReadNeeds("<domain><devices>" + devices + "</devices></domain>")
		if err != nil || !slices.Equal(got.MACAddresses, want) {
			t.Errorf("%s: %v, %v; want %v", devices, got.MACAddresses, err, want)
		}
	}
}

// TestNeedsOfVirtio: what some versions of QEMU refuse.
func TestNeedsOfVirtio(t *testing.T) {
	t.Parallel()
	for devices, want := range map[string]bool{
		"": false,
		"<interface type='bridge'><source bridge='virtio'/><model type='e1000'/></interface>": false,
		"<disk type='file'><source file='virtio.img'/><target dev='sda' bus='sata'/></disk>":  false,
		"<interface xmlns='urn:x'><model type='virtio'/></interface>":                         false,
		"<interface type='bridge'><model type='virtio'/></interface>":                         true,
		"<interface type='bridge'><model type='virtio-non-transitional'/></interface>":        true,
		"<disk type='file'><target dev='vda' bus='virtio'/></disk>":                           true,
		"<controller type='virtio-serial' index='0'/>":                                        true,
		"<controller type='scsi' index='0' model='virtio-scsi'/>":                             true,
		"<rng model='virtio'/>":                 true,
		"<memballoon model='virtio'/>":          true,
		"<video><model type='virtio'/></video>": true,
		"<input type='tablet' bus='virtio'/>":   true,
		"<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>":                     true,
		"<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='share'/></filesystem>": true,
	} {
		got, err := ReadNeeds("<domain><devices>" + devices + "</devices></domain>")
		if err != nil || got.Virtio != want {
			t.Errorf("%s: %t, %v", devices, got.Virtio, err)
		}
	}
}

// TestWhatIsNotClearIsNotNeeded: a mistake in the migrate data about the guest's memory leaves open how
// much it takes, and of what, and none of its networks.
func TestWhatIsNotClearIsNotNeeded(t *testing.T) {
	t.Parallel()
	const guest = "<domain type='kvm'><name>a</name><uuid>11111111-1111-4111-8111-111111111111</uuid><memory unit='KiB'>1024</memory><devices>" +
		"<interface type='network'><mac address='52:54:00:00:00:01'/><source network='blue'/></interface></devices></domain>"
	var data v1alpha1.MigrateData
	if err := yaml.UnmarshalStrict([]byte("memoryBacking: {fileBacking: None, discard: Enabled}"), &data); err != nil {
		t.Fatal(err)
	}
	got, known := ReadNeedsOnTarget(guest, "", &data)
	if !known || got.MemoryBytes != 0 || !slices.Equal(got.Networks, []string{"blue"}) {
		t.Errorf("%+v, %t", got, known)
	}
	all := Problems{{DataPath: "spec.migrateData.numa[0]"}, {DataPath: "spec.migrateData.interfacesX"}, {DataPath: "spec.migrateData.volumes.source"}}
	if !all.about("numa") || all.about("interfaces") || !all.about("volumes") || all.about("memoryBacking") {
		t.Error("problems are about other fields than theirs")
	}
}
