package xmlrewrite

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// limitsGuest has one of each thing whose data have a limit.
const limitsGuest = `<domain type='kvm'><name>g</name><vcpu>4</vcpu><iothreads>2</iothreads>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
<cpu><numa><cell id='0' cpus='0-3' memory='1' unit='GiB'/></numa></cpu>
<devices>
  <disk type='file' device='disk'><source file='/srv/a.img'/><target dev='vda' bus='virtio'/><serial>a</serial></disk>
  <interface type='network'><mac address='52:54:00:00:00:01'/><source network='n'/><model type='virtio'/></interface>
  <serial type='tcp'><source mode='bind' host='0.0.0.0' service='2002'/><target port='0'/></serial>
  <channel type='tcp'><source mode='bind' host='0.0.0.0' service='2003'/></channel>
</devices></domain>`

// dataOf reads migrate data in YAML.
func dataOf(t *testing.T, text string) *v1alpha1.MigrateData {
	t.Helper()
	data := &v1alpha1.MigrateData{}
	if err := yaml.UnmarshalStrict([]byte(text), data); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return data
}

// planOf plans a rewrite with the migrate data in YAML.
func planOf(t *testing.T, guest, data string, opts Options) (*Plan, Problems) {
	t.Helper()
	plan, err := NewPlan(guest, dataOf(t, data), opts)
	var problems Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatalf("the error is no list of problems: %v", err)
	}
	return plan, problems
}

// TestNumbersHaveLimits: what is at a limit is taken, and what is beyond it refused where it
// is given.
func TestNumbersHaveLimits(t *testing.T) {
	t.Parallel()
	nic := func(what string) string { return "interfaces: [{macAddress: '52:54:00:00:00:01', " + what + "}]" }
	disk := func(source string) string { return "volumes: [{serial: a, source: {" + source + "}}]" }
	host := func(what string) string { return disk("network: {protocol: rbd, name: p/a, hosts: [{" + what + "}]}") }
	for _, c := range []struct {
		// data has a verb for the number, and field is where it is refused.
		data, field string
		good, bad   []int
	}{
		{"serial: {ports: [%d]}", "serial.ports[0]", []int{1, 65535}, []int{0, 65536}},
		{"portMappings: [{from: 2003, to: %d}]", "portMappings[0].to", []int{1, 65535}, []int{0, 65536}},
		{"portMappings: [{from: %d, to: 9}]", "portMappings[0].from", []int{2003}, []int{0, 65536}},
		{nic("vlan: {tags: [{id: %d}]}"), "interfaces[0].vlan.tags[0].id", []int{0, 4095}, []int{-1, 4096}},
		{nic("bandwidth: {inbound: {averageKilobytesPerSecond: %d}}"), "interfaces[0].bandwidth.inbound.averageKilobytesPerSecond", []int{1}, []int{0, -1}},
		{nic("bandwidth: {outbound: {averageKilobytesPerSecond: 1, burstKilobytes: %d}}"), "interfaces[0].bandwidth.outbound.burstKilobytes", []int{1}, []int{0}},
		{host("host: mon, port: %d"), "volumes[0].source.network.hosts[0].port", []int{1, 65535}, []int{0, 65536}},
		{disk("nvme: {pciAddress: '0000:81:00.0', namespace: %d}"), "volumes[0].source.nvme.namespace", []int{1}, []int{0}},
		{"rbdMonitors: [{host: mon, port: %d}]", "rbdMonitors[0].port", []int{1, 65535}, []int{0, 65536}},
		{"numa: {realtime: {vcpus: 0-3, priority: %d}}", "numa.realtime.priority", []int{1, 99}, []int{0, 100}},
		{"numa: {realtime: {vcpus: 0-%d, priority: 1}}", "numa.realtime.vcpus", []int{3}, []int{4}},
		{"numa: {vcpuPins: [{vcpu: %d, hostCPUs: '0'}]}", "numa.vcpuPins[0]", []int{0, 3}, []int{-1, 4}},
		{"numa: {ioThreadPins: [{ioThread: %d, hostCPUs: '0'}]}", "numa.ioThreadPins[0]", []int{1, 2}, []int{0, 3}},
		{"numa: {cellPins: [{cell: %d, hostNodes: '0'}]}", "numa.cellPins[0]", []int{0}, []int{-1, 1}},
		{"numa: {emulatorPin: 0-%d}", "numa.emulatorPin", []int{0, 65535}, []int{65536, 655350}},
		{"cpuShares: {policy: Set, shares: %d}", "cpuShares.shares", []int{1, 262144}, []int{0, 262145}},
	} {
		for i, n := range append(c.good, c.bad...) {
			data := fmt.Sprintf(c.data, n)
			plan, problems := planOf(t, limitsGuest, data, Options{})
			switch {
			case i < len(c.good) && plan == nil:
				t.Errorf("%s: %v", data, problems)
			case i < len(c.good):
			case len(problems) != 1 || problems[0].DataPath != dataRoot+c.field:
				t.Errorf("%s: got %v, want it refused at %s", data, problems, c.field)
			}
		}
	}
}

// TestTextsHaveLimits: the same of how long a text may be.
func TestTextsHaveLimits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		data, field string
		good, bad   string
	}{
		{
			"interfaces: [{macAddress: '52:54:00:00:00:01', targetDevice: %s}]", "interfaces[0].targetDevice",
			strings.Repeat("n", 15), strings.Repeat("n", 16),
		},
		{"rbdMonitors: [{host: %s}]", "rbdMonitors[0].host", strings.Repeat("n", 253), strings.Repeat("n", 254)},
		{"volumes: [{serial: a, source: {file: {path: %s}}}]", "volumes[0].source.file.path", "/a", "/"},
	} {
		if plan, problems := planOf(t, limitsGuest, fmt.Sprintf(c.data, c.good), Options{}); plan == nil {
			t.Errorf("%s is refused: %v", c.good, problems)
		}
		if _, problems := planOf(t, limitsGuest, fmt.Sprintf(c.data, c.bad), Options{}); len(problems) != 1 || problems[0].DataPath != dataRoot+c.field {
			t.Errorf("%s: got %v, want it refused at %s", c.bad, problems, c.field)
		}
	}
}

// TestWeightsThatTheTargetTakes depend on its cgroups and on its libvirt.
func TestWeightsThatTheTargetTakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target    TargetFacts
		good, bad []int64
		says      string
	}{
		{TargetFacts{}, []int64{1, 262144}, []int64{0, 262145}, "between 1 and 262144"},
		{TargetFacts{CgroupVersion: 1, LibvirtVersion: "9.1.0"}, []int64{2, 262144}, []int64{1, 262145}, "between 2 and 262144, which is what the target's cgroups (version 1)"},
		{TargetFacts{CgroupVersion: 2, LibvirtVersion: "9.1.0"}, []int64{1, 10000}, []int64{0, 10001}, "between 1 and 10000, which is what the target's cgroups (version 2)"},
		{TargetFacts{CgroupVersion: 2, LibvirtVersion: "9.0.0"}, []int64{2, 10000}, []int64{1, 10001}, "between 2 and 10000"},
		{TargetFacts{CgroupVersion: 2}, []int64{1, 10000}, []int64{10001}, "between 1 and 10000"},
	} {
		for _, kept := range []bool{false, true} {
			for i, weight := range append(c.good, c.bad...) {
				guest, data := limitsGuest, "cpuShares: {policy: Set, shares: "+itoa(weight)+"}"
				if kept {
					guest, data = strings.Replace(guest, "</vcpu>", "</vcpu><cputune><shares>"+itoa(weight)+"</shares></cputune>", 1), "{}"
				}
				plan, problems := planOf(t, guest, data, Options{Target: c.target})
				switch {
				case i < len(c.good) && plan == nil:
					t.Errorf("%+v, kept %t: %d is refused: %v", c.target, kept, weight, problems)
				case i < len(c.good):
				case len(problems) != 1 || !strings.Contains(problems[0].Message, c.says):
					t.Errorf("%+v, kept %t: of %d it is said: %v; want %q", c.target, kept, weight, problems, c.says)
				}
			}
		}
	}
}

// TestLibvirtBefore: what is not known is not called old.
func TestLibvirtBefore(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"8.9.0": true, "9.0.0": true, "9.0": true, "9.1.0": false, "9.2.0": false, "10.0.0": false, "1.3.5": true, "": false, "9": false, "nine": false,
	} {
		if got := (&TargetFacts{LibvirtVersion: version}).libvirtBefore(9, 1); got != want {
			t.Errorf("%q is before 9.1: %t", version, got)
		}
	}
}

// TestSetsOfNumbers are read as libvirt reads them.
func TestSetsOfNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "5-5": "5", "0-3": "0-3", "3,1": "1,3", "1,2": "1-2", "1,2,4": "1-2,4", "0-5,2-3": "0-5", "2-3,0-5": "0-5", "0-2,1-4": "0-4", "7,5,3": "3,5,7",
		" 1 , 2-3\t": "1-3", "0-3,^0": "1-3", "0-3,^3": "0-2", "0-3,^1-2": "0,3", "0-3,^2": "0-1,3", "0-3,8,^1,^8": "0,2-3",
		"0-3,^4": "0-3", "1-3,^0": "1-3", "^1,1": "1", "65535": "65535", "0-65535": "0-65535",
		"": "", "3-1": "", ",": "", "1,": "", ",1": "", "1,,2": "", "1-": "", "-1": "", "1 2": "", "^": "", "^1": "", "1-2-3": "", "a": "", "1a": "",
		"65536": "", "0-65536": "", "655350": "", "99999999999999999999": "",
	} {
		set, ok := parseSet(text)
		if ok != (want != "") || ok && set.String() != want {
			t.Errorf("%q is %q, %t; want %q", text, set, ok, want)
		}
	}
	set, _ := parseSet("2-4,8")
	for n, want := range map[int]bool{1: false, 2: true, 3: true, 4: true, 5: false, 8: true, 9: false} {
		if got := set.contains(n); got != want {
			t.Errorf("%s has %d: %t", set, n, got)
		}
	}
	for text, want := range map[string]bool{"2-4": true, "3": true, "2-4,8": true, "8": true, "1-2": false, "4-5": false, "2-8": false, "9": false, "2,9": false} {
		if other, _ := parseSet(text); other.within(set) != want {
			t.Errorf("%s is within %s: %t", text, set, !want)
		}
	}
	if set.highest() != 8 || numberSet(nil).highest() != -1 {
		t.Errorf("the highest are %d and %d", set.highest(), numberSet(nil).highest())
	}
}

// TestPCIAddresses: the domain may be left out, and each part has its limit.
func TestPCIAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0000:81:00.1": "0000:81:00.1", "81:00.1": "0000:81:00.1", "ffffffff:ff:1f.7": "ffffffff:ff:1f.7", "1:2:3.4": "0001:02:03.4",
		"100000000:81:00.1": "", "0000:100:00.1": "", "0000:81:20.1": "", "0000:81:00.8": "",
		"0000:81:00": "", "81": "", "": "", "0000:81:00.": "", "0:0:81:00.1": "", "x:81:00.1": "",
	} {
		if got, ok := parsePCI(text); ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q is %s, %t; want %q", text, got, ok, want)
		}
	}
	for attributes, want := range map[string]string{
		"domain='0x0000' bus='0x81' slot='0x00' function='0x1'": "0000:81:00.1", "bus='129'": "0000:81:00.0", "": "0000:00:00.0",
		"domain='0xffffffff' bus='255' slot='31' function='7'": "ffffffff:ff:1f.7",
		"bus='256'": "", "slot='32'": "", "function='8'": "", "domain='0x100000000'": "", "bus='x'": "", "bus=''": "",
	} {
		doc, err := parseGuest("<domain><address " + attributes + "/></domain>")
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := readPCI(doc.Root.Child("address")); ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q is %s, %t; want %q", attributes, got, ok, want)
		}
	}
	if _, ok := readPCI(nil); ok {
		t.Error("no address is one")
	}
}
