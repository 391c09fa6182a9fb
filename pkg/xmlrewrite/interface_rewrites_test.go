package xmlrewrite

import (
	"strings"
	"testing"
)

// nicWith is an interface of a kind with something in it.
func nicWith(kind, inside string) string {
	return `<interface type='` + kind + `'><mac address='52:54:00:00:00:01'/>` + inside + `<model type='virtio'/></interface>`
}

// shared has the guest share its memory, too.
func shared(device string) string {
	return "<memoryBacking><access mode='shared'/></memoryBacking><devices>" + device + "</devices>"
}

// nicData is an entry for it.
func nicData(what string) string {
	return "interfaces: [{macAddress: '52:54:00:00:00:01', " + what + "}]"
}

// TestVirtualPorts: one that libvirt has given an identity stays, unless something else is asked for.
func TestVirtualPorts(t *testing.T) {
	t.Parallel()
	const source, id = `<source bridge='br0'/>`, ` interfaceid='5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11'`
	port := func(kind, parameters string) string {
		if parameters == "" {
			return nicWith("bridge", source+`<virtualport type='`+kind+`'/>`)
		}
		return nicWith("bridge", source+`<virtualport type='`+kind+`'><parameters`+parameters+`/></virtualport>`)
	}
	runSmallRewrites(t, []smallRewrite{
		{name: "a new one", data: nicData("virtualPort: {type: openvswitch}"), before: nicWith("bridge", source), after: port("openvswitch", "")},
		{name: "the same", data: nicData("virtualPort: {type: openvswitch}"), before: port("openvswitch", "")},
		{name: "the same with an identity", data: nicData("virtualPort: {type: openvswitch}"), before: port("openvswitch", id)},
		{name: "with more than that", data: nicData("virtualPort: {type: openvswitch}"), before: port("openvswitch", id+` profileid='x'`), after: port("openvswitch", "")},
		{name: "with something else", data: nicData("virtualPort: {type: openvswitch}"), before: port("openvswitch", ` profileid='x'`), after: port("openvswitch", "")},
		{name: "of another type", data: nicData("virtualPort: {type: openvswitch}"), before: port("midonet", id), after: port("openvswitch", "")},
		{name: "of a type without", data: nicData("virtualPort: {type: midonet}"), before: port("midonet", id), problems: []string{"interfaces[0].virtualPort.interfaceID"}},
		{name: "with other parameters", data: nicData("virtualPort: {type: openvswitch, profileID: why}"), before: port("openvswitch", id), after: port("openvswitch", ` profileid='why'`)},
		{name: "none", data: nicData("virtualPort: {}"), before: port("openvswitch", id), after: nicWith("bridge", source)},
		{name: "without a type", data: nicData("virtualPort: {profileID: why}"), before: port("openvswitch", id), problems: []string{"interfaces[0].virtualPort.type"}},
	})
}

// TestTagsAndFiltersOfAnotherKindOfSource: what separates the guest from others stays, or is
// asked about.
func TestTagsAndFiltersOfAnotherKindOfSource(t *testing.T) {
	t.Parallel()
	const vlan, filter = `<vlan><tag id='7'/></vlan>`, `<filterref filter='clean-traffic'/>`
	const bridge, network = "source: {bridge: {name: br1}}", "source: {network: {name: net}}"
	onBridge, onNetwork := `<source bridge='br1'/>`, `<source network='net'/>`
	direct := func(mode string) string { return "source: {direct: {device: eth1, mode: " + mode + "}}" }
	runSmallRewrites(t, []smallRewrite{
		{name: "tags, on a bridge", data: nicData(bridge), before: nicWith("network", onNetwork+vlan), problems: []string{"interfaces[0].vlan"}},
		{
			name: "tags, on Open vSwitch", data: nicData(bridge + ", virtualPort: {type: openvswitch}"), before: nicWith("network", onNetwork+vlan),
			after: nicWith("bridge", onBridge+vlan+`<virtualport type='openvswitch'/>`),
		},
		{name: "tags, on another switch", data: nicData(bridge + ", virtualPort: {type: 802.1Qbh}"), before: nicWith("network", onNetwork+vlan), problems: []string{"interfaces[0].vlan", "interfaces[0].virtualPort"}},
		{name: "tags, on no switch", data: nicData(bridge + ", virtualPort: {}"), before: nicWith("network", onNetwork+vlan), problems: []string{"interfaces[0].vlan"}},
		{
			name: "tags, on a whole device", data: nicData(direct("passthrough")), before: nicWith("network", onNetwork+vlan),
			after: nicWith("direct", `<source dev='eth1' mode='passthrough'/>`+vlan),
		},
		{name: "tags, on a part of a device", data: nicData(direct("vepa")), before: nicWith("network", onNetwork+vlan), problems: []string{"interfaces[0].vlan"}},
		{name: "tags, on a network", data: nicData(network), before: nicWith("bridge", onBridge+vlan), after: nicWith("network", onNetwork+vlan)},

		{name: "a filter, on a bridge", data: nicData(bridge), before: nicWith("network", onNetwork+filter), after: nicWith("bridge", onBridge+filter)},
		{name: "a filter, on a network", data: nicData(network), before: nicWith("bridge", onBridge+filter), after: nicWith("network", onNetwork+filter)},
		{name: "a filter, on a tap device", data: nicData("source: {ethernet: {}}"), before: nicWith("bridge", onBridge+filter), after: nicWith("ethernet", filter)},
		{name: "a filter, on a device", data: nicData(direct("vepa")), before: nicWith("bridge", onBridge+filter), problems: []string{"interfaces[0].filter"}},
	})
}

// TestTrunks: several tags need one, and so does a native mode.
func TestTrunks(t *testing.T) {
	t.Parallel()
	before := nicWith("network", `<source network='net'/>`)
	with := func(vlan string) string { return nicWith("network", `<source network='net'/>`+vlan) }
	runSmallRewrites(t, []smallRewrite{
		{name: "one tag", data: nicData("vlan: {tags: [{id: 1}]}"), before: before, after: with(`<vlan><tag id='1'/></vlan>`)},
		{name: "one tag on a trunk", data: nicData("vlan: {tags: [{id: 1}], trunk: Enabled}"), before: before, after: with(`<vlan trunk='yes'><tag id='1'/></vlan>`)},
		{name: "two tags", data: nicData("vlan: {tags: [{id: 1}, {id: 2}]}"), before: before, after: with(`<vlan trunk='yes'><tag id='1'/><tag id='2'/></vlan>`)},
		{name: "a native mode", data: nicData("vlan: {tags: [{id: 1, nativeMode: tagged}]}"), before: before, after: with(`<vlan trunk='yes'><tag id='1' nativeMode='tagged'/></vlan>`)},
		{name: "two tags without a trunk", data: nicData("vlan: {tags: [{id: 1}, {id: 2}], trunk: Disabled}"), before: before, problems: []string{"interfaces[0].vlan.trunk"}},
		{name: "one tag without a trunk", data: nicData("vlan: {tags: [{id: 1}], trunk: Disabled}"), before: before, after: with(`<vlan><tag id='1'/></vlan>`)},
		{name: "a tag twice", data: nicData("vlan: {tags: [{id: 1}, {id: 1}]}"), before: before, problems: []string{"interfaces[0].vlan.tags[1].id"}},
	})
}

// TestWhatOnlyTheOldKindOfSourceHas goes with a warning, or in silence where it is no loss.
func TestWhatOnlyTheOldKindOfSourceHas(t *testing.T) {
	t.Parallel()
	const bridge = "source: {bridge: {name: br1}}"
	onBridge := nicWith("bridge", `<source bridge='br1'/>`)
	const driver, bare = `<driver name='vhost' queues='2'/>`, `<driver queues='2'/>`
	runSmallRewrites(t, []smallRewrite{
		{
			name: "an address", data: nicData(bridge), before: nicWith("ethernet", `<source><ip address='192.0.2.5' prefix='24'/></source>`),
			after: nicWith("bridge", `<source bridge='br1'></source>`), warned: []string{"interfaces[0].source"},
		},
		{
			name: "a route", data: nicData(bridge), before: nicWith("ethernet", `<source><route address='192.0.2.0' prefix='24' gateway='192.0.2.1'/></source>`),
			after: nicWith("bridge", `<source bridge='br1'></source>`), warned: []string{"interfaces[0].source"},
		},
		{name: "neither", data: nicData(bridge), before: nicWith("ethernet", ``), after: onBridge},
		{
			name: "a driver, for a daemon", data: nicData("source: {vhostUser: {path: /run/a, mode: client}}"), before: shared(nicWith("bridge", `<source bridge='br0'/>`+driver)),
			after: shared(nicWith("vhostuser", `<source type='unix' path='/run/a' mode='client'/>`+bare)),
		},
		{
			name: "a driver, for hardware", data: nicData("source: {vdpa: {path: /dev/v}}"), before: nicWith("bridge", `<source bridge='br0'/>`+driver),
			after: nicWith("vdpa", `<source dev='/dev/v'/>`+bare),
		},
		{
			name: "a driver, for a network", data: nicData("source: {network: {name: net}}"), before: nicWith("bridge", `<source bridge='br0'/>`+driver),
			after: nicWith("network", `<source network='net'/>`+driver),
		},
		{
			name: "a driver, for another socket", data: nicData("source: {vhostUser: {path: /run/b, mode: client}}"),
			before: nicWith("vhostuser", `<source type='unix' path='/run/a' mode='client'/>`+driver),
			after:  nicWith("vhostuser", `<source type='unix' path='/run/b' mode='client'/>`+driver),
		},
	})
}

// TestWhichInterfaceAnEntryMeans where several have one MAC address, and an entry that is
// wrong takes no other along.
func TestWhichInterfaceAnEntryMeans(t *testing.T) {
	t.Parallel()
	const hosted = `<interface type='hostdev'><mac address='52:54:00:00:00:01'/><source><address type='pci' domain='0x0000' bus='129' slot='0x00' function='0x1'/></source></interface>`
	const other = `<interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/></interface>`
	plain := nicWith("bridge", `<source bridge='br0'/>`)
	at := func(slot string) string {
		return nicWith("bridge", `<source bridge='br0'/><address type='pci' domain='0x0000' bus='0x00' slot='0x`+slot+`' function='0x0'/>`)
	}
	runSmallRewrites(t, []smallRewrite{
		{
			name: "one of two that are alike", before: plain + plain,
			data:     "interfaces: [{macAddress: '52:54:00:00:00:01', source: {hostDevice: {pciAddress: '0000:81:00.1'}}}]",
			problems: []string{"interfaces[0].macAddress"},
		},
		{
			name: "the only one, of another kind", before: plain,
			data:     "interfaces: [{macAddress: '52:54:00:00:00:01', source: {hostDevice: {pciAddress: '0000:81:00.1'}}}]",
			problems: []string{"interfaces[0].source"},
		},
		{
			name: "one with a MAC address that is none", before: plain + other,
			data:     "interfaces: [{macAddress: x}, {macAddress: '52:54:00:00:00:01'}, {macAddress: '52:54:00:00:00:02'}]",
			problems: []string{"interfaces[0].macAddress"},
		},
		{
			name: "one with an address inside the guest that is none", before: plain + other,
			data:     "interfaces: [{macAddress: '52:54:00:00:00:03', guestAddress: x}, {macAddress: '52:54:00:00:00:01'}, {macAddress: '52:54:00:00:00:02'}]",
			problems: []string{"interfaces[0].guestAddress"},
		},
		{
			name: "a function in other digits", before: hosted,
			data: "interfaces: [{macAddress: '52:54:00:00:00:01', source: {hostDevice: {pciAddress: '0000:81:00.1'}}}]",
		},
		{
			name: "another function", before: hosted,
			data:  "interfaces: [{macAddress: '52:54:00:00:00:01', source: {hostDevice: {pciAddress: '0001:3b:01.2'}}}]",
			after: strings.NewReplacer("0x0000", "0x0001", "129", "0x3b", "slot='0x00'", "slot='0x01'", "0x1'/>", "0x2'/>").Replace(hosted),
		},
		{
			name: "a function that stays, by the list of functions", before: hosted + plain,
			data: "interfaces: [{macAddress: '52:54:00:00:00:01'}]\npciDevices: [{source: '0000:81:00.1', target: '0000:81:00.1'}]",
		},
		{
			name: "a function that is not listed", before: hosted + other,
			data:     "interfaces: [{macAddress: '52:54:00:00:00:02'}]\npciDevices: [{source: '0000:81:00.1', target: '0000:81:00.1'}]",
			problems: []string{"interfaces"},
		},
		{
			name: "one of two by its address inside the guest", before: at("03") + at("04"),
			data:     "interfaces: [{macAddress: '52:54:00:00:00:01', guestAddress: '0000:00:03.0'}]",
			problems: []string{"interfaces"},
		},
		{
			name: "a function beside one that the list has", before: hosted + strings.NewReplacer("00:00:01'", "00:00:02'", "129", "130").Replace(hosted),
			data:     "interfaces: [{macAddress: '52:54:00:00:00:01', source: {hostDevice: {pciAddress: '0000:81:00.1'}}}, {macAddress: '52:54:00:00:00:02'}]",
			problems: []string{"pciDevices"},
		},
	})
}
