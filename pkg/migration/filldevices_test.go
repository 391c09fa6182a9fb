package migration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestFilledDevices are free ones of the same kind, near the guest if there are.
func TestFilledDevices(t *testing.T) {
	t.Parallel()
	devices := func(r v1alpha1.GuestResources) *v1alpha1.GuestResources { return &r }
	two := devices(v1alpha1.GuestResources{MediatedDevices: []v1alpha1.GuestMediatedDevice{{UUID: "s1", Type: "a"}, {UUID: "s2", Type: "a"}}})
	function := func(virtual bool) *v1alpha1.GuestResources {
		return devices(v1alpha1.GuestResources{PCIDevices: []v1alpha1.GuestPCIDevice{{Address: "0000:01:00.0", Vendor: "0x8086", Product: "0x1520", VirtualFunction: virtual}}})
	}
	have := &hypervisor.HostDevices{
		Mediated: []hypervisor.MediatedDevice{{UUID: "t3", Type: "a", Cell: 1}, {UUID: "t2", Type: "a", Cell: hypervisor.NoCell}, {UUID: "t0", Type: "b", Cell: 0}, {UUID: "t1", Type: "a", Cell: 0}},
		PCI: []hypervisor.PCIDevice{
			{Address: "0000:02:00.0", Vendor: "0x8086", Product: "0x1520", Driver: "igb", Cell: 0},
			{Address: "0000:02:10.0", Vendor: "0x8086", Product: "0x1520", Virtual: true, Driver: "iavf", Cell: 0},
			{Address: "0000:02:10.1", Vendor: "0x8086", Product: "0x1521", Virtual: true, Cell: 0},
			{Address: "0000:02:10.2", Vendor: "0x8086", Product: "0x1520", Virtual: true, Cell: 0},
			{Address: "0000:02:10.3", Vendor: "0x8086", Product: "0x1520", Virtual: true, Driver: "mlx5_vfio_pci", Cell: 0},
		},
	}
	near := &v1alpha1.TargetOffer{NUMA: &v1alpha1.TargetPins{MemoryNodes: "1"}}
	for name, c := range map[string]struct {
		r     *v1alpha1.GuestResources
		data  *v1alpha1.MigrateData
		taken string
		offer *v1alpha1.TargetOffer
		want  string
		says  string
	}{
		"of the same type":                {r: two, want: "s1:t2 s2:t1"},
		"near the guest":                  {r: two, offer: near, want: "s1:t3 s2:t2"},
		"beside others":                   {r: two, taken: "t2", want: "s1:t1 s2:t3"},
		"too few":                         {r: two, taken: "t1 t2", want: "s1:t3", says: `no mediated device of the type "a" that no other guest has or was promised, for the guest's s2. Ask`},
		"the user says which":             {r: two, data: &v1alpha1.MigrateData{MediatedDevices: []v1alpha1.MediatedDeviceMigrateData{}}, want: ""},
		"a virtual function":              {r: function(true), want: "0000:01:00.0:0000:02:10.2"},
		"one with a driver for guests":    {r: function(true), taken: "0000:02:10.2", want: "0000:01:00.0:0000:02:10.3"},
		"those that are left are in use":  {r: function(true), taken: "0000:02:10.2 0000:02:10.3", says: "node-b has no PCI device 8086:1520, bound to"},
		"the host uses the function":      {r: function(false), says: "no PCI device 8086:1520"},
		"the user says which function":    {r: function(true), data: &v1alpha1.MigrateData{PCIDevices: []v1alpha1.PCIDeviceMigrateData{}}, want: ""},
		"the user says of something else": {r: function(true), data: &v1alpha1.MigrateData{PerfEvents: []v1alpha1.PerfEvent{}}, want: "0000:01:00.0:0000:02:10.2"},
	} {
		taken := map[string]bool{}
		for field := range strings.FieldsSeq(c.taken) {
			taken[field] = true
		}
		offer := &v1alpha1.TargetOffer{}
		if c.offer != nil {
			offer = c.offer.DeepCopy()
		}
		problems := strings.Join(FillDevices("node-b", filled(c.r, c.data), have, taken, offer), "; ")
		var got []string
		for _, d := range offer.MediatedDevices {
			got = append(got, fmt.Sprintf("%s:%s", d.Source, d.Target))
		}
		for _, d := range MigratePCI(offer.PCIDevices) {
			got = append(got, fmt.Sprintf("%s:%s", d.Source, d.Target))
		}
		if text := strings.Join(got, " "); text != c.want || (problems != "") != (c.says != "") || !strings.Contains(problems, c.says) {
			t.Errorf("%s: got %q, %q; want %q, %q", name, text, problems, c.want, c.says)
		}
	}
}

// TestGivenDevices are the user's and those that were filled in.
func TestGivenDevices(t *testing.T) {
	t.Parallel()
	lm := filled(nil, &v1alpha1.MigrateData{
		MediatedDevices: []v1alpha1.MediatedDeviceMigrateData{{Source: "a", Target: "b"}}, PCIDevices: []v1alpha1.PCIDeviceMigrateData{{Source: "c", Target: "d"}},
		Interfaces: []v1alpha1.InterfaceMigrateData{{}, {Source: &v1alpha1.InterfaceSource{}}, {Source: &v1alpha1.InterfaceSource{HostDevice: &v1alpha1.HostDeviceInterfaceSource{PCIAddress: "e"}}}},
	})
	offer := &v1alpha1.TargetOffer{
		MediatedDevices: []v1alpha1.MediatedDeviceMigrateData{{Source: "f", Target: "g"}}, PCIDevices: []v1alpha1.TargetPCIDevice{{Source: "h", Target: "i"}},
	}
	mediated, pci := TargetDevices(lm, offer)
	if got := fmt.Sprint(mediated, pci); got != "[{b true} {g false}] [{d true} {e true} {i false}]" {
		t.Errorf("got %s", got)
	}
	if mediated, pci = TargetDevices(&v1alpha1.LiveMigration{}, nil); mediated != nil || pci != nil {
		t.Errorf("of nothing, %v and %v", mediated, pci)
	}
}
