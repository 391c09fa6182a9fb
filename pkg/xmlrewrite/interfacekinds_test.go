package xmlrewrite

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// planned is what becomes of a guest: its XML with the warnings, or the problems.
type planned struct{ xml, warnings, problems string }

func plannedOf(t *testing.T, devices, data string) planned {
	t.Helper()
	return plannedOfGuest(t, "<domain type='kvm'>\n  <memoryBacking><access mode='shared'/></memoryBacking>\n  <devices>\n    "+devices+"\n  </devices>\n</domain>\n", data)
}

func plannedOfGuest(t *testing.T, guest, data string) planned {
	t.Helper()
	want := &v1alpha1.MigrateData{}
	if err := yaml.UnmarshalStrict([]byte(data), want); err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(guest, want, Options{})
	if err != nil {
		return planned{problems: err.Error()}
	}
	checkAgain(t, plan.Apply(), want, Options{})
	return planned{plan.Apply(), plan.Warnings().Error(), ""}
}

func nicOf(kind, inside string) string {
	return "<interface type='" + kind + "'><mac address='52:54:00:00:00:01'/>" + inside + "<model type='virtio'/></interface>"
}

func toSource(rest string) string {
	return "interfaces: [{macAddress: '52:54:00:00:00:01', " + rest + "}]"
}

// changeOfDevice is a device, what it is to become, what libvirt would refuse of it there,
// and what the warning or problem has to say, if there has to be one.
type changeOfDevice struct{ device, data, bad, says string }

func (c changeOfDevice) check(t *testing.T) {
	t.Helper()
	r := plannedOf(t, c.device, c.data)
	if strings.Contains(r.xml, c.bad) {
		t.Errorf("libvirt refuses %q here: %s", c.bad, r.xml)
	}
	if said := r.warnings + r.problems; !strings.Contains(said, c.says) || strings.Contains(said, "defect of Virtferry") {
		t.Errorf("this is said: %q, want %q", said, c.says)
	}
}

func TestNothingThatLibvirtRefusesIsLeftWhereAnInterfaceChangesItsConnection(t *testing.T) {
	t.Parallel()
	const passt = "<backend type='passt' logFile='/tmp/l'/><portForward proto='tcp'><range start='2022' to='22'/></portForward><portForward proto='udp' dev='eth0'/>"
	for name, c := range map[string]changeOfDevice{
		"an address inside the guest":           {nicOf("user", "<ip address='172.17.2.1' family='ipv4' prefix='24'/>"), toSource("source: {bridge: {name: br0}}"), "<ip ", "address"},
		"passt":                                 {nicOf("user", passt), toSource("source: {bridge: {name: br0}}"), "passt", "forwarded"},
		"ports that passt forwards":             {nicOf("user", passt), toSource("source: {bridge: {name: br0}}"), "<portForward", "forwarded"},
		"a device node for taps":                {nicOf("bridge", "<source bridge='a'/><backend tap='/dev/net/tun'/>"), toSource("source: {direct: {device: eth0}}"), "<backend", ""},
		"coalesced packets":                     {nicOf("bridge", "<source bridge='a'/><coalesce><rx><frames max='7'/></rx></coalesce>"), toSource("source: {direct: {device: eth0}}"), "coalesce", "coalesce"},
		"an isolated port on Open vSwitch":      {nicOf("network", "<source network='a'/><port isolated='yes'/>"), toSource("source: {bridge: {name: br0}}, virtualPort: {type: openvswitch}"), "isolated", "isolate"},
		"an isolated port that becomes virtual": {nicOf("bridge", "<source bridge='a'/><port isolated='yes'/>"), toSource("virtualPort: {type: openvswitch}"), "isolated", "virtualPort: "},
		"a VLAN of what was Open vSwitch":       {nicOf("bridge", "<source bridge='a'/><vlan><tag id='3'/></vlan><virtualport type='openvswitch'/>"), toSource("source: {bridge: {name: br0}}, virtualPort: {}"), "<vlan", "vlan to {}"},
		"a VLAN of what was macvtap passthrough": {nicOf("direct", "<source dev='eth0' mode='passthrough'/><vlan><tag id='3'/></vlan>"), toSource("source: {direct: {device: eth1}}"),
			"<vlan", "vlan to {}"},
		"a tap device of others without a name": {nicOf("bridge", "<source bridge='br0'/>"), toSource("source: {ethernet: {tapManagement: External}}"), "managed='no'", "targetDevice"},
		"a tap device of others with a name that was the bridge's": {nicOf("bridge", "<source bridge='br0'/><target dev='vnet3'/>"),
			toSource("source: {ethernet: {tapManagement: External}}"), "managed='no'", "targetDevice"},
		"a filter on Open vSwitch": {nicOf("bridge", "<source bridge='br0'/><filterref filter='clean-traffic'/>"), toSource("virtualPort: {type: openvswitch}"), "<filterref", "filter to {}"},
		"a model that is not vDPA's": {"<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><model type='virtio-transitional'/></interface>",
			toSource("source: {vdpa: {path: /dev/vhost-vdpa-0}}"), "vdpa", "of the model virtio"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.check(t)
		})
	}
}

func TestWhatAnInterfaceHasOfItsKindStaysWithTheKind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ device, data, kept string }{
		"a VLAN on Open vSwitch":          {nicOf("bridge", "<source bridge='a'/><vlan><tag id='3'/></vlan><virtualport type='openvswitch'/>"), toSource("source: {bridge: {name: br0}}"), "<tag id='3'/>"},
		"a VLAN on a plain bridge":        {nicOf("bridge", "<source bridge='a'/><vlan><tag id='3'/></vlan>"), toSource("source: {bridge: {name: br0}}"), "<tag id='3'/>"},
		"coalesced packets on a network":  {nicOf("bridge", "<source bridge='a'/><coalesce><rx><frames max='7'/></rx></coalesce>"), toSource("source: {network: {name: n}}"), "coalesce"},
		"an isolated port":                {nicOf("bridge", "<source bridge='a'/><port isolated='yes'/>"), toSource("source: {network: {name: n}}"), "isolated"},
		"a tap device of others":          {nicOf("ethernet", "<target dev='t7' managed='no'/>"), toSource("source: {ethernet: {tapManagement: External}}"), "'t7' managed='no'"},
		"a device node for taps":          {nicOf("bridge", "<source bridge='a'/><backend tap='/dev/net/tun'/>"), toSource("source: {network: {name: n}}"), "/dev/net/tun"},
		"user networking, left as it is":  {nicOf("user", "<backend type='passt'/><ip address='172.17.2.1' family='ipv4' prefix='24'/>"), toSource("targetDevice: tap1"), "passt"},
		"addresses of user networking":    {nicOf("user", "<ip address='172.17.2.1' family='ipv4' prefix='24'/>"), toSource("targetDevice: tap1"), "172.17.2.1"},
		"addresses of the host's own end": {nicOf("ethernet", "<source><ip address='172.17.2.1' family='ipv4' prefix='24'/></source>"), toSource("source: {ethernet: {}}"), "172.17.2.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := plannedOf(t, c.device, c.data); !strings.Contains(r.xml, c.kept) {
				t.Errorf("this does not stay: %q: %s%s", c.kept, r.problems, r.xml)
			}
		})
	}
}

func TestAnInterfaceOfARunningGuestLeavesALibvirtNetwork(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		"<source network='default' portid='6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d' bridge='virbr0' macTableManager='libvirt'/>",
		"<source network='default' missing='yes'/>",
	} {
		for _, to := range []string{"ethernet: {}", "bridge: {name: br0}", "direct: {device: eth0}", "vhostUser: {path: /run/a.sock, mode: client}"} {
			r := plannedOf(t, nicOf("network", source), toSource("source: {"+to+"}"))
			if r.problems != "" || strings.Contains(r.xml, "macTableManager") || strings.Contains(r.xml, "missing") {
				t.Errorf("%s to %s: %s%s", source, to, r.problems, r.xml)
			}
		}
	}
}

func TestAnInterfaceThatIsReplacedIsNotSaidToBeKept(t *testing.T) {
	t.Parallel()
	vds := nicOf("vds", "<source switchid='x' portid='6' portgroupid='d' connectionid='3'/>")
	if r := plannedOf(t, vds, toSource("source: {bridge: {name: br0}}")); r.problems != "" || strings.Contains(r.warnings, "it is kept") {
		t.Errorf("it is a bridge now: %s%s", r.problems, r.warnings)
	}
	if r := plannedOf(t, vds, toSource("targetDevice: tap0")); !strings.Contains(r.warnings, "it is kept") {
		t.Errorf("it is kept: %s%s", r.problems, r.warnings)
	}
}

func TestOnlyAGuestThatSharesItsMemoryGetsAVhostUserInterface(t *testing.T) {
	t.Parallel()
	const shared = "<memoryBacking><access mode='shared'/></memoryBacking>"
	cells := func(access string) string {
		return "<cpu><numa><cell id='0'" + access + "/><cell id='1' memAccess='shared'/></numa></cpu>"
	}
	for top, dead := range map[string]bool{
		"": true,
		"<memoryBacking><hugepages/></memoryBacking>": true,
		shared:                                 false,
		cells(" memAccess='shared'"):           false,
		cells(""):                              true,
		cells("") + shared:                     false,
		cells(" memAccess='private'") + shared: true,
	} {
		guest := "<domain type='kvm'>" + top + "<devices>" + nicOf("bridge", "<source bridge='br0'/>") + "</devices></domain>"
		r := plannedOfGuest(t, guest, toSource("source: {vhostUser: {path: /run/a.sock, mode: client}}"))
		if dead != strings.Contains(r.problems, "does not share") {
			t.Errorf("%s: %s%s", top, r.problems, r.xml)
		}
	}
}
