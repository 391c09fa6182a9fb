package xmlrewrite

import (
	"fmt"
	"strings"
	"testing"
)

func TestTwoDevicesDoNotBecomeOneOfTheTarget(t *testing.T) {
	t.Parallel()
	nic := func(mac, bus string) string {
		return "<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:" + mac + "'/><source><address type='pci' domain='0' bus='" + bus + "' slot='0' function='0'/></source></interface>"
	}
	const hostdev = "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='0x83' slot='0' function='0'/></source></hostdev>"
	disk := func(target, inside string) string {
		return "<disk type='file' device='disk'><source file='/" + target + "'/><target dev='" + target + "' bus='virtio'/>" + inside + "</disk>"
	}
	disks := func(a, b string) string { return disk("vda", a) + disk("vdb", b) }
	nvdimm := func(n string) string {
		return "<memory model='nvdimm'><source><path>/dev/dax" + n + "</path></source><target><size unit='KiB'>131072</size><node>0</node></target></memory>"
	}
	volumes := func(a, b string) string {
		return "volumes: [{targetDevice: vda, source: {" + a + "}}, {targetDevice: vdb, source: {" + b + "}}]"
	}
	function := func(mac string) string {
		return "{macAddress: '52:54:00:00:00:" + mac + "', source: {hostDevice: {pciAddress: '0000:82:00.0'}}}"
	}
	const pci = "pciDevices: [{source: '0000:83:00.0', target: '0000:82:00.0'}]"
	const lv = "block: {path: /dev/mapper/x}"
	const image = "network: {protocol: rbd, name: p/i, hosts: [{host: a}, {host: b}]}"
	const turned = "network: {protocol: rbd, name: p/i, hosts: [{host: b}, {host: a}]}"
	for name, c := range map[string]struct {
		devices, data string
		names         []string // Both entries, or none if it is no conflict.
	}{
		"interfaces":                {nic("01", "0x81") + nic("02", "0x80"), "interfaces: [" + function("01") + "," + function("02") + "]", []string{"interfaces[0]", "interfaces[1]"}},
		"interface and PCI device":  {nic("01", "0x81") + hostdev, "interfaces: [" + function("01") + "]\n" + pci, []string{"interfaces[0]", "pciDevices[0]"}},
		"NVMe disk and PCI device":  {disk("vda", "") + hostdev, "volumes: [{targetDevice: vda, source: {nvme: {pciAddress: '82:00.0', namespace: 1}}}]\n" + pci, []string{"volumes[0]", "pciDevices[0]"}},
		"one namespace":             {disks("", ""), volumes("nvme: {pciAddress: '0000:82:00.0', namespace: 1}", "nvme: {pciAddress: '82:00.0', namespace: 1}"), []string{"volumes[0]", "volumes[1]"}},
		"two namespaces":            {disks("", ""), volumes("nvme: {pciAddress: '0000:82:00.0', namespace: 1}", "nvme: {pciAddress: '82:00.0', namespace: 2}"), nil},
		"writable disks":            {disks("", ""), volumes(lv, lv), []string{"volumes[0]", "volumes[1]"}},
		"disks on one RBD image":    {disks("", ""), volumes(image, turned), []string{"volumes[0]", "volumes[1]"}},
		"disk that is kept":         {disks("", ""), "volumes: [{targetDevice: vda, source: {file: {path: /vdb}}}]", []string{"volumes[0]", "disk[2]"}},
		"read-only disks":           {disks("<readonly/>", "<readonly/>"), volumes(lv, lv), nil},
		"disks to share":            {disks("<shareable/>", "<shareable/>"), volumes(lv, lv), nil},
		"one read-only disk of two": {disks("<readonly/>", ""), volumes(lv, lv), []string{"volumes[0]", "volumes[1]"}},
		"disks that swap":           {disks("", ""), volumes("file: {path: /vdb}", "file: {path: /vda}"), nil},
		"NVDIMMs":                   {nvdimm("1") + nvdimm("2"), "virtualPMEM: [{path: /dev/dax5}, {path: /dev/dax5}]", []string{"virtualPMEM[0]", "virtualPMEM[1]"}},
	} {
		o := planSmall(t, smallGuest(oneVCPU, c.devices), c.data, Options{})
		if (o.problems == "") != (c.names == nil) {
			t.Errorf("%s: %q", name, o.problems)
		}
		for _, entry := range c.names {
			if !strings.Contains(o.problems, entry) {
				t.Errorf("%s: %s is not named: %s", name, entry, o.problems)
			}
		}
	}
}

func blockDisk(target, dev, inside string) string {
	return "<disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='" + dev + "'/><target dev='" + target + "' bus='virtio'/>" + inside + "</disk>"
}

func basedDisk(target, file, base string) string {
	return "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='" + file + "'/>" +
		"<backingStore type='block'><format type='raw'/><source dev='" + base + "'/><backingStore/></backingStore><target dev='" + target + "' bus='virtio'/></disk>"
}

func chainedDisk(target, file, chain string) string {
	return "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='" + file + "'/>" + chain + "<target dev='" + target + "' bus='virtio'/></disk>"
}

func nicOfKind(mac, kind, inside string) string {
	return "<interface type='" + kind + "'><mac address='52:54:00:00:00:" + mac + "'/>" + inside + "<model type='virtio'/></interface>"
}

func limitOf(dev string) string {
	return "<device><path>" + dev + "</path><weight>200</weight></device>"
}

func planDevices(t *testing.T, top, devices, data string) outcome {
	t.Helper()
	return planSmall(t, smallGuest(oneVCPU+top, devices), data, Options{Target: TargetFacts{LibvirtVersion: "9.0.0"}})
}

func TestTwoPathsOfTheSourceDoNotBecomeOneOfTheTargetInSilence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ devices, data string }{
		"input devices": {
			"<input type='evdev'><source dev='/dev/input/event3'/></input><input type='evdev'><source dev='/dev/input/event4'/></input>",
			"pathMappings: [{from: /dev/input/event3, to: /dev/input/event7}, {from: /dev/input/event4, to: /dev/input/event7}]",
		},
		"sockets": {
			"<channel type='unix'><source mode='bind' path='/srv/a.sock'/><target type='virtio' name='a'/></channel><channel type='unix'><source mode='bind' path='/srv/b.sock'/><target type='virtio' name='b'/></channel>",
			"pathMappings: [{from: /srv/a.sock, to: /mnt/c.sock}, {from: /srv/b.sock, to: /mnt/c.sock}]",
		},
		"a base and a disk that is written": {
			basedDisk("vda", "/srv/a.qcow2", "/dev/vg/base") + blockDisk("vdb", "/dev/vg/w", ""),
			"pathMappings: [{from: /dev/vg/base, to: /dev/vg/w}]",
		},
		"a disk that is written and a base": {
			basedDisk("vda", "/srv/a.qcow2", "/dev/vg/base") + blockDisk("vdb", "/dev/vg/w", ""),
			"volumes: [{targetDevice: vdb, source: {block: {path: /dev/vg/base}}}]",
		},
		"a disk and what a port writes to": {
			blockDisk("vda", "/dev/vg/a", "") + "<serial type='file'><source path='/srv/port.log'/><target port='0'/></serial>",
			"volumes: [{targetDevice: vda, source: {file: {path: /srv/port.log}}}]",
		},
	} {
		if o := planDevices(t, "", c.devices, c.data); o.problems == "" {
			t.Errorf("%s: both are on one thing of the target: %s", name, o.warnings)
		}
	}
}

func TestTwoInterfacesDoNotGetOneDeviceOfTheTarget(t *testing.T) {
	t.Parallel()
	two := nicOfKind("01", "bridge", "<source bridge='b'/>") + nicOfKind("02", "bridge", "<source bridge='b'/>")
	both := func(what string) string {
		return "interfaces: [{macAddress: '52:54:00:00:00:01', " + what + "}, {macAddress: '52:54:00:00:00:02', " + what + "}]"
	}
	for name, c := range map[string]struct{ devices, data string }{
		"vDPA":                {two, both("source: {vdpa: {path: /dev/vhost-vdpa-0}}")},
		"vhost-user, server":  {two, both("source: {vhostUser: {path: /run/x.sock, mode: server}}")},
		"macvtap passthrough": {two, both("source: {direct: {device: eth1, mode: passthrough}}")},
		"vhost-user, server, of a socket that another keeps": {
			nicOfKind("01", "bridge", "<source bridge='b'/>") + nicOfKind("02", "vhostuser", "<source type='unix' path='/run/x.sock' mode='server'/>"),
			"interfaces: [{macAddress: '52:54:00:00:00:01', source: {vhostUser: {path: /run/x.sock, mode: server}}}, {macAddress: '52:54:00:00:00:02'}]",
		},
		"macvtap passthrough of a device that another keeps": {
			nicOfKind("01", "bridge", "<source bridge='b'/>") + nicOfKind("02", "direct", "<source dev='eth1' mode='bridge'/>"),
			"interfaces: [{macAddress: '52:54:00:00:00:01', source: {direct: {device: eth1, mode: passthrough}}}, {macAddress: '52:54:00:00:00:02'}]",
		},
		"names of taps": {two, both("targetDevice: tap0")},
		"the name of a tap that is kept": {
			nicOfKind("01", "bridge", "<source bridge='b'/>") + nicOfKind("02", "bridge", "<source bridge='b'/><target dev='tap7'/>"),
			"interfaces: [{macAddress: '52:54:00:00:00:01', targetDevice: tap7}, {macAddress: '52:54:00:00:00:02'}]",
		},
		"vDPA disk and interface": {
			blockDisk("vda", "/dev/vg/a", "") + nicOfKind("01", "bridge", "<source bridge='b'/>"),
			"volumes: [{targetDevice: vda, source: {vhostVDPA: {path: /dev/vhost-vdpa-0}}}]\ninterfaces: [{macAddress: '52:54:00:00:00:01', source: {vdpa: {path: /dev/vhost-vdpa-0}}}]",
		},
	} {
		o := planSmall(t, smallGuest(oneVCPU+"<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>", c.devices), c.data, Options{})
		if o.problems == "" {
			t.Errorf("%s: both devices get the same, and nothing refuses it", name)
		}
	}
}

// libvirt 9.0: "duplicate blkio device path".
func TestNoBlockDeviceHasTwoLimits(t *testing.T) {
	t.Parallel()
	limits := "<blkiotune>" + limitOf("/dev/vg/a") + limitOf("/dev/vg/b") + "</blkiotune>"
	for name, c := range map[string]struct{ devices, data string }{
		"a disk moves to a device with a limit": {blockDisk("vda", "/dev/vg/a", ""), "volumes: [{targetDevice: vda, source: {block: {path: /dev/vg/b}}}]"},
		"read-only disks come together": {
			blockDisk("vda", "/dev/vg/a", "<readonly/>") + blockDisk("vdb", "/dev/vg/b", "<readonly/>"),
			"volumes: [{targetDevice: vda, source: {block: {path: /dev/vg/c}}}, {targetDevice: vdb, source: {block: {path: /dev/vg/c}}}]",
		},
		"paths are mapped to one": {"", "pathMappings: [{from: /dev/vg/a, to: /dev/vg/c}, {from: /dev/vg/b, to: /dev/vg/c}]"},
	} {
		o := planDevices(t, limits, c.devices, c.data)
		for _, dev := range []string{"a", "b", "c"} {
			if strings.Count(o.xml, "<path>/dev/vg/"+dev+"</path>") > 1 {
				t.Errorf("%s: libvirt refuses two limits of /dev/vg/%s:\n%s", name, dev, o.xml)
			}
		}
	}
}

func TestALimitFollowsItsDiskHoweverManySlashesItsPathHas(t *testing.T) {
	t.Parallel()
	o := planDevices(t, "<blkiotune>"+limitOf("/dev/vg//a")+"</blkiotune>", blockDisk("vda", "/dev/vg/a", ""), "volumes: [{targetDevice: vda, source: {block: {path: /dev/vg/b}}}]")
	if !strings.Contains(o.xml, "<path>/dev/vg/b</path>") {
		t.Errorf("%s%s%s", o.problems, o.warnings, o.xml)
	}
}

// The first console is the first serial port once more.
func TestASerialPortAndItsConsoleAreOneDevice(t *testing.T) {
	t.Parallel()
	for kind, mode := range map[string]string{"dev": "", "unix": "mode='bind' "} {
		source := "<source " + mode + "path='/srv/port'/>"
		o := planDevices(t, "", "<serial type='"+kind+"'>"+source+"<target port='0'/></serial><console type='"+kind+"'>"+source+"<target type='serial' port='0'/></console>",
			"pathMappings: [{from: /srv, to: /mnt}]")
		if o.problems != "" || strings.Count(o.xml, "path='/mnt/port'") != 2 {
			t.Errorf("%s: %s%s", kind, o.problems, o.xml)
		}
	}
}

// sliceOf is a disk that is a part of an image.
func sliceOf(target, file, offset, size string) string {
	return "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='" + file + "'><slices><slice type='storage' offset='" + offset + "' size='" + size +
		"'/></slices></source><target dev='" + target + "' bus='virtio'/></disk>"
}

func TestPartsOfOneImageMoveTogether(t *testing.T) {
	t.Parallel()
	const both = "volumes: [{targetDevice: vda, source: {file: {path: /mnt/b}}}, {targetDevice: vdb, source: {file: {path: /mnt/b}}}]"
	const first = "volumes: [{targetDevice: vda, source: {file: {path: /mnt/b}}}]"
	const laidOut = "the same part of the new image"
	a := sliceOf("vda", "/srv/a", "0", "1024")
	whole := diskAt("vdb", "file", "<source file='/srv/c'/>")
	for name, c := range map[string]struct{ devices, data, problem, warning string }{
		"side by side":                      {a + sliceOf("vdb", "/srv/a", "1024", "512"), both, "", laidOut},
		"the third is a part of the second": {a + sliceOf("vdb", "/srv/a", "1024", "512") + sliceOf("vdc", "/mnt/b", "1100", "1"), both, "the same thing of the target", ""},
		"they overlap":                      {a + sliceOf("vdb", "/srv/c", "1023", "512"), both, "the same thing of the target", ""},
		"one is the whole image":            {a + whole, both, "the same thing of the target", ""},
		"no number":                         {a + sliceOf("vdb", "/srv/c", "x", "512"), both, "the same thing of the target", ""},
		"only one of them":                  {a + sliceOf("vdb", "/srv/a", "1024", "512"), first, "", laidOut},
		"to where the other stays":          {a + sliceOf("vdb", "/mnt/b", "1024", "512"), first, "", laidOut},
		"into one that stays":               {a + sliceOf("vdb", "/mnt/b", "512", "512"), first, "the same thing of the target", ""},
		"nowhere":                           {a + sliceOf("vdb", "/srv/a", "1024", "512"), "{}", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := planDevices(t, "", c.devices, c.data)
			if !strings.Contains(o.problems, c.problem) || (o.problems != "") != (c.problem != "") {
				t.Errorf("problems: %q, want %q", o.problems, c.problem)
			}
			if !strings.Contains(o.warnings, c.warning) || strings.Contains(o.warnings, laidOut) != (c.warning != "") {
				t.Errorf("warnings: %q, want %q", o.warnings, c.warning)
			}
		})
	}
}

// Such a name is none that the device has on the target.
func TestANameOfATapThatDoesNotStayIsFree(t *testing.T) {
	t.Parallel()
	const listed = "interfaces: [{macAddress: '52:54:00:00:00:01', targetDevice: %s}, {macAddress: '52:54:00:00:00:02'%s}, {macAddress: '52:54:00:00:00:03'}]"
	for name, c := range map[string]struct{ kept, want, source string }{
		"libvirt's own":        {"vnet3", "vnet3", ""},
		"of the kind before":   {"tap7", "tap7", ", source: {network: {name: n}}"},
		"given to another one": {"tap7", "tap7", ", targetDevice: tap8"},
		"on the same device":   {"tap7", "tap6", ", source: {direct: {device: eth1}}"},
	} {
		devices := nicOfKind("01", "bridge", "<source bridge='b'/>") + nicOfKind("02", "bridge", "<source bridge='b'/><target dev='"+c.kept+"'/>") +
			nicOfKind("03", "direct", "<source dev='eth1' mode='bridge'/>")
		if o := planDevices(t, "", devices, fmt.Sprintf(listed, c.want, c.source)); o.problems != "" {
			t.Errorf("%s: %s", name, o.problems)
		}
	}
}
