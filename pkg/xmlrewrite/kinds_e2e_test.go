//go:build e2e

package xmlrewrite

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestLibvirtAcceptsEachChangeOfKind turns each kind of source into each other, and has
// a real libvirt read the result: what the planner lets through, libvirt takes.
func TestLibvirtAcceptsEachChangeOfKind(t *testing.T) {
	libvirt := runningLibvirt(t)
	for name, changes := range map[string][]kindChange{
		"disks": diskChanges(), "interfaces": interfaceChanges(), "character devices": listenerChanges(),
	} {
		t.Run(name, func(t *testing.T) {
			var texts [][]byte
			var planned []string
			before := make(map[string]int) // From a kind to its guest.
			refused := 0
			for _, c := range changes {
				if _, there := before[c.guest]; !there {
					before[c.guest] = len(texts)
					texts, planned = append(texts, []byte(c.guest)), append(planned, "before "+c.name)
				}
				plan, err := NewPlan(c.guest, c.data, Options{Target: TargetFacts{LibvirtVersion: "9.0.0"}})
				if err != nil {
					refused++
					t.Logf("%s: refused by the planner: %v", c.name, err)
					continue
				}
				checkAgain(t, plan.Apply(), c.data, Options{Target: TargetFacts{LibvirtVersion: "9.0.0"}})
				texts, planned = append(texts, []byte(plan.Apply())), append(planned, c.name)
			}
			for i, problem := range libvirt.defineAll(t, texts) {
				t.Errorf("%s: libvirt refuses: %s\n%s", planned[i], problem, texts[i])
			}
			if refused > len(changes)/2 {
				t.Errorf("the planner refuses %d of %d changes: too many for this test to mean anything", refused, len(changes))
			}
		})
	}
}

// defineAll defines guests one after the other, in one process, and returns what libvirt
// says against them.
func (e embedded) defineAll(t *testing.T, texts [][]byte) map[int]string {
	t.Helper()
	dir := t.TempDir()
	var commands []string
	for i, text := range texts {
		file := filepath.Join(dir, fmt.Sprintf("%d.xml", i))
		if err := os.WriteFile(file, definable(t, text), 0o600); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, "define "+file)
	}
	out, err := e.virsh(t, strings.Join(commands, "; ")).CombinedOutput()
	if err == nil && !strings.Contains(string(out), "error:") {
		return nil
	}
	problems := make(map[int]string)
	for _, found := range regexp.MustCompile(`error: Failed to define domain from \S*/(\d+)\.xml\nerror: (.*)`).FindAllStringSubmatch(string(out), -1) {
		var i int
		if _, err := fmt.Sscan(found[1], &i); err != nil {
			t.Fatal(err)
		}
		problems[i] = found[2]
	}
	if len(problems) == 0 {
		t.Fatalf("libvirt cannot be asked: %v: %s", err, out)
	}
	return problems
}

type kindChange struct {
	name  string
	guest string
	data  *v1alpha1.MigrateData
}

// sharedMemory is what devices behind vhost-user sockets need.
const sharedMemory = "<memory unit='MiB'>64</memory><memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"

// diskChanges turns each kind of disk into each other. The guest's disks have what only
// their kind may have.
func diskChanges() []kindChange {
	from := map[string]string{
		"file":   "<disk type='file' device='DEVICE'><driver name='qemu' type='raw' cache='none'/><source file='/srv/a.img' startupPolicy='optional'><seclabel model='dac' relabel='no'/></source>",
		"block":  "<disk type='block' device='DEVICE'><driver name='qemu' type='raw'/><source dev='/dev/vg/a'><seclabel model='dac' relabel='no'/></source>",
		"dir":    "<disk type='dir' device='disk'><driver name='qemu' type='fat'/><source dir='/srv/a'/><readonly/>",
		"volume": "<disk type='volume' device='DEVICE'><driver name='qemu' type='raw'/><source pool='p' volume='v' startupPolicy='optional'/>",
		"nvme":   "<disk type='nvme' device='disk'><driver name='qemu' type='raw'/><source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></source>",
		"rbd": "<disk type='network' device='DEVICE'><driver name='qemu' type='raw'/><source protocol='rbd' name='p/i'><host name='192.0.2.1' port='6789'/>" +
			"<snapshot name='s'/><config file='/etc/ceph/a.conf'/><auth username='u'><secret type='ceph' usage='x'/></auth></source>",
		"rbd, encrypted": "<disk type='network' device='DEVICE'><driver name='qemu' type='raw'/><source protocol='rbd' name='p/i'><host name='192.0.2.1'/>" +
			"<encryption format='luks' engine='librbd'><secret type='passphrase' uuid='6d1d5f1e-0b3b-4a7c-9c8e-0c2f0a0b0c0d'/></encryption></source>",
		"qcow2": "<disk type='file' device='DEVICE'><driver name='qemu' type='qcow2'><metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache></driver><source file='/srv/a'/>",
		"nbd": "<disk type='network' device='DEVICE'><driver name='qemu' type='raw'/><source protocol='nbd' name='x' tls='yes' tlsHostname='h.example.com'><host name='192.0.2.1' port='10809'/>" +
			"<reconnect delay='10'/></source>",
		"iscsi": "<disk type='network' device='DEVICE'><driver name='qemu' type='raw'/><source protocol='iscsi' name='iqn.2020-01.com.example:t/1'><host name='192.0.2.1'/>" +
			"<initiator><iqn name='iqn.2020-01.com.example:i'/></initiator><auth username='u'><secret type='iscsi' usage='x'/></auth></source>",
		"https": "<disk type='network' device='cdrom'><driver name='qemu' type='raw'/><source protocol='https' name='/a.iso' query='q=1'><host name='h.example.com' port='443'/>" +
			"<auth username='u'><secret type='iscsi' usage='x'/></auth><ssl verify='no'/><cookies><cookie name='c'>v</cookie></cookies><readahead size='65536'/><timeout seconds='6'/></source><readonly/>",
		"vhostuser": "<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/><source type='unix' path='/run/v.sock'><reconnect enabled='yes' timeout='10'/></source>",
	}
	to := map[string]v1alpha1.VolumeSource{
		"file":      {File: &v1alpha1.PathSource{Path: "/srv/b.img"}},
		"block":     {Block: &v1alpha1.PathSource{Path: "/dev/vg/b"}},
		"directory": {Directory: &v1alpha1.PathSource{Path: "/srv/b"}},
		"volume":    {StoragePool: &v1alpha1.StoragePoolSource{Pool: "q", Volume: "w"}},
		"nvme":      {NVMe: &v1alpha1.NVMeSource{PCIAddress: "0000:03:00.0", Namespace: 1}},
		"vhostUser": {VhostUser: &v1alpha1.PathSource{Path: "/run/w.sock"}},
		"rbd":       {Network: &v1alpha1.NetworkVolumeSource{Protocol: "rbd", Name: new("q/j"), Hosts: []v1alpha1.VolumeHost{{Host: new("192.0.2.2")}}}},
		"nbd":       {Network: &v1alpha1.NetworkVolumeSource{Protocol: "nbd", Hosts: []v1alpha1.VolumeHost{{Host: new("192.0.2.2"), Port: new(int32(10809))}}}},
		"https":     {Network: &v1alpha1.NetworkVolumeSource{Protocol: "https", Name: new("/b.iso"), Hosts: []v1alpha1.VolumeHost{{Host: new("h.example.com"), Port: new(int32(443))}}}},
	}
	var changes []kindChange
	for a, disk := range from {
		for b, source := range to {
			for _, device := range [...]string{"disk", "cdrom"} {
				if device == "cdrom" && !strings.Contains(disk, "DEVICE") {
					continue
				}
				v := v1alpha1.VolumeMigrateData{TargetDevice: new("vda"), Source: &source, Driver: &v1alpha1.VolumeDriver{Format: new(v1alpha1.VolumeFormat("raw"))}}
				bus, dev := "virtio", "vda"
				if device == "cdrom" || a == "https" {
					bus, dev = "sata", "sda"
				}
				if b == "directory" {
					v.Driver = nil // It is FAT.
				}
				v.TargetDevice = &dev
				changes = append(changes, kindChange{
					name: a + " to " + b + " (" + device + ")",
					guest: "<domain type='kvm'>" + sharedMemory + "<devices>" + strings.ReplaceAll(disk, "DEVICE", device) +
						"<target dev='" + dev + "' bus='" + bus + "'/></disk></devices></domain>",
					data: &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{v}},
				})
			}
		}
	}
	return changes
}

// interfaceChanges turns each kind of interface into each other.
func interfaceChanges() []kindChange {
	const mac, model = "<mac address='52:54:00:00:00:01'/>", "<model type='virtio'/><driver queues='2'/>"
	const tuning = "<bandwidth><inbound average='1000'/></bandwidth>"
	from := map[string]string{
		"bridge":           "<interface type='bridge'>" + mac + "<source bridge='br0'/><target dev='tap3'/>" + tuning + model + "<port isolated='yes'/><filterref filter='clean-traffic'/></interface>",
		"bridge, MTU":      "<interface type='bridge'>" + mac + "<source bridge='br0'/>" + model + "<mtu size='1450'/></interface>",
		"Open vSwitch":     "<interface type='bridge'>" + mac + "<source bridge='ovs0'/><vlan><tag id='42'/></vlan><virtualport type='openvswitch'/>" + model + "</interface>",
		"network":          "<interface type='network'>" + mac + "<source network='default' portgroup='a'/><bandwidth><inbound average='1000' floor='200'/></bandwidth>" + model + "</interface>",
		"direct":           "<interface type='direct' trustGuestRxFilters='yes'>" + mac + "<source dev='eth1' mode='bridge'/><target dev='tap1'/>" + model + "</interface>",
		"direct, 802.1Qbh": "<interface type='direct'>" + mac + "<source dev='eth1' mode='private'/><virtualport type='802.1Qbh'><parameters profileid='x'/></virtualport>" + model + "</interface>",
		"ethernet":         "<interface type='ethernet'>" + mac + "<script path='/etc/up'/><target dev='tap7' managed='no'/>" + model + "</interface>",
		"ethernet, address": "<interface type='ethernet'>" + mac + "<source><ip address='192.0.2.1' family='ipv4' prefix='24'/></source>" +
			model + "</interface>",
		"vhostuser":        "<interface type='vhostuser'>" + mac + "<source type='unix' path='/run/a.sock' mode='client'><reconnect enabled='yes' timeout='10'/></source>" + model + "</interface>",
		"vdpa":             "<interface type='vdpa'>" + mac + "<source dev='/dev/vhost-vdpa-0'/><model type='virtio'/></interface>",
		"user":             "<interface type='user'>" + mac + "<model type='virtio'/></interface>",
		"user, address":    "<interface type='user'>" + mac + "<model type='virtio'/><ip address='172.17.2.1' family='ipv4' prefix='24'/></interface>",
		"bridge, coalesce": "<interface type='bridge'>" + mac + "<source bridge='br0'/><model type='virtio'/><coalesce><rx><frames max='7'/></rx></coalesce></interface>",
		"mcast":            "<interface type='mcast'>" + mac + "<source address='230.0.0.1' port='5558'/><model type='virtio'/></interface>",
		"server":           "<interface type='server'>" + mac + "<source address='192.0.2.9' port='5558'/><model type='virtio'/></interface>",
		"client":           "<interface type='client'>" + mac + "<source address='192.0.2.9' port='5558'/><model type='virtio'/></interface>",
		"udp":              "<interface type='udp'>" + mac + "<source address='192.0.2.9' port='5558'><local address='192.0.2.8' port='5559'/></source><model type='virtio'/></interface>",
	}
	to := map[string]v1alpha1.InterfaceMigrateData{
		"bridge": {Source: &v1alpha1.InterfaceSource{Bridge: &v1alpha1.BridgeInterfaceSource{Name: "br1"}}},
		"Open vSwitch": {
			Source: &v1alpha1.InterfaceSource{Bridge: &v1alpha1.BridgeInterfaceSource{Name: "br1"}}, VirtualPort: &v1alpha1.VirtualPort{Type: new(v1alpha1.VirtualPortType("openvswitch"))},
		},
		"network":           {Source: &v1alpha1.InterfaceSource{Network: &v1alpha1.NetworkInterfaceSource{Name: "default"}}},
		"direct":            {Source: &v1alpha1.InterfaceSource{Direct: &v1alpha1.DirectInterfaceSource{Device: "eth2"}}},
		"ethernet":          {Source: &v1alpha1.InterfaceSource{Ethernet: &v1alpha1.EthernetInterfaceSource{}}},
		"ethernet, managed": {Source: &v1alpha1.InterfaceSource{Ethernet: &v1alpha1.EthernetInterfaceSource{TapManagement: new(v1alpha1.TapManagementExternal)}}, TargetDevice: new("tap9")},
		"vhostUser":         {Source: &v1alpha1.InterfaceSource{VhostUser: &v1alpha1.VhostUserInterfaceSource{Path: "/run/b.sock", Mode: "server"}}},
		"vdpa":              {Source: &v1alpha1.InterfaceSource{VDPA: &v1alpha1.PathSource{Path: "/dev/vhost-vdpa-1"}}},
	}
	var changes []kindChange
	for a, nic := range from {
		for b, want := range to {
			want.MACAddress = "52:54:00:00:00:01"
			changes = append(changes, kindChange{
				name:  a + " to " + b,
				guest: "<domain type='kvm'>" + sharedMemory + "<devices>" + nic + "</devices></domain>",
				data:  &v1alpha1.MigrateData{Interfaces: []v1alpha1.InterfaceMigrateData{want}},
			})
		}
	}
	return changes
}

// listenerChanges gives each kind of character device that listens another address and
// port. Their kind cannot change.
func listenerChanges() []kindChange {
	const bind = "<source mode='bind' host='192.0.2.11' service='4555'"
	var changes []kindChange
	for name, device := range map[string]string{
		"serial":            "<serial type='tcp'>" + bind + " tls='yes'><seclabel model='dac' relabel='no'/></source><protocol type='telnet'/><target port='0'/></serial>",
		"serial over UDP":   "<serial type='udp'>" + bind + "/><source mode='connect' host='192.0.2.99' service='514'/><target port='0'/></serial>",
		"serial on socket":  "<serial type='unix'><source mode='connect' path='/run/a.sock'><reconnect enabled='yes' timeout='3'/></source><target port='0'/></serial>",
		"console":           "<serial type='tcp'>" + bind + "/><protocol type='raw'/><target port='0'/></serial><console type='tcp'>" + bind + "/><protocol type='raw'/><target type='serial' port='0'/></console>",
		"channel":           "<channel type='tcp'>" + bind + "/><protocol type='raw'/><target type='virtio' name='com.example.a'/></channel>",
		"parallel":          "<parallel type='tcp'>" + bind + "/><protocol type='raw'/><target port='0'/></parallel>",
		"redirected device": "<redirdev bus='usb' type='tcp'>" + bind + "/><protocol type='raw'/></redirdev>",
		"smartcard":         "<smartcard mode='passthrough' type='tcp'>" + bind + "/><protocol type='raw'/></smartcard>",
		"random numbers":    "<rng model='virtio'><backend model='egd' type='tcp'>" + bind + "/><protocol type='raw'/></backend></rng>",
	} {
		serial := &v1alpha1.SerialMigrateData{ListenAddress: new("192.0.2.12")}
		if strings.HasPrefix(device, "<serial type='tcp'") {
			serial.Ports = []int32{10000}
		}
		changes = append(changes, kindChange{
			name:  name,
			guest: "<domain type='kvm'><devices>" + device + "</devices></domain>",
			data:  &v1alpha1.MigrateData{Serial: serial},
		})
	}
	return changes
}
