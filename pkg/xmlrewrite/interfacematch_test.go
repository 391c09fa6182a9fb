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
