package xmlrewrite

import (
	"slices"
	"strings"
	"testing"
)

const hostInterfaceGuest = `<domain type='kvm'><name>web</name><devices>
  <interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/></interface>
  <interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:0B'/><source><address type='pci' domain='0x0000' bus='0x81' slot='0x00' function='0x1'/></source></interface>
  <interface type='hostdev'><mac address='52:54:00:00:00:0a'/><source><address type='pci' domain='0x0000' bus='0x81' slot='0x00' function='0x2'/></source></interface>
  <interface type='hostdev'><mac address='52:54:00:00:00:0c'/></interface>
  <interface type='hostdev'><mac address='52:54:00:00:00:0c'/></interface>
</devices></domain>`

func TestHostInterfaces(t *testing.T) {
	macs, err := HostInterfaces(hostInterfaceGuest)
	if err != nil || !slices.Equal(macs, []string{"52:54:00:00:00:0a", "52:54:00:00:00:0b"}) {
		t.Fatalf("got %q, %v", macs, err)
	}
	element, found, err := HostInterface(hostInterfaceGuest, "52:54:00:00:00:0b")
	if err != nil || !found || !strings.HasPrefix(element, "<interface type='hostdev' managed='yes'>") || !strings.Contains(element, "function='0x1'") {
		t.Errorf("got %q, %t, %v", element, found, err)
	}
	if _, found, err := HostInterface(hostInterfaceGuest, "52:54:00:00:00:01"); found || err != nil {
		t.Errorf("the bridge's is one: %v", err)
	}
	text, err := WithoutHostInterfaces(hostInterfaceGuest, []string{"52:54:00:00:00:0b", "52:54:00:00:00:01"})
	left, leftErr := HostInterfaces(text)
	if err != nil || leftErr != nil || !slices.Equal(left, []string{"52:54:00:00:00:0a"}) || !strings.Contains(text, "br0") {
		t.Errorf("left is %q, %v, %v", text, err, leftErr)
	}
	for _, broken := range []string{"<domain", "<network/>"} {
		_, err := HostInterfaces(broken)
		_, _, one := HostInterface(broken, "")
		_, without := WithoutHostInterfaces(broken, nil)
		_, _, _, live := LackedInterface(broken, hostInterfaceGuest, "")
		_, _, _, kept := LackedInterface(hostInterfaceGuest, broken, "")
		if err == nil || one == nil || without == nil || live == nil || kept == nil {
			t.Errorf("%q is read", broken)
		}
	}
}

// TestLackedInterface: what the definition has by that address is what is lacked, and of two
// with the same, that of the host.
func TestLackedInterface(t *testing.T) {
	const mac = "52:54:00:00:00:0a"
	domain := func(interfaces ...string) string {
		return "<domain type='kvm'><name>web</name><devices>" + strings.Join(interfaces, "") + "</devices></domain>"
	}
	hosts := "<interface type='hostdev'><mac address='" + mac + "'/></interface>"
	bridge := "<interface type='bridge'><mac address='52:54:00:00:00:0A'/></interface>"
	for _, c := range []struct {
		name           string
		live, inactive string
		element        string
		lacked, known  bool
	}{
		{"it has it", domain(hosts), domain(hosts), "", false, true},
		{"it lacks it", domain(), domain(hosts), hosts, true, true},
		{"it lacks that of the host, and has the one that stands in", domain(bridge), domain(bridge, hosts), hosts, true, true},
		{"it has both", domain(bridge, hosts), domain(bridge, hosts), "", false, true},
		{"it lacks what has become a bridge", domain(), domain(bridge), bridge, true, true},
		{"it has what has become a bridge", domain(bridge), domain(bridge), "", false, true},
		{"nobody has it", domain(), domain(), "", true, false},
		{"only the running one has it", domain(hosts), domain(), "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			element, lacked, known, err := LackedInterface(c.live, c.inactive, mac)
			if err != nil || element != c.element || lacked != c.lacked || known != c.known {
				t.Errorf("got %q, %t, %t, %v", element, lacked, known, err)
			}
		})
	}
}
