package xmlrewrite

import (
	"strings"
	"testing"
)

func TestValuesThatLibvirtRefusesAreProblems(t *testing.T) {
	t.Parallel()
	function := "<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:01'/><driver name='vfio'/><source><address type='pci' domain='0' bus='0x81' slot='0' function='0'/></source></interface>"
	bridge := nicWith("bridge", "<source bridge='br0'/>")
	disk := diskOf("file", "<driver name='qemu' type='raw' cache='none' io='native'/><source file='/a'/>")
	driver := func(settings string) string {
		return "volumes: [{targetDevice: vda, driver: {" + settings + "}}]"
	}
	for name, c := range map[string]struct{ device, data, says string }{
		"the driver of a function":           {function, nicData("source: {hostDevice: {pciAddress: '0000:82:00.0'}}, driver: vhost"), "driver: "},
		"limits of a function":               {function, nicData("source: {hostDevice: {pciAddress: '0000:82:00.0'}}, bandwidth: {inbound: {averageKilobytesPerSecond: 3}}"), "bandwidth: "},
		"a filter of macvtap":                {bridge, nicData("source: {direct: {device: eth0}}, filter: {name: clean-traffic}"), "filter: "},
		"a virtual port of ethernet":         {bridge, nicData("source: {ethernet: {}}, virtualPort: {type: openvswitch}"), "virtualPort: "},
		"a virtual port of vhost-user":       {bridge, nicData("source: {vhostUser: {path: /run/a, mode: client}}, virtualPort: {type: openvswitch}"), "virtualPort: "},
		"Open vSwitch on a function":         {function, nicData("source: {hostDevice: {pciAddress: '0000:82:00.0'}}, virtualPort: {type: openvswitch}"), "virtualPort: "},
		"802.1Qbh without a profile":         {bridge, nicData("source: {direct: {device: eth0}}, virtualPort: {type: 802.1Qbh}"), "virtualPort.profileID: "},
		"802.1Qbg with little":               {bridge, nicData("source: {direct: {device: eth0}}, virtualPort: {type: 802.1Qbg, managerID: 1, typeID: 2}"), "virtualPort.typeIDVersion: "},
		"what Open vSwitch does not know":    {bridge, nicData("virtualPort: {type: openvswitch, managerID: 1}"), "virtualPort.managerID: "},
		"native I/O with a cache":            {disk, driver("cache: writeback"), "driver.cache: "},
		"native I/O where there is a cache":  {diskOf("file", "<driver name='qemu' type='raw' cache='writeback'/><source file='/a'/>"), driver("io: native"), "driver.io: "},
		"native I/O without a cache mode":    {diskOf("file", "<source file='/a'/>"), driver("io: native"), "driver.io: "},
		"a cache of a vhost-user disk":       {diskOf("vhostuser", "<source type='unix' path='/run/a'/>"), driver("cache: none"), "driver: the daemon"},
		"writing over HTTP":                  {disk, vdaOn("network: {protocol: http, name: a, hosts: [{host: b}]}"), "source: the guest may write"},
		"Ceph on a socket":                   {disk, vdaOn("network: {protocol: rbd, name: a/b, hosts: [{transport: unix, socketPath: /run/a}]}"), "hosts[0].transport: "},
		"NBD by RDMA":                        {disk, vdaOn("network: {protocol: nbd, hosts: [{host: a, transport: rdma}]}"), "hosts[0].transport: "},
		"Ceph with TLS":                      {disk, vdaOn("network: {protocol: rbd, name: a/b, hosts: [{host: a}], tls: Enabled}"), "network.tls: "},
		"a TLS name of another protocol":     {disk, vdaOn("network: {protocol: vxhs, name: a, hosts: [{host: a}], tls: Enabled, tlsHostname: b}"), "network.tlsHostname: "},
		"a gluster image without its volume": {disk, vdaOn("network: {protocol: gluster, name: p, hosts: [{host: a}]}"), "network.name: "},
		"a Ceph image without its pool":      {disk, vdaOn("network: {protocol: rbd, name: /p}"), "network.name: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := plannedOf(t, c.device, c.data); !strings.Contains(r.problems, c.says) || strings.Contains(r.problems, "\n") {
				t.Errorf("got %q, want one that says %q: %s", r.problems, c.says, r.xml)
			}
		})
	}
}

func TestValuesThatLibvirtTakesAreNoProblems(t *testing.T) {
	t.Parallel()
	bridge, disk := nicWith("bridge", "<source bridge='br0'/>"), diskOf("file", "<source file='/a'/>")
	for name, c := range map[string]struct{ device, data string }{
		"802.1Qbh by a network":       {bridge, nicData("source: {network: {name: n}}, virtualPort: {type: 802.1Qbh}")},
		"802.1Qbg on a device":        {bridge, nicData("source: {direct: {device: eth0}}, virtualPort: {type: 802.1Qbg, managerID: 1, typeID: 2, typeIDVersion: 3}")},
		"Open vSwitch":                {bridge, nicData("virtualPort: {type: openvswitch, profileID: x}")},
		"no virtual port of ethernet": {bridge, nicData("source: {ethernet: {}}, virtualPort: {}")},
		"native I/O":                  {disk, "volumes: [{targetDevice: vda, driver: {io: native, cache: directsync}}]"},
		"NBD on a socket, with TLS":   {disk, vdaOn("network: {protocol: nbd, hosts: [{transport: unix, socketPath: /run/a}], tls: Enabled, tlsHostname: b}")},
		"a web server for a disc":     {strings.Replace(disk, "device='disk'", "device='cdrom'", 1), vdaOn("network: {protocol: http, name: a, hosts: [{host: b}]}")},
		"a disk of a web server":      {diskOf("network", "<source protocol='http' name='a'><host name='b'/></source>"), vdaOn("network: {protocol: http, name: a, hosts: [{host: c}]}")},
		"gluster by RDMA":             {disk, vdaOn("network: {protocol: gluster, name: v/i, hosts: [{host: a, transport: rdma}]}")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := plannedOf(t, c.device, c.data); r.problems != "" {
				t.Error(r.problems)
			}
		})
	}
}
