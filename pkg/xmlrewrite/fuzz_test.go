package xmlrewrite

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// seeds calls the function with each golden guest and its migrate data.
func seeds(f *testing.F, add func(guest, data []byte, inactive bool)) {
	files, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds found: %v", err)
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".yaml")
		guest, c := readGolden(f, base)
		data, err := json.Marshal(c.MigrateData)
		if err != nil {
			f.Fatal(err)
		}
		add(guest, data, c.Inactive)
	}
}

// FuzzPlan feeds arbitrary guests and migrate data to the planner.
func FuzzPlan(f *testing.F) {
	seeds(f, func(guest, data []byte, inactive bool) { f.Add(guest, data, inactive, false) })
	f.Fuzz(func(t *testing.T, guest, data []byte, inactive, offered bool) {
		var md v1alpha1.MigrateData
		if json.Unmarshal(data, &md) != nil {
			return
		}
		opts := Options{Inactive: inactive, Target: TargetFacts{OnlineCPUs: "0-255", NUMANodes: "0-7", CgroupVersion: 2}}
		explicit := &md
		if offered {
			opts.Offer, explicit = &md, nil
		}
		checkProperties(t, guest, explicit, opts)
		if _, err := ReadNeeds(guest); err != nil {
			checkProblems(t, err)
		}
	})
}

// FuzzApply makes migrate data that fit whatever the guest has, with arbitrary
// text in them, so that the rewriting itself meets strange guests and values.
func FuzzApply(f *testing.F) {
	seeds(f, func(guest, _ []byte, _ bool) { f.Add(guest, "/srv/a.img", "br0", uint16(3)) })
	f.Fuzz(func(t *testing.T, guest []byte, path, name string, choice uint16) {
		doc, err := parseGuest(guest)
		if err != nil {
			return
		}
		checkProperties(t, guest, fittingData(doc, path, name, choice), Options{})
	})
}

// fittingData covers everything in the guest that can be covered.
func fittingData(doc *guest, path, name string, choice uint16) *v1alpha1.MigrateData {
	address := "192.0.2.20"
	md := &v1alpha1.MigrateData{
		PerfEvents:      []v1alpha1.PerfEvent{"cmt"},
		Volumes:         []v1alpha1.VolumeMigrateData{},
		Interfaces:      []v1alpha1.InterfaceMigrateData{},
		RBDMonitors:     []v1alpha1.RBDMonitor{{Host: "mon"}},
		MediatedDevices: []v1alpha1.MediatedDeviceMigrateData{},
		VirtualPMEM:     []v1alpha1.VirtualPMEMMigrateData{},
	}
	fitListeners(md, doc, &address)
	if choice&1 != 0 {
		md.MemoryBacking = &v1alpha1.MemoryBackingMigrateData{FileBacking: v1alpha1.FileBackingNone}
		if doc.Root.Child("memoryBacking").Child("source").Value("type") == "file" {
			md.MemoryBacking.FileBacking = v1alpha1.FileBackingRequired
		}
	} else {
		md.CPUShares = &v1alpha1.CPUSharesMigrateData{Policy: v1alpha1.CPUSharesRemove}
	}
	fitDevices(md, doc, path, name, choice)
	fitPins(md, doc)
	return md
}

// fitListeners gives addresses and ports to what listens.
func fitListeners(md *v1alpha1.MigrateData, doc *guest, address *string) {
	graphics := &v1alpha1.GraphicsMigrateData{}
	for _, g := range doc.devices("graphics") {
		switch g.Value("type") {
		case "vnc":
			graphics.VNCListenAddress = address
		case "spice":
			graphics.SPICEListenAddress = address
		case "rdp":
			graphics.RDPListenAddress = address
		default:
			continue
		}
		md.Graphics = graphics
	}
	listeners := serialListeners(doc)
	if len(listeners)+len(otherListeners(doc)) == 0 {
		return
	}
	md.Serial = &v1alpha1.SerialMigrateData{ListenAddress: address, Ports: []int32{}}
	for _, l := range listeners {
		for len(md.Serial.Ports) <= l.index && l.index < 64 {
			md.Serial.Ports = append(md.Serial.Ports, int32(20000+len(md.Serial.Ports)))
		}
	}
}

func fitDevices(md *v1alpha1.MigrateData, doc *guest, path, name string, choice uint16) {
	for i, disk := range doc.devices("disk") {
		v := v1alpha1.VolumeMigrateData{Source: volumeSource(path, name, int(choice)+i)}
		detect := v1alpha1.BackingStoreDetect
		v.BackingStore = &detect
		if serial := disk.Child("serial"); serial != nil {
			text := serial.Text()
			v.Serial = &text
		} else {
			dev := disk.Child("target").Value("dev")
			v.TargetDevice = &dev
		}
		md.Volumes = append(md.Volumes, v)
	}
	for _, nic := range doc.devices("interface") {
		e := v1alpha1.InterfaceMigrateData{MACAddress: v1alpha1.MACAddress(nic.Child("mac").Value("address"))}
		if nic.Value("type") != "hostdev" {
			e.Source = &v1alpha1.InterfaceSource{Bridge: &v1alpha1.BridgeInterfaceSource{Name: name}}
			e.Filter = &v1alpha1.NetworkFilter{Name: &name}
			e.VLAN = &v1alpha1.InterfaceVLAN{Tags: []v1alpha1.VLANTag{{ID: int32(choice & 0xfff)}}}
		}
		md.Interfaces = append(md.Interfaces, e)
	}
	for i, h := range doc.devices("hostdev") {
		source := h.Child("source").Child("address")
		if uuid := source.Value("uuid"); uuid != "" {
			to := "ffffffff-0000-4000-8000-" + strconv.FormatInt(int64(0x100000000000+i), 16)
			md.MediatedDevices = append(md.MediatedDevices, v1alpha1.MediatedDeviceMigrateData{Source: v1alpha1.UUID(uuid), Target: v1alpha1.UUID(to)})
		} else if from, ok := readPCI(source); ok {
			to := from
			to.domain += 0x1000
			md.PCIDevices = append(md.PCIDevices, v1alpha1.PCIDeviceMigrateData{
				Source: v1alpha1.PCIAddress(from.String()), Target: v1alpha1.PCIAddress(to.String()),
			})
		}
	}
	for _, m := range doc.devices("memory") {
		if isOneOf(m.Value("model"), "nvdimm", "virtio-pmem") {
			md.VirtualPMEM = append(md.VirtualPMEM, v1alpha1.VirtualPMEMMigrateData{Path: path})
		}
	}
}

func volumeSource(path, name string, choice int) *v1alpha1.VolumeSource {
	p := &v1alpha1.PathSource{Path: path}
	switch choice % 6 {
	case 0:
		return &v1alpha1.VolumeSource{File: p}
	case 1:
		return &v1alpha1.VolumeSource{Block: p}
	case 2:
		return &v1alpha1.VolumeSource{VhostVDPA: p}
	case 3:
		return &v1alpha1.VolumeSource{NVMe: &v1alpha1.NVMeSource{PCIAddress: "0000:01:00.0", Namespace: 1}}
	case 4:
		return &v1alpha1.VolumeSource{StoragePool: &v1alpha1.StoragePoolSource{Pool: name, Volume: path}}
	}
	host := "mon"
	return &v1alpha1.VolumeSource{Network: &v1alpha1.NetworkVolumeSource{
		Protocol: "rbd", Name: &name, Hosts: []v1alpha1.VolumeHost{{Host: &host}},
		Auth: &v1alpha1.VolumeAuth{Username: name, SecretUsage: &path},
	}}
}

func fitPins(md *v1alpha1.MigrateData, doc *guest) {
	emulator := v1alpha1.CPUSet("1-3")
	md.NUMA = &v1alpha1.NUMAMigrateData{EmulatorPin: &emulator, MemoryNodes: &emulator}
	for i := range min(doc.vcpuCount(), 64) {
		md.NUMA.VCPUPins = append(md.NUMA.VCPUPins, v1alpha1.VCPUPin{VCPU: int32(i), HostCPUs: "4"})
	}
	for i, cell := range doc.guestCells() {
		if slices.Contains(doc.guestCells()[:i], cell) {
			continue
		}
		md.NUMA.CellPins = append(md.NUMA.CellPins, v1alpha1.CellPin{Cell: int32(cell), HostNodes: "2"})
	}
}

// FuzzSet compares sets of numbers with a plain model.
func FuzzSet(f *testing.F) {
	for _, s := range []string{"0-3,^2", "1,2,3,5,7,8", "5-3", "", "^1", "7,7,7-9", "0-65535"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, ok := parseSet(text)
		if !ok {
			return
		}
		for i := 1; i < len(set); i++ {
			if set[i].low <= set[i-1].high+1 {
				t.Fatalf("%q is not in normal form: %v", text, set)
			}
		}
		again, ok := parseSet(set.String())
		if !ok || !again.equal(set) {
			t.Fatalf("%q became %q, which is another set", text, set)
		}
		if !set.within(again) || !set.contains(set.highest()) || set.contains(set.highest()+1) {
			t.Fatalf("%q: the set contradicts itself", text)
		}
	})
}

// TestFittingData runs the properties over the golden guests with data that
// fit them.
func TestFittingData(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/golden/*.guest.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no guests found: %v", err)
	}
	applied := 0
	for _, file := range files {
		guest, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := parseGuest(guest)
		if err != nil {
			t.Fatal(err)
		}
		for choice := range uint16(6) {
			if checkProperties(t, guest, fittingData(doc, "/srv/a.img", "br0", choice), Options{}) != "" {
				applied++
			}
		}
	}
	if applied < len(files) {
		t.Errorf("only %d of %d rewrites were carried out", applied, 6*len(files))
	}
}

// TestSwapIsRightOnce: without the address inside the guest, a swap is right
// the first time, and repeating it swaps back.
func TestSwapIsRightOnce(t *testing.T) {
	t.Parallel()
	guest, c := readGolden(t, "testdata/golden/pci-defect-swapped-by-guest-address")
	for i := range c.MigrateData.PCIDevices {
		c.MigrateData.PCIDevices[i].GuestAddress = nil
	}
	want, err := os.ReadFile("testdata/golden/pci-defect-swapped-by-guest-address.want.xml")
	if err != nil {
		t.Fatal(err)
	}
	once := checkProperties(t, guest, c.MigrateData, Options{})
	if once != string(want) {
		t.Errorf("the swap came out wrong:\n%s", once)
	}
	if twice := checkProperties(t, []byte(once), c.MigrateData, Options{}); twice != string(guest) {
		t.Errorf("swapping twice is not the original:\n%s", twice)
	}
}

func TestMigrateDataRoundTrip(t *testing.T) {
	t.Parallel()
	const text = "interfaces: []\nperfEvents: []\nserial:\n  ports: []\nvolumes: []\n"
	var md v1alpha1.MigrateData
	if err := yaml.UnmarshalStrict([]byte(text), &md); err != nil {
		t.Fatal(err)
	}
	back, err := yaml.Marshal(md)
	if err != nil {
		t.Fatal(err)
	}
	if string(back) != text {
		t.Errorf("empty lists must survive, since absent is not empty; got:\n%s", back)
	}
}
