package xmlrewrite

import (
	"strings"
	"testing"
)

func usbGuest(sources ...string) string {
	var devices strings.Builder
	for _, source := range sources {
		devices.WriteString("<hostdev mode='subsystem' type='usb' managed='yes'>" + source + "</hostdev>")
	}
	return smallGuest(oneVCPU, devices.String())
}

// usbAt has a device by vendor and product and by its address. Libvirt tries no other
// address, unless it found that itself.
func usbAt(device, attributes string) string {
	return "<source" + attributes + "><vendor id='0x046d'/><product id='0xc52b'/><address bus='1' device='" + device + "'/></source>"
}

func TestUSBDeviceWithAFixedAddressHasToBeMapped(t *testing.T) {
	t.Parallel()
	if o := planSmall(t, usbGuest(usbAt("4", "")), "", Options{}); !strings.Contains(o.problems, "1/4") {
		t.Errorf("the source's bus and device number stay: %s%s", o.warnings, o.xml)
	}
	if o := planSmall(t, usbGuest(usbAt("4", " autoAddress='yes'")), "", Options{}); !strings.Contains(o.warnings, "vendor and product") {
		t.Errorf("libvirt finds the device: %s%s", o.problems, o.warnings)
	}
	for data, want := range map[string]string{
		"usbDevices: [{source: '046d:c52b', target: '046d:c52b'}]": "<source><vendor id='0x046d'/><product id='0xc52b'/></source>",
		"usbDevices: [{source: '046d:c52b', target: '2/6'}]":       "<source><address bus='2' device='6'/></source>",
		"usbDevices: [{source: '1/4', target: '1/5'}]":             "<source><address bus='1' device='5'/></source>",
		"usbDevices: [{source: '1/4', target: '1/4'}]":             "<source><address bus='1' device='4'/></source>",
		"usbDevices: [{source: '1/4', target: '046d:c52b'}]":       "<source><vendor id='0x046d'/><product id='0xc52b'/></source>",
	} {
		o := planSmall(t, usbGuest(usbAt("4", "")), data, Options{})
		if !strings.Contains(o.xml, want) {
			t.Errorf("%s: want %s: %s%s", data, want, o.problems, o.xml)
			continue
		}
		if again := planSmall(t, o.xml, data, Options{}); again.xml != o.xml {
			t.Errorf("%s: not the same again: %s%s", data, again.problems, again.xml)
		}
	}
}

func TestTwoUSBDevicesOfOneKindAreMappedByTheirAddresses(t *testing.T) {
	t.Parallel()
	guest := usbGuest(usbAt("4", ""), usbAt("5", ""))
	const data = "usbDevices: [{source: 1/4, target: 2/4}, {source: 1/5, target: 2/5}]"
	o := planSmall(t, guest, data, Options{})
	if !strings.Contains(o.xml, "bus='2' device='4'") || !strings.Contains(o.xml, "bus='2' device='5'") {
		t.Errorf("there is no way to map two devices of one kind: %s%s", o.problems, o.xml)
	}
	if o := planSmall(t, guest, data, Options{Inactive: true, Other: guest}); o.problems != "" {
		t.Errorf("the persistent definition has the same devices: %s", o.problems)
	}
	if o := planSmall(t, guest, "usbDevices: [{source: '046d:c52b', target: 2/4}]", Options{}); !strings.Contains(o.problems, "1/5") {
		t.Errorf("vendor and product mean neither, and nobody says which there are: %s", o.problems)
	}
}

func TestAUSBDeviceIsNamedInOneWay(t *testing.T) {
	t.Parallel()
	guest := usbGuest("<source><address bus='1' device='4'/></source>", "<source><address bus='1' device='5'/></source>")
	o := planSmall(t, guest, "usbDevices: [{source: 01/04, target: 1-1.2}, {source: 1/5, target: 01-01.02}]", Options{})
	if !strings.Contains(o.problems, "same target") {
		t.Errorf("one port of the target is given twice: %s", o.xml)
	}
	// Libvirt compares the port with what the kernel calls it.
	o = planSmall(t, guest, "usbDevices: [{source: 1/4, target: 002-01.012}, {source: 1/5, target: 2-3}]", Options{})
	if !strings.Contains(o.xml, "<address bus='2' port='1.12'/>") {
		t.Errorf("libvirt finds no such port: %s%s", o.problems, o.xml)
	}
	o = planSmall(t, usbGuest("<source><address bus='1' port='01.2'/></source>"), "usbDevices: [{source: 1-1.2, target: 2-3}]", Options{})
	if !strings.Contains(o.xml, "port='3'") {
		t.Errorf("the device's port is another spelling: %s%s", o.problems, o.xml)
	}
}

func TestUSBPortsAreForALibvirtThatKnowsThem(t *testing.T) {
	t.Parallel()
	guest := usbGuest("<source><address bus='1' device='4'/></source>")
	for version, known := range map[string]bool{"9.0.0": false, "11.3.0": false, "12.8.0": true, "": true} {
		o := planSmall(t, guest, "usbDevices: [{source: 1/4, target: 2-3}]", Options{Target: TargetFacts{LibvirtVersion: version}})
		if refused := strings.Contains(o.problems, "does not find USB devices by port"); refused == known {
			t.Errorf("libvirt %s: %s%s", version, o.problems, o.xml)
		}
	}
}

// TestNoUSBDeviceIsLookedForWhereAnotherWillBe: where libvirt has found a device by vendor
// and product, it tries that place first on the target, too.
func TestNoUSBDeviceIsLookedForWhereAnotherWillBe(t *testing.T) {
	t.Parallel()
	guest := usbGuest(usbAt("5", " autoAddress='yes'"), "<source><address bus='1' device='4'/></source>")
	const data = "usbDevices: [{source: 1/4, target: 1/5}]"
	o := planSmall(t, guest, data, Options{})
	if strings.Count(o.xml, "device='5'") != 1 || !strings.Contains(o.xml, "<product id='0xc52b'/></source>") {
		t.Errorf("libvirt would take the other's device: %s%s", o.problems, o.xml)
	}
	if again := planSmall(t, o.xml, data, Options{}); again.xml != o.xml {
		t.Errorf("not the same again: %s%s", again.problems, again.xml)
	}
	o = planSmall(t, guest, "usbDevices: [{source: 1/4, target: 1/6}]", Options{})
	if !strings.Contains(o.xml, "autoAddress='yes'") {
		t.Errorf("nobody else is there: %s%s", o.problems, o.xml)
	}
	for name, guest := range map[string]string{
		"fixed there":                        usbGuest(usbAt("5", ""), "<source><address bus='1' device='4'/></source>"),
		"found by what the other is to have": usbGuest(usbAt("5", " autoAddress='yes'"), "<source><address bus='1' device='6'/></source>"),
	} {
		data := data
		if strings.Contains(guest, "device='6'") {
			data = "usbDevices: [{source: 1/6, target: '046d:c52b'}]"
		}
		if o := planSmall(t, guest, data, Options{}); !strings.Contains(o.problems, "the same USB device of the target") {
			t.Errorf("%s: two devices become one: %s%s", name, o.problems, o.xml)
		}
	}
}
