package xmlrewrite

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestWhatAGuestIsPinnedTo, however libvirt writes it.
func TestWhatAGuestIsPinnedTo(t *testing.T) {
	t.Parallel()
	use, err := ReadHostUse(`<domain><vcpu cpuset='0-3,^1'>2</vcpu><iothreads>1</iothreads>
<cputune><vcpupin vcpu='0' cpuset='4'/><vcpupin vcpu='1' cpuset='5,^5,6'/><vcpupin vcpu='x' cpuset='5'/><emulatorpin cpuset='0-1'/><iothreadpin iothread='1' cpuset='2'/></cputune>
<numatune><memory mode='strict' nodeset='0-1'/><memnode cellid='1' mode='strict' nodeset='1'/></numatune>
<cpu><numa><cell id='0' cpus='0' memory='1024' unit='KiB'/><cell id='1' cpus='1' memory='2048' unit='KiB'/></numa></cpu>
<devices><memory model='dimm'><source><nodemask>0</nodemask></source><target><node>0</node></target></memory>
<memory model='dimm'><source><nodemask>0</nodemask></source><target><node>1</node></target></memory></devices></domain>`)
	want := GuestPins{
		VCPUs: []ThreadPin{{0, "4"}, {1, "6"}}, IOThreads: []ThreadPin{{1, "2"}}, Emulator: "0-1", Shared: "0,2-3",
		Cells: []CellBinding{{1, "1", 2 << 20}, {0, "0", 1 << 20}}, MemoryNodes: "0-1",
	}
	if diff := cmp.Diff(want, use.Pins); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	use, err = ReadHostUse(`<domain><vcpu placement='auto' cpuset='0-3'>2</vcpu><devices><memory><source><nodemask>1</nodemask></source></memory></devices></domain>`)
	if diff := cmp.Diff(GuestPins{MemoryNodes: "1"}, use.Pins); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if empty := (GuestPins{Shared: "0"}); !empty.Empty() || use.Pins.Empty() {
		t.Error("whether it is pinned is wrong")
	}
}

// TestPinsOfBothDefinitions: those of the running guest go first.
func TestPinsOfBothDefinitions(t *testing.T) {
	t.Parallel()
	running := GuestPins{VCPUs: []ThreadPin{{0, "4"}}, Emulator: "1", Cells: []CellBinding{{0, "0", 1}}}
	defined := GuestPins{
		VCPUs: []ThreadPin{{0, "8"}, {1, "9"}}, IOThreads: []ThreadPin{{1, "9"}}, Emulator: "2", MemoryNodes: "1",
		Cells: []CellBinding{{0, "1", 1}, {1, "1", 1}},
	}
	want := GuestPins{
		VCPUs: []ThreadPin{{0, "4"}, {1, "9"}}, IOThreads: []ThreadPin{{1, "9"}}, Emulator: "1", MemoryNodes: "1",
		Cells: []CellBinding{{0, "0", 1}, {1, "1", 1}},
	}
	if diff := cmp.Diff(want, JoinPins(running, defined)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOfferedPinsReplacePins, and add none: only the user can have a guest pinned that is not.
func TestOfferedPinsReplacePins(t *testing.T) {
	t.Parallel()
	const (
		unpinned = "<domain type='kvm'><vcpu>1</vcpu><numatune><memory mode='strict'/></numatune></domain>"
		pinned   = "<domain type='kvm'><vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='4'/><emulatorpin cpuset='4'/></cputune><numatune><memory mode='strict' nodeset='1'/></numatune></domain>"
	)
	numa := &v1alpha1.NUMAMigrateData{
		VCPUPins: []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: "7"}}, EmulatorPin: new(v1alpha1.CPUSet("7")), MemoryNodes: new(v1alpha1.CPUSet("0")),
	}
	moved := strings.NewReplacer("'4'", "'7'", "nodeset='1'", "nodeset='0'").Replace(pinned)
	for _, c := range []struct{ have, want string }{{unpinned, unpinned}, {pinned, moved}} {
		plan, err := NewPlan(c.have, nil, Options{Offer: &v1alpha1.MigrateData{NUMA: numa}, Other: pinned})
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Apply(); got != c.want {
			t.Errorf("got\n%s, want\n%s", got, c.want)
		}
	}
	if needs, known := ReadNeedsOnTarget(strings.Replace(pinned, "<vcpu>", "<memory>1024</memory><vcpu>", 1), "", nil); !known || needs.MemoryBytes != 1<<20 {
		t.Errorf("of a pinned guest, %+v, %t", needs, known)
	}
}

// TestDevicesThatNothingMaps are those of both definitions, each once.
func TestDevicesThatNothingMaps(t *testing.T) {
	t.Parallel()
	const (
		mdev  = "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='C1D2F3A4-0000-4000-8000-00000000000B'/></source></hostdev>"
		pci   = "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x81' slot='0x00' function='0x1'/></source></hostdev>"
		vf    = "<interface type='hostdev'><mac address='52:54:00:00:00:01'/><source><address type='pci' domain='0x0000' bus='0x82' slot='0x10' function='0x0'/></source></interface>"
		plain = "c1d2f3a4-0000-4000-8000-00000000000b"
	)
	guest := func(devices string) string { return "<domain><devices>" + devices + "</devices></domain>" }
	use, err := ReadHostUse(guest(mdev + pci + vf))
	if diff := cmp.Diff(HostUse{MediatedDevices: []string{plain}, PCIDevices: []string{"0000:81:00.1", "0000:82:10.0"}}, use); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, c := range map[string]struct {
		live, other string
		data        *v1alpha1.MigrateData
		want        HostDevices
	}{
		"none":                         {"", guest(""), nil, HostDevices{}},
		"some":                         {mdev + pci + vf, guest(mdev + pci), nil, HostDevices{[]string{plain}, []string{"0000:81:00.1", "0000:82:10.0"}}},
		"only in the other definition": {"", guest(mdev + pci), nil, HostDevices{[]string{plain}, []string{"0000:81:00.1"}}},
		"the user maps the one kind":   {mdev + pci, "", &v1alpha1.MigrateData{MediatedDevices: []v1alpha1.MediatedDeviceMigrateData{}}, HostDevices{nil, []string{"0000:81:00.1"}}},
		"the user maps the other":      {mdev + pci, "", &v1alpha1.MigrateData{PCIDevices: []v1alpha1.PCIDeviceMigrateData{}}, HostDevices{[]string{plain}, nil}},
		"the user maps the interface": {vf + pci, "", &v1alpha1.MigrateData{Interfaces: []v1alpha1.InterfaceMigrateData{{
			MACAddress: "52:54:00:00:00:01", Source: &v1alpha1.InterfaceSource{HostDevice: &v1alpha1.HostDeviceInterfaceSource{PCIAddress: "0000:01:00.0"}},
		}}}, HostDevices{nil, []string{"0000:81:00.1"}}},
	} {
		got, err := ReadHostDevices(guest(c.live), c.other, c.data)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	if needs, known := ReadNeedsOnTarget(strings.Replace(guest(mdev+pci+vf), "<devices>", "<memory>1024</memory><devices>", 1), "", nil); !known || needs.MemoryBytes != 1<<20 {
		t.Errorf("of a guest with devices, %+v, %t", needs, known)
	}
	if PlainPCI("81:0.1") != "0000:81:00.1" || PlainPCI("x") != "x" {
		t.Error("addresses are not written plainly")
	}
}
