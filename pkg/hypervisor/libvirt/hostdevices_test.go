package libvirt

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestDevicesOfAHost, as libvirt writes them.
func TestDevicesOfAHost(t *testing.T) {
	t.Parallel()
	got, err := parseHostDevices([]string{
		`<device><name>mdev_b1d2f3a4_0000_4000_8000_00000000000A_0000_06_00_0</name><parent>pci_0000_06_00_0</parent>
<capability type='mdev'><type id='nvidia-11'/><iommuGroup number='12'/></capability></device>`,
		"",
		`<device><name>pci_0000_06_00_0</name><parent>pci_0000_00_02_0</parent><driver><name>nvidia</name></driver>
<capability type='pci'><domain>0</domain><bus>6</bus><slot>0</slot><function>0</function><product id='0x0ff2'>GK107GL</product>
<vendor id='0x10de'>NVIDIA Corporation</vendor><numa node='1'/></capability></device>`,
		`<device><name>pci_0000_81_10_1</name><driver><name>vfio-pci</name></driver><capability type='pci'><domain>0</domain><bus>129</bus><slot>16</slot>
<function>1</function><product id='0x1520'/><vendor id='0x8086'/><capability type='phys_function'><address domain='0' bus='129' slot='0' function='1'/></capability></capability></device>`,
		`<device><name>mdev_c1d2f3a4</name><parent>css_0_0_0000</parent><capability type='mdev'><type id='vfio_ccw-io'/><uuid>C1D2F3A4-0000-4000-8000-00000000000B</uuid></capability></device>`,
		`<device><name>mdev_x</name><capability type='mdev'><type id='none'/></capability></device>`,
		`<device><name>pci_x</name><capability type='pci'/></device>`,
	})
	want := &hypervisor.HostDevices{
		Mediated: []hypervisor.MediatedDevice{
			{UUID: "b1d2f3a4-0000-4000-8000-00000000000a", Type: "nvidia-11", Cell: 1}, {UUID: "c1d2f3a4-0000-4000-8000-00000000000b", Type: "vfio_ccw-io", Cell: hypervisor.NoCell},
		},
		PCI: []hypervisor.PCIDevice{
			{Address: "0000:06:00.0", Vendor: "0x10de", Product: "0x0ff2", Driver: "nvidia", Cell: 1},
			{Address: "0000:81:10.1", Vendor: "0x8086", Product: "0x1520", Driver: "vfio-pci", Virtual: true, Cell: hypervisor.NoCell},
		},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := parseHostDevices([]string{"<device"}); err == nil {
		t.Error("what is no XML is read")
	}
}
