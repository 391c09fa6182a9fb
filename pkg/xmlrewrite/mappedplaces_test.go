package xmlrewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// mappedPlace is a place of which the table says that a field maps it.
type mappedPlace struct {
	order int
	name  string
}

// mappedPlaces reads the lines of the table with their numbers, and returns their texts.
func mappedPlaces() map[mappedPlace]string {
	places, order := map[mappedPlace]string{}, 0
	for line := range strings.SplitSeq(hostRefsText, "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" || words[0] == "like" {
			continue
		}
		if strings.HasPrefix(words[0], "mapped:") {
			names := words[2:]
			if len(names) == 0 {
				names = []string{refElement}
			}
			for _, name := range names {
				places[mappedPlace{order, name}] = strings.TrimSpace(words[1] + " " + name)
			}
		}
		order++
	}
	return places
}

// mappedIn returns the mapped places that a guest has.
func mappedIn(t *testing.T, guest string) map[mappedPlace]bool {
	t.Helper()
	doc, err := parseGuest(guest)
	if err != nil {
		t.Fatal(err)
	}
	found := map[mappedPlace]bool{}
	var walk func(n *xmltree.Node, states []refState)
	walk = func(n *xmltree.Node, states []refState) {
		note := func(name, value string) {
			if row := refRowOf(states, name, value); row != nil && row.class == refMapped {
				found[mappedPlace{row.order, name}] = true
			}
		}
		note(refElement, "")
		for name, value := range n.Attrs() {
			note(name, value)
		}
		if n.FirstChild == nil {
			note(refText, n.Text())
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, statesOf(nil, states, c.Name, c))
		}
	}
	walk(doc.Root, []refState{{node: &hostRefs().root}})
	return found
}

// quietPlaces are mapped places that are kept in silence where nothing maps them, each
// with the reason why that is right.
func quietPlaces() map[string]string {
	const (
		shared  = "data on storage that both hosts share; a host without it cannot start the guest"
		fromAll = "a server, and what it is asked for, are the same from every host"
		secrets = "libvirt on the target is asked for the secret before anything is touched"
		manner  = "says how the host does something, and means the same on every host"
		names   = "a name that whoever runs the hosts gave it; a host without it cannot start the guest"
		port    = "belongs to the port of the guest, not of the host"
	)
	quiet := map[string]string{}
	for why, places := range map[string][]string{
		shared: {
			"devices/disk/source dir", "devices/disk/source file", "devices/disk/source pool", "devices/disk/source volume", "devices/disk/source mode",
		},
		fromAll: {
			"devices/disk/source protocol", "devices/disk/source name", "devices/disk/source query", "devices/disk/source tls", "devices/disk/source tlsHostname",
			"devices/disk/source/{config,snapshot} file", "devices/disk/source/{config,snapshot} name", "devices/disk/source/ssl verify", "devices/disk/source/identity username",
			"devices/disk/auth username",
		},
		secrets: {
			"devices/disk/auth/secret type", "devices/disk/auth/secret usage", "devices/disk/auth/secret uuid", "devices/disk/encryption engine", "devices/disk/encryption format",
			"devices/disk/encryption/secret type", "devices/disk/encryption/secret usage", "devices/disk/encryption/secret uuid",
		},
		manner: {
			"devices/disk/driver cache", "devices/disk/driver discard", "devices/disk/driver io", "devices/disk/driver name", "devices/disk/driver type",
			"devices/interface/driver name", "memoryBacking/{access,allocation,source} mode", "memoryBacking/{access,allocation,source} threads",
			"memoryBacking/{access,allocation,source} type", "memoryBacking/discard", "cputune/vcpusched priority", "cputune/vcpusched scheduler",
			"cputune/vcpusched vcpus", "cputune/shares =", "numatune/memory placement", "perf/event enabled", "perf/event name", "devices/interface/vlan trunk",
			"devices/interface/vlan/tag id", "devices/interface/vlan/tag nativeMode", "devices/interface/bandwidth classID",
			"devices/interface/bandwidth/{inbound,outbound} average", "devices/interface/bandwidth/{inbound,outbound} burst",
			"devices/interface/bandwidth/{inbound,outbound} floor", "devices/interface/bandwidth/{inbound,outbound} peak",
		},
		names: {
			"devices/interface/source bridge", "devices/interface/source network", "devices/interface/source portgroup",
			"devices/interface/filterref filter", "devices/interface/filterref/parameter name", "devices/interface/filterref/parameter value",
		},
		port: {
			"devices/interface/virtualport type", "devices/interface/virtualport/parameters instanceid", "devices/interface/virtualport/parameters interfaceid",
			"devices/interface/virtualport/parameters managerid", "devices/interface/virtualport/parameters profileid",
			"devices/interface/virtualport/parameters typeid", "devices/interface/virtualport/parameters typeidversion",
		},
		"libvirt gives a running guest's port on its network, and the target's gives another": {"devices/interface/source portid"},
		"the kind of interface is warned about, as Virtferry does not know it": {
			"devices/interface/source connectionid", "devices/interface/source portgroupid", "devices/interface/source switchid", "devices/interface/source name",
		},
		"the table has the attributes of interfaces that listen or dial, of which it warns, in lines before this one": {
			"devices/interface/source address", "devices/interface/source port", "devices/interface/source/local address", "devices/interface/source/local port",
		},
	} {
		for _, place := range places {
			quiet[place] = why
		}
	}
	return quiet
}

// loudGuests are guests each of which has something of its host that a field maps, and no
// migrate data must not keep in silence.
func loudGuests() map[string]string {
	guests := map[string]string{}
	top := func(name, xml string) { guests[name] = smallGuest(oneVCPU+xml, "") }
	device := func(name, xml string) { guests[name] = smallGuest(oneVCPU, xml) }
	disk := func(name, kind, inside string) {
		device(name, "<disk type='"+kind+"' device='disk'>"+inside+"<target dev='vda' bus='virtio'/></disk>")
	}
	nic := func(name, kind, inside string) {
		device(name, "<interface type='"+kind+"'><mac address='52:54:00:00:00:01'/>"+inside+"<model type='virtio'/></interface>")
	}
	hostdev := func(name, kind, source string) {
		device(name, "<hostdev mode='subsystem' type='"+kind+"' managed='yes'><source>"+source+"</source></hostdev>")
	}
	guests["CPUs to share"] = smallGuest("<vcpu cpuset='8-15'>1</vcpu>", "")
	top("memory nodes", "<numatune><memory mode='strict' nodeset='1'/></numatune>")
	top("memory nodes of a cell", "<numatune><memnode cellid='0' mode='strict' nodeset='1'/></numatune>")
	top("CPU pins", "<cputune><vcpupin vcpu='0' cpuset='8'/></cputune>")
	top("emulator pin", "<cputune><emulatorpin cpuset='8'/></cputune>")
	top("I/O thread pin", "<iothreads>1</iothreads><cputune><iothreadpin iothread='1' cpuset='8'/></cputune>")
	top("shares of a cache", "<cputune><cachetune vcpus='0'><cache id='1' level='3' type='both' size='3' unit='MiB'/></cachetune></cputune>")
	top("memory bandwidth", "<cputune><memorytune vcpus='0'><node id='1' bandwidth='60'/></memorytune></cputune>")
	top("limit of a device", "<blkiotune><device><path>/dev/vg/lv</path><weight>500</weight></device></blkiotune>")
	for _, dev := range [...]string{
		"/dev/sdc", "/dev/dasda", "/dev/dasdb1", "/dev/mmcblk0p1", "/dev/pmem0", "/dev/pmem1.1s", "/dev/loop0p1", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1", "/dev/disk/by-path/ccw-0.0.0200",
		"/dev/disk/by-path/virtio-pci-0000:00:05.0", "/dev/disk/by-path/platform-x", "/dev//sdc", "/dev/mapper/../sdc",
	} {
		disk("block device "+dev, "block", "<source dev='"+dev+"'/>")
		disk("backing chain on "+dev, "file", "<source file='/a'/><backingStore type='file'><format type='qcow2'/><source file='/b'/><backingStore type='block'><format type='raw'/><source dev='"+dev+"'/></backingStore></backingStore>")
	}
	disk("NVMe disk", "nvme", "<source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x81' slot='0x00' function='0x0'/></source>")
	disk("NVMe disk with the rest of its address", "nvme", "<source type='pci' managed='yes' namespace='1'><address type='pci' multifunction='on' domain='0x0000' bus='0x81' slot='0x00' function='0x0'/></source>")
	disk("vDPA disk", "vhostvdpa", "<source dev='/dev/vhost-vdpa-0'/>")
	disk("vhost-user disk", "vhostuser", "<source type='unix' path='/x'/>")
	disk("open file", "file", "<source file='/a' fdgroup='x'/>")
	disk("server behind a socket", "network", "<source protocol='nbd'><host transport='unix' socket='/run/nbd'/></source>")
	disk("server on the host", "network", "<source protocol='nbd'><host name='localhost' port='10809'/></source>")
	disk("server under the backing image", "file", "<source file='/a'/><backingStore type='network'><format type='raw'/><source protocol='nbd' name='x'><host name='127.0.0.1'/></source></backingStore>")
	disk("name of the host to a server", "network", "<source protocol='iscsi' name='i'><host name='a'/><initiator><iqn name='iqn.2020-01.org.example:host-a'/></initiator></source>")
	disk("user of the host to a server", "network", "<source protocol='nfs' name='i'><host name='a'/><identity user='u' group='g'/></source>")
	disk("key of the host to a server", "network", "<source protocol='ssh' name='i'><host name='a'/><identity username='u' keyfile='/k'/></source>")
	disk("agent of the host to a server", "network", "<source protocol='ssh' name='i'><host name='a'/><identity username='u' agentsock='/k'/></source>")
	disk("mirror", "file", "<source file='/a'/><mirror type='file' job='copy' file='/m'/>")
	nic("function of the host", "hostdev", "<source><address type='pci' domain='0x0000' bus='0x81' slot='0x00' function='0x0'/></source>")
	nic("function of the host, odd", "hostdev", "<source><address type='pci' multifunction='on' device='0' port='1' domain='0x0000' bus='0x81' slot='0x00' function='0x0'/></source>")
	nic("whole device of the host", "direct", "<source dev='eth0' mode='passthrough'/>")
	nic("vDPA interface", "vdpa", "<source dev='/dev/vhost-vdpa-0'/>")
	nic("vhost-user interface", "vhostuser", "<source type='unix' path='/x' mode='client'/>")
	nic("tap device", "ethernet", "<target dev='tap7' managed='no'/>")
	nic("passt", "user", "<source dev='eth7'/><backend type='passt'/>")
	nic("server", "server", "<source address='192.0.2.1' port='5558'/>")
	nic("server on any address", "server", "<source address='0.0.0.0' port='5558'/>")
	nic("client", "client", "<source address='127.0.0.1' port='5558'/>")
	nic("multicast", "mcast", "<source address='230.0.0.1' port='5558'/>")
	nic("UDP", "udp", "<source address='127.0.0.1' port='11115'><local address='127.0.0.1' port='11116'/></source>")
	hostdev("PCI device", "pci", "<address domain='0' bus='0x81' slot='0' function='0'/>")
	hostdev("PCI device, odd", "pci", "<address multifunction='on' device='1' port='1' domain='0' bus='0x81' slot='0' function='0'/>")
	hostdev("mediated device", "mdev", "<address uuid='6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d'/>")
	hostdev("USB device", "usb", "<address bus='1' device='4'/>")
	hostdev("USB device by port", "usb", "<address bus='1' port='4'/>")
	hostdev("USB device by vendor and product", "usb", "<vendor id='0x046d'/><product id='0xc52b'/>")
	device("serial port on an address", "<serial type='tcp'><source mode='bind' host='192.0.2.1' service='2445'/><target port='0'/></serial>")
	device("serial port", "<serial type='tcp'><source mode='bind' host='' service='2445'/><target port='0'/></serial>")
	device("console", "<console type='tcp'><source mode='bind' host='' service='2445'/><target port='0'/></console>")
	device("old listen address", "<graphics type='vnc' autoport='yes' listen='192.0.2.1'/>")
	device("listen address", "<graphics type='vnc' autoport='yes'><listen type='address' address='192.0.2.1'/></graphics>")
	device("VNC port", "<graphics type='vnc' port='5999' autoport='no' websocket='5700'/>")
	device("SPICE port", "<graphics type='spice' port='5999' tlsPort='5998' autoport='no'/>")
	device("persistent memory", "<memory model='nvdimm'><source><path>/dev/dax0.0</path></source><target><size unit='KiB'>131072</size><node>0</node></target></memory>")
	device("memory device", "<memory model='dimm'><source><nodemask>1</nodemask></source><target><size unit='KiB'>131072</size><node>0</node></target></memory>")
	return guests
}

// TestMappedPlaceIsNotKeptInSilence: that the table says which field maps a place is not
// enough, the step of that field has to judge the place where the field is absent.
func TestMappedPlaceIsNotKeptInSilence(t *testing.T) {
	t.Parallel()
	places, judged := mappedPlaces(), map[mappedPlace]bool{}
	for name, guest := range loudGuests() {
		if o := planSmall(t, guest, "", Options{}); o.silent() || strings.Contains(o.problems, "unchanged") {
			t.Errorf("%s: kept in silence, or refused for another reason: %s%s", name, o.problems, o.xml)
		}
		for place := range mappedIn(t, guest) {
			judged[place] = true
		}
	}
	quiet := quietPlaces()
	var left []string
	for place, text := range places {
		_, known := quiet[text]
		if !known && !judged[place] {
			left = append(left, fmt.Sprintf("%q", text))
		}
		delete(quiet, text)
	}
	slices.Sort(left)
	if len(left) > 0 {
		t.Errorf("the table says that fields map these, but nothing shows that they are judged where the field is absent:\n%s", strings.Join(left, "\n"))
	}
	for place := range quiet {
		t.Errorf("the table does not say that a field maps this: %q", place)
	}
}
