package xmlrewrite

import (
	"strings"
	"testing"
)

// plannedOf is planSmall for devices of a guest that shares its memory, and tries the rewrite
// again.
func plannedOf(t *testing.T, devices, data string) outcome {
	t.Helper()
	return plannedOfGuest(t, "<domain type='kvm'>\n  <memoryBacking><access mode='shared'/></memoryBacking>\n  <devices>\n    "+devices+"\n  </devices>\n</domain>\n", data)
}

func plannedOfGuest(t *testing.T, guest, data string) outcome {
	t.Helper()
	o := planSmall(t, guest, data, Options{})
	if o.problems == "" {
		checkAgain(t, o.xml, dataOf(t, data), Options{})
	}
	return o
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
		"an address inside the guest":           {nicWith("user", "<ip address='172.17.2.1' family='ipv4' prefix='24'/>"), nicData("source: {bridge: {name: br0}}"), "<ip ", "address"},
		"passt":                                 {nicWith("user", passt), nicData("source: {bridge: {name: br0}}"), "passt", "forwarded"},
		"ports that passt forwards":             {nicWith("user", passt), nicData("source: {bridge: {name: br0}}"), "<portForward", "forwarded"},
		"a device node for taps":                {nicWith("bridge", "<source bridge='a'/><backend tap='/dev/net/tun'/>"), nicData("source: {direct: {device: eth0}}"), "<backend", ""},
		"coalesced packets":                     {nicWith("bridge", "<source bridge='a'/><coalesce><rx><frames max='7'/></rx></coalesce>"), nicData("source: {direct: {device: eth0}}"), "coalesce", "coalesce"},
		"an isolated port on Open vSwitch":      {nicWith("network", "<source network='a'/><port isolated='yes'/>"), nicData("source: {bridge: {name: br0}}, virtualPort: {type: openvswitch}"), "isolated", "isolate"},
		"an isolated port that becomes virtual": {nicWith("bridge", "<source bridge='a'/><port isolated='yes'/>"), nicData("virtualPort: {type: openvswitch}"), "isolated", "virtualPort: "},
		"a VLAN of what was Open vSwitch":       {nicWith("bridge", "<source bridge='a'/><vlan><tag id='3'/></vlan><virtualport type='openvswitch'/>"), nicData("source: {bridge: {name: br0}}, virtualPort: {}"), "<vlan", "vlan to {}"},
		"a VLAN of what was macvtap passthrough": {nicWith("direct", "<source dev='eth0' mode='passthrough'/><vlan><tag id='3'/></vlan>"), nicData("source: {direct: {device: eth1}}"),
			"<vlan", "vlan to {}"},
		"a tap device of others without a name": {nicWith("bridge", "<source bridge='br0'/>"), nicData("source: {ethernet: {tapManagement: External}}"), "managed='no'", "targetDevice"},
		"a tap device of others with a name that was the bridge's": {nicWith("bridge", "<source bridge='br0'/><target dev='vnet3'/>"),
			nicData("source: {ethernet: {tapManagement: External}}"), "managed='no'", "targetDevice"},
		"a filter on Open vSwitch": {nicWith("bridge", "<source bridge='br0'/><filterref filter='clean-traffic'/>"), nicData("virtualPort: {type: openvswitch}"), "<filterref", "filter to {}"},
		"a model that is not vDPA's": {"<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/><model type='virtio-transitional'/></interface>",
			nicData("source: {vdpa: {path: /dev/vhost-vdpa-0}}"), "vdpa", "of the model virtio"},
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
		"a VLAN on Open vSwitch":          {nicWith("bridge", "<source bridge='a'/><vlan><tag id='3'/></vlan><virtualport type='openvswitch'/>"), nicData("source: {bridge: {name: br0}}"), "<tag id='3'/>"},
		"a VLAN on a plain bridge":        {nicWith("bridge", "<source bridge='a'/><vlan><tag id='3'/></vlan>"), nicData("source: {bridge: {name: br0}}"), "<tag id='3'/>"},
		"coalesced packets on a network":  {nicWith("bridge", "<source bridge='a'/><coalesce><rx><frames max='7'/></rx></coalesce>"), nicData("source: {network: {name: n}}"), "coalesce"},
		"an isolated port":                {nicWith("bridge", "<source bridge='a'/><port isolated='yes'/>"), nicData("source: {network: {name: n}}"), "isolated"},
		"a tap device of others":          {nicWith("ethernet", "<target dev='t7' managed='no'/>"), nicData("source: {ethernet: {tapManagement: External}}"), "'t7' managed='no'"},
		"a device node for taps":          {nicWith("bridge", "<source bridge='a'/><backend tap='/dev/net/tun'/>"), nicData("source: {network: {name: n}}"), "/dev/net/tun"},
		"user networking, left as it is":  {nicWith("user", "<backend type='passt'/><ip address='172.17.2.1' family='ipv4' prefix='24'/>"), nicData("targetDevice: tap1"), "passt"},
		"addresses of user networking":    {nicWith("user", "<ip address='172.17.2.1' family='ipv4' prefix='24'/>"), nicData("targetDevice: tap1"), "172.17.2.1"},
		"addresses of the host's own end": {nicWith("ethernet", "<source><ip address='172.17.2.1' family='ipv4' prefix='24'/></source>"), nicData("source: {ethernet: {}}"), "172.17.2.1"},
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
			r := plannedOf(t, nicWith("network", source), nicData("source: {"+to+"}"))
			if r.problems != "" || strings.Contains(r.xml, "macTableManager") || strings.Contains(r.xml, "missing") {
				t.Errorf("%s to %s: %s%s", source, to, r.problems, r.xml)
			}
		}
	}
}

func TestAnInterfaceThatIsReplacedIsNotSaidToBeKept(t *testing.T) {
	t.Parallel()
	vds := nicWith("vds", "<source switchid='x' portid='6' portgroupid='d' connectionid='3'/>")
	if r := plannedOf(t, vds, nicData("source: {bridge: {name: br0}}")); r.problems != "" || strings.Contains(r.warnings, "it is kept") {
		t.Errorf("it is a bridge now: %s%s", r.problems, r.warnings)
	}
	if r := plannedOf(t, vds, nicData("targetDevice: tap0")); !strings.Contains(r.warnings, "it is kept") {
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
		guest := "<domain type='kvm'>" + top + "<devices>" + nicWith("bridge", "<source bridge='br0'/>") + "</devices></domain>"
		r := plannedOfGuest(t, guest, nicData("source: {vhostUser: {path: /run/a.sock, mode: client}}"))
		if dead != strings.Contains(r.problems, "does not share") {
			t.Errorf("%s: %s%s", top, r.problems, r.xml)
		}
	}
}

// libvirt 9.0: "<port isolated='yes'/> is not supported for network interfaces with virtualport type='midonet'".
func TestNoPortWithAVirtualPortOfAnyTypeStaysIsolated(t *testing.T) {
	t.Parallel()
	for _, port := range []string{"{type: midonet, interfaceID: 6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d}", "{type: 802.1Qbg, managerID: 1, typeID: 2, typeIDVersion: 3}", "{type: 802.1Qbh, profileID: x}"} {
		o := planDevices(t, "", nicOfKind("01", "network", "<source network='n'/><port isolated='yes'/>"), "interfaces: [{macAddress: '52:54:00:00:00:01', virtualPort: "+port+"}]")
		if strings.Contains(o.xml, "isolated") {
			t.Errorf("%s: libvirt refuses the result:\n%s", port, o.xml)
		}
	}
}
