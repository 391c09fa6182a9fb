package xmlrewrite

import (
	"strings"
	"testing"
)

func TestEntryByTargetDeviceSparesAnotherDiskOfThePersistentDefinition(t *testing.T) {
	t.Parallel()
	disk := func(kind, source string) string {
		return smallGuest(oneVCPU, "<disk type='"+kind+"' device='disk'><driver name='qemu' type='raw'/>"+source+"<target dev='vdb' bus='virtio'/></disk>")
	}
	network := func(attributes, inside string) string {
		return disk("network", "<source "+attributes+">"+inside+"</source>")
	}
	for name, c := range map[string]struct {
		persistent, running string
		same                bool
	}{
		"another NBD server":    {network("protocol='nbd'", "<host name='archive' port='10809'/>"), network("protocol='nbd'", "<host name='scratch' port='10809'/>"), false},
		"the usual port":        {network("protocol='nbd'", "<host name='a'/>"), network("protocol='nbd'", "<host name='a' port='10809'/>"), true},
		"TLS by configuration":  {network("protocol='nbd'", "<host name='a'/>"), network("protocol='nbd' tls='yes'", "<host name='a'/>"), true},
		"another snapshot":      {network("protocol='rbd' name='p/i'", "<host name='a'/><snapshot name='s'/>"), network("protocol='rbd' name='p/i'", "<host name='a'/>"), false},
		"another Ceph cluster":  {network("protocol='rbd' name='p/i'", "<config file='/etc/ceph/b.conf'/>"), network("protocol='rbd' name='p/i'", "<config file='/etc/ceph/a.conf'/>"), false},
		"monitors in any order": {network("protocol='rbd' name='p/i'", "<host name='a'/><host name='b'/>"), network("protocol='rbd' name='p/i'", "<host name='b'/><host name='a'/>"), true},
		"another initiator":     {network("protocol='iscsi' name='i'", "<host name='a'/><initiator><iqn name='x'/></initiator>"), network("protocol='iscsi' name='i'", "<host name='a'/><initiator><iqn name='y'/></initiator>"), false},
		"another slice": {
			disk("block", "<source dev='/dev/x'><slices><slice type='storage' offset='0' size='512'/></slices></source>"),
			disk("block", "<source dev='/dev/x'><slices><slice type='storage' offset='512' size='512'/></slices></source>"), false,
		},
		"the same slice": {
			disk("block", "<source dev='/dev/x'><slices><slice type='storage' offset='0' size='512'/></slices></source>"),
			disk("block", "<source dev='/dev/x' index='1'><slices>\n<slice size='512' type='storage' offset='0'/></slices></source>"), true,
		},
	} {
		o := planSmall(t, c.persistent, "volumes: [{targetDevice: vdb, source: {network: {protocol: nbd, hosts: [{host: tgt}]}}}]",
			Options{Inactive: true, Other: c.running})
		if moved := strings.Contains(o.xml, "'tgt'"); moved != c.same {
			t.Errorf("%s: moved %v, want %v: %s%s", name, moved, c.same, o.problems, o.xml)
		}
	}
}

func TestDeviceOfTheSourceIsNotTakenForOneThatWasMapped(t *testing.T) {
	t.Parallel()
	device := func(kind, source, inside string) string {
		return smallGuest(oneVCPU, "<hostdev mode='subsystem' type='"+kind+"' managed='yes'><source>"+source+"</source>"+inside+"</hostdev>")
	}
	const guestAddress = "<address type='pci' domain='0' bus='1' slot='0' function='0'/>"
	pci := func(bus, inside string) string {
		return device("pci", "<address domain='0' bus='"+bus+"' slot='0' function='0'/>", inside)
	}
	mdev := func(n string) string {
		return device("mdev", "<address uuid='6d1d5f1e-0b3b-4a7c-9c8e-00000000000"+n+"'/>", "")
	}
	usb := func(n string) string { return device("usb", "<address bus='1' device='"+n+"'/>", "") }
	product := func(n string) string { return device("usb", "<vendor id='0x046d'/><product id='0x000"+n+"'/>", "") }
	for name, c := range map[string]struct{ persistent, running, data string }{
		"PCI": {pci("0x82", ""), pci("0x81", ""), "pciDevices: [{source: '0000:81:00.0', target: '0000:82:00.0'}]"},
		"PCI by the address inside the guest": {
			pci("0x82", guestAddress), pci("0x81", guestAddress), "pciDevices: [{source: '0000:81:00.0', target: '0000:82:00.0', guestAddress: '0000:01:00.0'}]",
		},
		"mediated":                  {mdev("2"), mdev("1"), "mediatedDevices: [{source: 6d1d5f1e-0b3b-4a7c-9c8e-000000000001, target: 6d1d5f1e-0b3b-4a7c-9c8e-000000000002}]"},
		"USB by number":             {usb("5"), usb("4"), "usbDevices: [{source: 1/4, target: 1/5}]"},
		"USB by vendor and product": {product("2"), product("1"), "usbDevices: [{source: '046d:0001', target: '046d:0002'}]"},
	} {
		if o := planSmall(t, c.persistent, c.data, Options{Inactive: true, Other: c.running}); o.problems == "" {
			t.Errorf("%s: a device of the source that the running guest does not have stays: %s", name, o.xml)
		}
		if o := planSmall(t, c.running, c.data, Options{Other: c.persistent}); o.problems != "" {
			t.Errorf("%s: the running guest's device is not mapped: %s", name, o.problems)
		}
		if o := planSmall(t, c.persistent, c.data, Options{Inactive: true, Other: c.persistent}); o.problems != "" {
			t.Errorf("%s: both definitions were rewritten earlier: %s", name, o.problems)
		}
	}
}

func TestPersistentNVDIMMsDoNotShareADeviceOfTheTarget(t *testing.T) {
	t.Parallel()
	nvdimms := func(paths ...string) string {
		var devices strings.Builder
		for _, path := range paths {
			devices.WriteString("<memory model='nvdimm'><source><path>" + path + "</path></source><target><size unit='KiB'>131072</size><node>0</node></target></memory>")
		}
		return smallGuest(oneVCPU, devices.String())
	}
	o := planSmall(t, nvdimms("/dev/dax0.0", "/dev/dax1.0"), "virtualPMEM: [{path: /dev/dax1.0}]", Options{Inactive: true, Other: nvdimms("/dev/dax0.0")})
	if o.problems == "" {
		t.Errorf("dax1.0 of the source is not the running guest's dax0.0, and stays: %s", o.xml)
	}
}

func TestPersistentDefinitionAloneIsWarnedAbout(t *testing.T) {
	t.Parallel()
	guest := smallGuest(oneVCPU, "<disk type='file' device='disk'><source file='/a'/><target dev='vda'/></disk>"+
		"<memory model='nvdimm'><source><path>/dev/dax0.0</path></source><target><size unit='KiB'>131072</size><node>0</node></target></memory>"+
		"<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='0x81' slot='0' function='0'/></source>"+
		"<address type='pci' domain='0' bus='1' slot='0' function='0'/></hostdev>")
	const data = "{volumes: [{targetDevice: vda, source: {file: {path: /b}}}], virtualPMEM: [{path: /dev/dax1.0}], " +
		"pciDevices: [{source: '0000:81:00.0', target: '0000:82:00.0', guestAddress: '0000:01:00.0'}]}"
	for _, opts := range []Options{{Inactive: true}, {Inactive: true, Other: guest}, {}} {
		o := planSmall(t, guest, data, opts)
		want := 0
		if opts.Inactive && opts.Other == "" {
			want = 3
		}
		if got := strings.Count(o.warnings, "--other-definition"); got != want || o.problems != "" {
			t.Errorf("inactive %v: %d warnings, want %d: %s%s", opts.Inactive, got, want, o.warnings, o.problems)
		}
	}
}

// A mistake in source may look like a rewrite that is repeated.
func TestADeviceThatCountsAsMappedBeforeIsNotKeptInSilence(t *testing.T) {
	t.Parallel()
	hostdev := func(kind, source string) string {
		return "<hostdev mode='subsystem' type='" + kind + "'><source>" + source + "</source></hostdev>"
	}
	const uuid = "c2177883-f1bb-47f0-914d-32a22e3a880"
	for name, c := range map[string]struct{ devices, data string }{
		"PCI": {
			hostdev("pci", "<address domain='0' bus='0x81' slot='0' function='1'/>"), "pciDevices: [{source: '0000:81:00.2', target: '0000:81:00.1'}]",
		},
		"mediated, of two": {
			hostdev("mdev", "<address uuid='"+uuid+"4'/>") + hostdev("mdev", "<address uuid='"+uuid+"5'/>"),
			"mediatedDevices: [{source: " + uuid + "4, target: " + uuid + "5}, {source: " + uuid + "6, target: " + uuid + "4}]",
		},
		"USB": {hostdev("usb", "<address bus='3' device='7'/>"), "usbDevices: [{source: 3/8, target: 3/7}]"},
	} {
		if o := planDevices(t, "", c.devices, c.data); !strings.Contains(o.warnings, "earlier rewrite") {
			t.Errorf("%s: source is no device of the guest: %s%s", name, o.problems, o.warnings)
		}
	}
}
