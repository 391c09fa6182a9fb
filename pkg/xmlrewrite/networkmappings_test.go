package xmlrewrite

import (
	"slices"
	"strings"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestNetworksHaveTheTargetsNames where the user has said nothing about interfaces.
func TestNetworksHaveTheTargetsNames(t *testing.T) {
	t.Parallel()
	mappings := []v1alpha1.NetworkMapping{
		{Kind: v1alpha1.NetworkKindBridge, From: "br0", To: "br7"}, {Kind: v1alpha1.NetworkKindNetwork, From: "br0", To: "blue & green"},
		{Kind: v1alpha1.NetworkKindBridge, From: "br7", To: "br8"},
	}
	entry := func(source *v1alpha1.InterfaceSource) *v1alpha1.MigrateData {
		return &v1alpha1.MigrateData{Interfaces: []v1alpha1.InterfaceMigrateData{{MACAddress: "52:54:00:00:00:01", Source: source}}}
	}
	const (
		mac      = "<mac address='52:54:00:00:00:01'/>"
		onBridge = "<interface type='bridge'>" + mac + "<source bridge='br0'/></interface>"
	)
	for name, c := range map[string]struct {
		have, want string
		data       *v1alpha1.MigrateData
	}{
		"a bridge":         {onBridge, strings.Replace(onBridge, "br0", "br7", 1), nil},
		"one that is left": {"<interface type='bridge'>" + mac + "<source bridge='br1'/></interface>", "<interface type='bridge'>" + mac + "<source bridge='br1'/></interface>", nil},
		"a network, with what libvirt has noted": {
			"<interface type='network'>" + mac + "<source network='br0' portgroup='a' portid='5d5b' bridge='virbr0'/></interface>",
			"<interface type='network'>" + mac + "<source network='blue &amp; green' portgroup='a'/></interface>", nil,
		},
		"Open vSwitch": {
			"<interface type='bridge'>" + mac + "<source bridge='br0'/><virtualport type='openvswitch'/></interface>",
			"<interface type='bridge'>" + mac + "<source bridge='br7'/><virtualport type='openvswitch'/></interface>", nil,
		},
		"another kind":               {"<interface type='direct'>" + mac + "<source dev='br0' mode='bridge'/></interface>", "<interface type='direct'>" + mac + "<source dev='br0' mode='bridge'/></interface>", nil},
		"the user leaves it":         {onBridge, onBridge, entry(nil)},
		"the user gives the same":    {onBridge, onBridge, entry(&v1alpha1.InterfaceSource{Bridge: &v1alpha1.BridgeInterfaceSource{Name: "br0"}})},
		"the user gives another one": {onBridge, strings.Replace(onBridge, "br0", "br9", 1), entry(&v1alpha1.InterfaceSource{Bridge: &v1alpha1.BridgeInterfaceSource{Name: "br9"}})},
	} {
		const begin, end = "<domain type='kvm'><name>g</name><devices>", "</devices></domain>"
		plan, err := NewPlan(begin+c.have+end, c.data, Options{Networks: mappings})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := plan.Apply(); got != begin+c.want+end {
			t.Errorf("%s: got\n%s, want\n%s", name, got, begin+c.want+end)
		}
	}
	_, err := NewPlan("<domain><devices>"+onBridge+"</devices></domain>", nil, Options{Networks: []v1alpha1.NetworkMapping{{Kind: v1alpha1.NetworkKindBridge, From: "br0", To: "b\x01"}}})
	if err == nil {
		t.Error("a name with a control character is taken")
	}
}

// TestWhatAGuestIsConnectedTo by name.
func TestWhatAGuestIsConnectedTo(t *testing.T) {
	t.Parallel()
	needs, err := ReadNeeds(`<domain><devices>
<interface type='bridge'><source bridge='br0'/></interface>
<interface type='bridge'><source bridge='br0'/></interface>
<interface type='bridge'><source bridge='ovs0'/><virtualport type='openvswitch'/></interface>
<interface type='network'><source network='blue' bridge='virbr0'/></interface>
<interface type='direct'><source dev='eth0' mode='bridge'/></interface>
<interface type='user'/>
</devices></domain>`)
	if err != nil || !slices.Equal(needs.Bridges, []string{"br0"}) || !slices.Equal(needs.VirtualSwitches, []string{"ovs0"}) || !slices.Equal(needs.Networks, []string{"blue"}) {
		t.Errorf("got %v, %v, %v, %v", needs.Bridges, needs.VirtualSwitches, needs.Networks, err)
	}
}
