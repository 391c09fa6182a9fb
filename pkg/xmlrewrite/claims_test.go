package xmlrewrite

import (
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
