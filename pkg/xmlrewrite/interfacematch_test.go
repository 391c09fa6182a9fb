package xmlrewrite

import (
	"strings"
	"testing"
)

func TestChannelInterfacesWithOneMACAddressAreToldApart(t *testing.T) {
	t.Parallel()
	nic := func(n string) string {
		return "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='a'/><model type='virtio'/>" +
			"<address type='ccw' cssid='0xfe' ssid='0x0' devno='0x000" + n + "'/></interface>"
	}
	guest := smallGuest(oneVCPU, nic("1")+nic("2"))
	entry := func(address, bridge string) string {
		return "{macAddress: '52:54:00:00:00:01', guestAddress: " + address + ", source: {bridge: {name: " + bridge + "}}}"
	}
	o := planSmall(t, guest, "interfaces: ["+entry("fe.0.0001", "b")+","+entry("FE.0.2", "c")+"]", Options{})
	if want := strings.NewReplacer("'a'", "'b'").Replace(nic("1")) + strings.NewReplacer("'a'", "'c'").Replace(nic("2")); !strings.Contains(o.xml, want) {
		t.Errorf("%s%s", o.problems, o.xml)
	}
	if o := planSmall(t, guest, "interfaces: ["+entry("fe.0.0001", "b")+"]", Options{}); !strings.Contains(o.problems, "fe.0.0002") {
		t.Errorf("the address of the other is not named: %s", o.problems)
	}
	if o := planSmall(t, guest, "interfaces: ["+entry("fe.4.0001", "b")+"]", Options{}); !strings.Contains(o.problems, "channel device") {
		t.Errorf("there are no more than four subchannel sets: %s", o.problems)
	}
}

// On other buses than PCI and CCW, an interface has no address by which an entry could mean it.
func TestInterfacesWithOneMACAddressAreToldApartByAlias(t *testing.T) {
	t.Parallel()
	nic := func(n, bridge string) string {
		return "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='" + bridge + "'/><model type='usb-net'/>" +
			"<alias name='ua-" + n + "'/><address type='usb' bus='0' port='" + n + "'/></interface>"
	}
	guest := smallGuest(oneVCPU, nic("1", "a")+nic("2", "a"))
	entry := func(alias, bridge string) string {
		return "{macAddress: '52:54:00:00:00:01'" + alias + ", source: {bridge: {name: " + bridge + "}}}"
	}
	for name, entries := range map[string]string{
		"both by alias": entry(", alias: ua-2", "c") + "," + entry(", alias: ua-1", "b"),
		"the other one": entry(", alias: ua-2", "c") + "," + entry("", "b"),
	} {
		o := planSmall(t, guest, "interfaces: ["+entries+"]", Options{})
		if want := nic("1", "b") + nic("2", "c"); !strings.Contains(o.xml, want) {
			t.Errorf("%s: %s%s", name, o.problems, o.xml)
		}
		// The names that libvirt makes up for the running guest mean nothing.
		made := strings.NewReplacer("ua-1", "net0", "ua-2", "net1")
		if o := planSmall(t, made.Replace(guest), "interfaces: ["+made.Replace(entries)+"]", Options{}); !strings.Contains(o.problems, "starts with ua-") {
			t.Errorf("%s: net0 is taken: %s%s", name, o.problems, o.xml)
		}
	}
	if o := planSmall(t, guest, "interfaces: ["+entry(", alias: ua-1", "b")+"]", Options{}); !strings.Contains(o.problems, "the alias ua-2") {
		t.Errorf("the alias of the other is not named: %s", o.problems)
	}
	if o := planSmall(t, guest, "interfaces: ["+entry("", "b")+"]", Options{}); !strings.Contains(o.problems, "alias") {
		t.Errorf("there is no way to tell them apart: %s", o.problems)
	}
}

// The persistent definition's interface may be of another sort, as where a function was
// plugged out of the running guest for good, and a virtio interface into its place.
func TestAnEntryMeansTheRunningGuestsSortOfInterface(t *testing.T) {
	t.Parallel()
	const inside = "<address type='pci' domain='0' bus='0x07' slot='0' function='0'/>"
	const function = "<interface type='hostdev'><mac address='52:54:00:00:00:01'/><source><address type='pci' domain='0' bus='0x81' slot='0' function='0x3'/></source>" + inside + "</interface>"
	const bridge = "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='b'/>" + inside + "</interface>"
	const toBridge = "interfaces: [{macAddress: '52:54:00:00:00:01', source: {bridge: {name: c}}}]"
	const toFunction = "interfaces: [{macAddress: '52:54:00:00:00:01', source: {hostDevice: {pciAddress: '0000:82:00.0'}}}]"
	for name, c := range map[string]struct{ running, persistent, data, want string }{
		"plugged out":                   {bridge, function, toBridge + "\npciDevices: [{source: '0000:81:00.3', target: '0000:82:00.3'}]", "bus='0x82'"},
		"plugged in":                    {function, bridge, toFunction, "bridge='b'"},
		"the same in both, and refused": {bridge, bridge, toFunction, ""},
	} {
		o := planSmall(t, smallGuest(oneVCPU, c.persistent), c.data, Options{Inactive: true, Other: smallGuest(oneVCPU, c.running)})
		if (o.problems == "") != (c.want != "") || !strings.Contains(o.xml, c.want) {
			t.Errorf("%s: %s%s", name, o.problems, o.xml)
		}
	}
}
