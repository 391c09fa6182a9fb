package xmlrewrite

import (
	"slices"
	"testing"
)

func TestListenPorts(t *testing.T) {
	const guest = `<domain><devices>
<serial type='tcp'><source mode='bind' host='192.0.2.1' service='10001'/><target port='0'/></serial>
<serial type='tcp'><source mode='connect' host='192.0.2.1' service='10002'/><target port='1'/></serial>
<console type='tcp'><source mode='bind' host='192.0.2.1' service='10003'/><target port='2'/></console>
<channel type='tcp'><source mode='bind' host='192.0.2.1' service='10004'/></channel>
<channel type='udp'><source mode='bind' host='192.0.2.1' service='10005'/></channel>
<channel type='tcp'><source mode='bind' host='192.0.2.1' service='telnet'/></channel>
<parallel type='tcp'><source mode='bind' host='192.0.2.1' service='65535'/></parallel>
</devices></domain>`
	use, err := ReadHostUse([]byte(guest))
	if got := use.Ports; err != nil || !slices.Equal(got, []int32{10001, 10003, 10004, 65535}) {
		t.Errorf("the ports are %v, %v; want the ports of all that listen on TCP", got, err)
	}
	if _, err := ReadHostUse([]byte("<domain")); err == nil {
		t.Error("what is no XML can be read")
	}
}
