package xmlrewrite

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestPassedDevices: what is wrong with an entry is told once, and no more is made of it.
func TestPassedDevices(t *testing.T) {
	t.Parallel()
	const uuid = "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11"
	pci := `<hostdev mode='subsystem' type='pci'><source><address domain='0x0000' bus='0x81' slot='0x00' function='0x1'/></source></hostdev>`
	runSmallRewrites(t, []smallRewrite{
		{name: "a mediated device from none", data: "mediatedDevices: [{source: x, target: " + uuid + "}]", before: "", problems: []string{"mediatedDevices[0].source"}},
		{name: "a mediated device to none", data: "mediatedDevices: [{source: " + uuid + ", target: x}]", before: "", problems: []string{"mediatedDevices[0].target"}},
		{name: "a function from none", data: "pciDevices: [{source: x, target: '0000:3b:00.1'}]", before: "", problems: []string{"pciDevices[0].source"}},
		{name: "a function to none", data: "pciDevices: [{source: '0000:81:00.1', target: x}]", before: "", problems: []string{"pciDevices[0].target"}},
		{
			name: "a function at no address inside the guest", data: "pciDevices: [{source: '0000:81:00.1', target: '0000:3b:00.1', guestAddress: x}]", before: "",
			problems: []string{"pciDevices[0].guestAddress"},
		},
		{
			name: "a function from none, at an address inside the guest", data: "pciDevices: [{source: x, target: '0000:3b:00.1', guestAddress: '0000:00:03.0'}]", before: "",
			problems: []string{"pciDevices[0].source"},
		},
		{name: "a USB device from none", data: "usbDevices: [{source: x, target: 3/7}]", before: "", problems: []string{"usbDevices[0].source"}},
		{name: "none", data: "{}", before: "<rng model='virtio'></rng>"},
		{name: "a function that is not mapped", data: "{}", before: pci, problems: []string{"pciDevices"}},
		{name: "a function that is", data: "pciDevices: [{source: '81:00.1', target: '3b:00.1'}]", before: pci, after: strings.Replace(pci, "0x81", "0x3b", 1)},
	})
}

// TestUSBDevices are found anew by what the entry says.
func TestUSBDevices(t *testing.T) {
	t.Parallel()
	usb := func(source string) string {
		return `<hostdev mode='subsystem' type='usb'><source>` + source + `</source></hostdev>`
	}
	const id = `<vendor id='0x046D'/><product id='0xC52B'/>`
	const same = "usbDevices: [{source: '046d:c52b', target: '046d:c52b'}]"
	runSmallRewrites(t, []smallRewrite{
		{name: "the same", data: same, before: usb(id)},
		{name: "the same, without where it was on the source", data: same, before: usb(id + `<address bus='3' device='7'/>`), after: usb(`<vendor id='0x046d'/><product id='0xc52b'/>`)},
		{name: "the same by number", data: "usbDevices: [{source: 3/7, target: 3/7}]", before: usb(`<address bus='0x3' device='0x07'/>`)},
		{name: "another by number", data: "usbDevices: [{source: 3/7, target: 3/8}]", before: usb(`<address bus='3' device='7'/>`), after: usb(`<address bus='3' device='8'/>`)},
		{name: "the same number by port", data: "usbDevices: [{source: 3/7, target: 3-1.4}]", before: usb(`<address bus='3' device='7'/>`), after: usb(`<address bus='3' port='1.4'/>`)},
		{name: "one with a vendor only", data: "usbDevices: [{source: 3/7, target: 3/8}]", before: usb(`<vendor id='0x046d'/><address bus='3' device='7'/>`), after: usb(`<address bus='3' device='8'/>`)},
		{name: "one whose vendor cannot be read", data: "{}", before: usb(`<vendor id='x'/><product id='0xc52b'/>`), problems: []string{"usbDevices"}},
		{name: "one whose product cannot be read", data: "{}", before: usb(`<vendor id='0x046d'/><product id='x'/>`), problems: []string{"usbDevices"}},
		{name: "one that nobody mentions", data: "{}", before: usb(id), warned: []string{"usbDevices"}},
	})
}

// TestWhichPathsAreMapped: by the longest entry, and each has to map something in one of the
// guest's definitions.
func TestWhichPathsAreMapped(t *testing.T) {
	t.Parallel()
	const none = "<devices></devices>"
	os := func(kernel string) string { return "<os><kernel>" + kernel + "</kernel></os>" + none }
	nvram := func(template string) string { return "<os><nvram template='" + template + "'/></os>" + none }
	const unused = "pathMappings[0].from"
	runSmallRewrites(t, []smallRewrite{
		{name: "by the longest", data: "pathMappings: [{from: /srv/a, to: /x}, {from: /srv, to: /y}]", before: os("/srv/a/k"), after: os("/x/k"), problems: []string{"pathMappings[1].from"}},
		{
			name: "by the longest, which comes last", data: "pathMappings: [{from: /srv, to: /y}, {from: /srv/a, to: /x}]", before: os("/srv/a/k"), after: os("/x/k"),
			problems: []string{unused},
		},
		{
			name: "by both", data: "pathMappings: [{from: /srv/a, to: /x}, {from: /srv, to: /y}]", before: "<os><kernel>/srv/a/k</kernel><initrd>/srv/i</initrd></os>" + none,
			after: "<os><kernel>/x/k</kernel><initrd>/y/i</initrd></os>" + none,
		},
		{name: "one of two", data: "pathMappings: [{from: /srv, to: /y}, {from: /boot, to: /x}]", before: os("/srv/k"), problems: []string{"pathMappings[1].from"}},
		{name: "none here, and nothing is known of another", data: "pathMappings: [{from: /srv, to: /y}]", before: os("/boot/k"), problems: []string{unused}},
		{name: "a text of the other definition", data: "pathMappings: [{from: /srv, to: /y}]", before: none, other: os("/srv/k")},
		{name: "an attribute of the other definition", data: "pathMappings: [{from: /srv, to: /y}]", before: none, other: nvram("/srv/k")},
		{name: "a text that was mapped", data: "pathMappings: [{from: /srv, to: /y}]", before: none, other: os("/y/k")},
		{name: "an attribute that was mapped", data: "pathMappings: [{from: /srv, to: /y}]", before: none, other: nvram("/y/k")},
		{name: "none in the other definition", data: "pathMappings: [{from: /srv, to: /y}]", before: none, other: os("/boot/k"), problems: []string{unused}},
		{name: "a name that only begins like it", data: "pathMappings: [{from: /srv, to: /y}]", before: none, other: os("/srvk"), problems: []string{unused}},
		{
			name: "what is bound, and can be mapped", data: "pathMappings: [{from: /dev/ttyS0, to: /dev/ttyS1}]",
			before: "<serial type='dev'><source path='/dev/ttyS0'/></serial>", after: "<serial type='dev'><source path='/dev/ttyS1'/></serial>",
		},
		{
			name: "what is bound, and cannot be", data: "pathMappings: [{from: /dev/tpm0, to: /dev/tpm1}]",
			before: "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>", problems: []string{"devices/tpm/backend", unused},
		},
		{
			name: "what is bound, and looks like a path", data: "pathMappings: [{from: /srv, to: /y}]", before: "<iommufd enabled='yes' fdgroup='/srv/x'/>" + none,
			problems: []string{"iommufd", unused},
		},
		{
			name: "what is bound by its place, and cannot be", data: "pathMappings: [{from: /dev/sg0, to: /dev/sg1}]",
			before:   "<hostdev mode='capabilities' type='storage'><source><block>/dev/sg0</block></source></hostdev>",
			problems: []string{"devices/hostdev", unused},
		},
	})
}

// TestPortsOfTheOtherDefinition: an entry may be for a device that only that has.
func TestPortsOfTheOtherDefinition(t *testing.T) {
	t.Parallel()
	channel := func(port string) string {
		return "<channel type='tcp'><source mode='bind' host='127.0.0.1' service='" + port + "'/></channel>"
	}
	const data = "portMappings: [{from: 2003, to: 3003}, {from: 2004, to: 3004}]"
	runSmallRewrites(t, []smallRewrite{
		{name: "both here", data: data, before: channel("2003") + channel("2004"), after: channel("3003") + channel("3004"), warned: []string{"serial.listenAddress", "serial.listenAddress"}},
		{name: "one there", data: data, before: channel("2003"), after: channel("3003"), other: channel("2004"), warned: []string{"serial.listenAddress"}},
		{name: "one there, by its new port", data: data, before: channel("2003"), other: channel("3004"), problems: []string{"portMappings[1].from"}, warned: []string{"serial.listenAddress"}},
		{name: "another there", data: data, before: channel("2003"), other: channel("2003"), problems: []string{"portMappings[1].from"}, warned: []string{"serial.listenAddress"}},
		{name: "neither", data: data, before: "<rng model='virtio'></rng>", problems: []string{"portMappings[0].from", "portMappings[1].from"}},
	})
}

// TestSerialPorts: by their index, and a console that mirrors one has its port.
func TestSerialPorts(t *testing.T) {
	t.Parallel()
	device := func(name, index, host, port string) string {
		return "<" + name + " type='tcp'><source mode='bind' host='" + host + "' service='" + port + "'/><target port='" + index + "'/></" + name + ">"
	}
	const all = "0.0.0.0"
	const one, two = "serial: {ports: [3000]}", "serial: {ports: [3000, 3001]}"
	warned := func(n int) []string { return slices.Repeat([]string{"serial.listenAddress"}, n) }
	const pty = "<serial type='pty'><target port='9'/></serial>"
	runSmallRewrites(t, []smallRewrite{
		{name: "behind one that does not listen", data: one, before: pty + device("serial", "0", all, "2000"), after: pty + device("serial", "0", all, "3000"), warned: warned(1)},
		{
			name: "with the console that mirrors it", data: one, before: device("serial", "0", all, "2000") + device("console", "0", all, "2000"),
			after: device("serial", "0", all, "3000") + device("console", "0", all, "3000"), warned: warned(2),
		},
		{name: "with a console on another port", data: one, before: device("serial", "0", all, "2000") + device("console", "0", all, "2001"), problems: []string{"serial.ports[0]"}},
		{name: "with a console on another address", data: one, before: device("serial", "0", all, "2000") + device("console", "0", "127.0.0.1", "2000"), problems: []string{"serial.ports[0]"}},
		{name: "with another of the same index", data: one, before: device("serial", "0", all, "2000") + device("serial", "0", all, "2000"), problems: []string{"serial.ports[0]"}},
		{
			name: "one that is wrong, and then another", data: two,
			before:   device("serial", "0", all, "2000") + device("serial", "0", all, "2001") + device("serial", "2", all, "2002"),
			problems: []string{"serial.ports[0]", "serial.ports"},
		},
		{
			name: "two of one port", data: "serial: {ports: [3000, 3000]}", before: device("serial", "0", all, "2000") + device("serial", "1", all, "2001"),
			problems: []string{"serial.ports[1]"},
		},
	})
}

// TestMonitorsOfOtherDisks: not of one for which the migrate data has a source.
func TestMonitorsOfOtherDisks(t *testing.T) {
	t.Parallel()
	disk := func(target, inside string) string {
		return "<disk type='network' device='disk'><source protocol='rbd' name='p/" + target + "'>" + inside + "</source><target dev='" + target + "'/></disk>"
	}
	const before, after = "<host name='a'/>", "<host name='b'/>"
	source := func(target string) string {
		return "{targetDevice: " + target + ", source: {network: {protocol: rbd, name: p/" + target + ", hosts: [{host: a}]}}}"
	}
	runSmallRewrites(t, []smallRewrite{
		{name: "both", data: "rbdMonitors: [{host: b}]", before: disk("vda", before) + disk("vdb", before), after: disk("vda", after) + disk("vdb", after)},
		{name: "not the first", data: "rbdMonitors: [{host: b}]\nvolumes: [" + source("vda") + "]", before: disk("vda", before) + disk("vdb", before), after: disk("vda", before) + disk("vdb", after)},
		{name: "listed without a source", data: "rbdMonitors: [{host: b}]\nvolumes: [{targetDevice: vda}]", before: disk("vda", before), after: disk("vda", after)},
		{name: "a bad one, and then a good one", data: "rbdMonitors: [{host: '?'}, {host: b}]", before: disk("vda", before), problems: []string{"rbdMonitors[0].host"}},
	})
}

// TestPersistentMemoryOfBothDefinitions: entries are for the devices of the running guest.
func TestPersistentMemoryOfBothDefinitions(t *testing.T) {
	t.Parallel()
	device := func(path string) string {
		return "<memory model='nvdimm'><source><path>" + path + "</path></source><target><size unit='KiB'>1</size></target></memory>"
	}
	const one = "virtualPMEM: [{path: /x}]"
	runSmallRewrites(t, []smallRewrite{
		{name: "the running guest's", data: one, before: device("/a"), after: device("/x"), other: device("/a") + device("/b")},
		{name: "the running guest's, of which the other has none", data: one, before: device("/a"), after: device("/x"), other: "<rng model='virtio'></rng>"},
		{
			name: "the running guest's, of one backing", data: "virtualPMEM: [{path: /x}, {path: /y}]", before: device("/a") + device("/a"), after: device("/x") + device("/y"),
			other: device("/a") + device("/a"),
		},
		{name: "the persistent one's", data: one, inactive: true, before: device("/b") + device("/a"), after: device("/b") + device("/x"), other: device("/a")},
		{name: "the persistent one's, and nothing else is known", data: one, inactive: true, before: device("/a"), after: device("/x"), warned: []string{"virtualPMEM"}},
		{name: "the persistent one's, of another device", data: one, inactive: true, before: device("/dev/pmem0"), other: device("/a"), problems: []string{"virtualPMEM"}},
	})
}

// TestMemoryOutOfFiles: not while another process shares it.
func TestMemoryOutOfFiles(t *testing.T) {
	t.Parallel()
	const data = "memoryBacking: {fileBacking: None}"
	guest := func(backing, device string) string { return backing + "<devices>" + device + "</devices>" }
	const file = "<memoryBacking><source type='file'/><access mode='shared'/></memoryBacking>"
	const locked = "<memoryBacking><source type='file'/><locked/></memoryBacking>"
	shares := []string{"memoryBacking.fileBacking"}
	const disk = "<disk type='file' device='disk'><source file='/a'/><target dev='vda'/></disk>"
	runSmallRewrites(t, []smallRewrite{
		{name: "of a guest that shares it with nobody", data: data, inactive: true, before: guest(file, disk), after: guest("", disk)},
		{name: "and something else stays", data: data, inactive: true, before: guest(locked, disk), after: guest("<memoryBacking><locked/></memoryBacking>", disk)},
		{
			name: "with a daemon for an interface", data: data, inactive: true, problems: shares,
			before: guest(file, nicWith("vhostuser", "<source type='unix' path='/s' mode='client'/>")),
		},
		{
			name: "with a daemon for a disk", data: data, inactive: true, problems: shares,
			before: guest(file, disk+"<disk type='vhostuser' device='disk'><source type='unix' path='/s'/><target dev='vdb'/></disk>"),
		},
		{
			name: "with a daemon for a file system", data: data, inactive: true, problems: shares,
			before: guest(file, "<filesystem type='mount'><driver type='virtiofs'/><source dir='/srv'/><target dir='t'/></filesystem>"),
		},
		{name: "of a guest that runs", data: data, before: guest(file, disk), problems: shares},
		{name: "of one that is not in files", data: data, before: guest("<memoryBacking><locked/></memoryBacking>", disk)},
		{name: "and what is to be given back", data: "memoryBacking: {fileBacking: None, discard: Enabled}", before: guest("", disk), problems: []string{"memoryBacking.discard"}},
	})
}

// TestWhatIsPlain: what can stand in an attribute as it is.
func TestWhatIsPlain(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": true, "a": true, "~": true, " ": true, "a~ b": true, "é b": true, "日本": true, "a é~ z": true,
		"\x00": false, "\x01": false, "\n": false, "a\tb": false, "\x1f": false, "é\n": false, "\xff": false, "a\xff": false, "\ufffe": false,
	} {
		if got := isPlain(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	for text, want := range map[string]bool{
		"azAZ09_-.": true, "a": true, "": false, "a`": false, "a{": false, "a@": false, "a[": false, "a/": false, "a:": false, "a b": false, "é": false,
	} {
		if got := isName(text); got != want {
			t.Errorf("%q is a name: %t", text, got)
		}
	}
}

// TestReadNeeds: what the guest asks of the target's agent.
func TestReadNeeds(t *testing.T) {
	t.Parallel()
	serial := func(index, host string) string {
		return "<serial type='tcp'><source mode='bind' host='" + host + "' service='2000'/><target port='" + index + "'/></serial>"
	}
	channel := func(host string) string {
		return "<channel type='tcp'><source mode='bind' host='" + host + "' service='2000'/></channel>"
	}
	graphics := func(kind string, hosts ...string) string {
		var listens strings.Builder
		for _, host := range hosts {
			listens.WriteString("<listen type='address' address='" + host + "'/>")
		}
		return "<graphics type='" + kind + "'>" + listens.String() + "</graphics>"
	}
	const here, all = "192.0.2.1", "0.0.0.0"
	for name, c := range map[string]struct {
		devices string
		want    Needs
	}{
		"nothing":                             {"", Needs{}},
		"a port":                              {serial("0", all), Needs{SerialPorts: 1}},
		"a port at an address of the host":    {serial("2", here), Needs{SerialPorts: 3, SerialAddress: true}},
		"the last of two at such":             {serial("1", all) + serial("0", here), Needs{SerialPorts: 2, SerialAddress: true}},
		"the first of two at such":            {serial("0", here) + serial("1", all), Needs{SerialPorts: 2, SerialAddress: true}},
		"the most ports":                      {serial("63", all), Needs{SerialPorts: 64}},
		"a channel":                           {channel(all), Needs{}},
		"a channel at an address of the host": {channel(all) + channel(here) + channel(all), Needs{SerialAddress: true}},
		"a port at such, and a channel":       {serial("0", here) + channel(all), Needs{SerialPorts: 1, SerialAddress: true}},
		"graphics":                            {graphics("vnc", all) + graphics("spice", "127.0.0.1") + graphics("rdp"), Needs{}},
		"VNC at an address of the host":       {graphics("vnc", here), Needs{VNCAddress: true}},
		"SPICE at an address of the host":     {graphics("spice", all, here), Needs{SPICEAddress: true}},
		"RDP at an address of the host":       {graphics("vnc", all) + graphics("rdp", here, all), Needs{RDPAddress: true}},
		"others at an address of the host":    {graphics("dbus", here), Needs{}},
	} {
		got, err := ReadNeeds("<domain><devices>" + c.devices + "</devices></domain>")
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, %v; want %+v", name, got, err, c.want)
		}
	}
	if _, err := ReadNeeds("<domain><devices>" + serial("64", all) + "</devices></domain>"); err == nil {
		t.Error("a port beyond the most is taken")
	}
	if _, err := ReadNeeds("<guest/>"); err == nil {
		t.Error("what is no guest is read")
	}
}
