package guestgen

import (
	"fmt"
	"slices"
	"strings"
)

// XML returns the guest as libvirt on the source would write it.
func (c *Case) XML() []byte {
	w := &writer{}
	w.line(0, "<domain type='kvm'>")
	w.line(1, "<name>%s</name>", c.Name)
	w.line(1, "<uuid>%s</uuid>", c.UUID)
	if c.Metadata {
		w.line(1, "<metadata>")
		w.line(2, "<acme:guest xmlns:acme='urn:acme'><acme:owner>team &amp; co</acme:owner></acme:guest>")
		w.line(1, "</metadata>")
	}
	w.line(1, "<memory unit='KiB'>4194304</memory>")
	w.line(1, "<currentMemory unit='KiB'>4194304</currentMemory>")
	w.memoryBacking(c)
	w.line(1, "<vcpu placement='static'>%d</vcpu>", c.VCPUs)
	w.tuning(c)
	w.line(1, "<os>")
	w.line(2, "<type arch='x86_64' machine='pc-q35-7.2'>hvm</type>")
	w.line(1, "</os>")
	w.line(1, "<features>")
	w.line(2, "<acpi/>")
	w.line(1, "</features>")
	w.cpu(c)
	w.perf(c)
	w.line(1, "<on_poweroff>destroy</on_poweroff>")
	w.line(1, "<devices>")
	w.line(2, "<emulator>/usr/bin/qemu-system-x86_64</emulator>")
	for i := range c.Disks {
		w.disk(&c.Disks[i])
	}
	for i := range c.NICs {
		w.nic(&c.NICs[i])
	}
	for _, s := range c.Serials {
		w.serial(s)
	}
	for _, g := range c.Graphics {
		w.graphics(g)
	}
	for _, n := range c.NVDIMMs {
		w.nvdimm(n)
	}
	for i := range c.RootPorts {
		w.line(2, "<controller type='pci' index='%d' model='pcie-root-port'>", i+1)
		w.line(3, "<model name='pcie-root-port'/>")
		w.line(3, "<target chassis='%d' port='0x%x'/>", i+1, 0x10+i)
		w.address(0, 16+i)
		w.line(2, "</controller>")
	}
	w.line(2, "<memballoon model='virtio'/>")
	w.line(1, "</devices>")
	w.line(0, "</domain>")
	return []byte(w.String())
}

type writer struct{ strings.Builder }

func (w *writer) line(depth int, format string, args ...any) {
	for range depth {
		w.WriteString("  ")
	}
	fmt.Fprintf(w, format, args...)
	w.WriteByte('\n')
}

func (w *writer) memoryBacking(c *Case) {
	// A switch behind a vhost-user socket works in the guest's memory.
	shared := c.FileHave || slices.ContainsFunc(c.NICs, func(n NIC) bool { return n.Kind.To == "vhostuser" })
	if !shared && !c.HugePages {
		return
	}
	w.line(1, "<memoryBacking>")
	if c.HugePages {
		w.line(2, "<hugepages/>")
	}
	if c.FileHave {
		w.line(2, "<source type='file'/>")
	}
	if shared {
		w.line(2, "<access mode='shared'/>")
	}
	if c.FileHave {
		w.line(2, "<allocation mode='immediate'/>")
	}
	w.line(2, "<nosharepages/>")
	w.line(1, "</memoryBacking>")
}

func (w *writer) tuning(c *Case) {
	if c.Shares == 0 && c.Pins == nil {
		return
	}
	w.line(1, "<cputune>")
	if c.Shares > 0 {
		w.line(2, "<shares>%d</shares>", c.Shares)
	}
	if c.Pins != nil {
		for i, pin := range c.Pins.VCPUs {
			w.line(2, "<vcpupin vcpu='%d' cpuset='%s'/>", i, pin.From)
		}
		w.line(2, "<emulatorpin cpuset='%s'/>", c.Pins.Emulator.From)
		if rt := c.Pins.Realtime; rt != nil && rt.Old > 0 {
			if rt.Split {
				for i := 1; i < c.VCPUs; i++ {
					w.line(2, "<vcpusched vcpus='%d' scheduler='fifo' priority='%d'/>", i, rt.Old)
				}
			} else {
				w.line(2, "<vcpusched vcpus='%s' scheduler='fifo' priority='%d'/>", rt.VCPUs, rt.Old)
			}
		}
	}
	w.line(1, "</cputune>")
	if c.Pins == nil {
		return
	}
	w.line(1, "<numatune>")
	w.line(2, "<memory mode='strict' nodeset='%s'/>", c.Pins.Memory.From)
	for i, cell := range c.Pins.Cells {
		w.line(2, "<memnode cellid='%d' mode='strict' nodeset='%s'/>", i, cell.From)
	}
	w.line(1, "</numatune>")
}

func (w *writer) cpu(c *Case) {
	if c.Pins == nil {
		w.line(1, "<cpu mode='host-model' check='partial'/>")
		return
	}
	half := c.VCPUs / 2
	w.line(1, "<cpu mode='host-model' check='partial'>")
	w.line(2, "<numa>")
	w.line(3, "<cell id='0' cpus='0-%d' memory='2097152' unit='KiB'/>", half-1)
	w.line(3, "<cell id='1' cpus='%d-%d' memory='2097152' unit='KiB'/>", half, c.VCPUs-1)
	w.line(2, "</numa>")
	w.line(1, "</cpu>")
}

func (w *writer) perf(c *Case) {
	if len(c.PerfHave) == 0 {
		return
	}
	w.line(1, "<perf>")
	for _, event := range c.PerfHave {
		w.line(2, "<event name='%s' enabled='yes'/>", event)
	}
	w.line(1, "</perf>")
}

func (w *writer) disk(d *Disk) {
	kind := d.Kind
	if kind != "file" && kind != "block" {
		kind = "network"
	}
	w.line(2, "<disk type='%s' device='disk'>", kind)
	w.line(3, "<driver name='qemu' type='raw' cache='%s'/>", d.Cache.From)
	if d.Auth {
		w.line(3, "<auth username='cinder'>")
		w.line(4, "<secret type='ceph' uuid='%s'/>", d.Secret.From)
		w.line(3, "</auth>")
	}
	switch d.Kind {
	case "file":
		w.line(3, "<source file='%s'/>", d.Source.From)
	case "block":
		w.line(3, "<source dev='%s'/>", d.Source.From)
	default:
		w.line(3, "<source protocol='%s' name='%s'>", d.Kind, d.Source.From)
		w.line(4, "<host name='%s' port='6789'/>", d.Host.From)
		w.line(3, "</source>")
	}
	w.line(3, "<target dev='%s' bus='virtio'/>", d.Device)
	w.line(3, "<iotune>")
	w.line(4, "<total_iops_sec>500</total_iops_sec>")
	w.line(3, "</iotune>")
	if d.Serial != "" {
		w.line(3, "<serial>%s</serial>", d.Serial)
	}
	if d.Encryption.From != "" {
		w.line(3, "<encryption format='luks'>")
		w.line(4, "<secret type='passphrase' uuid='%s'/>", d.Encryption.From)
		w.line(3, "</encryption>")
	}
	w.address(1, d.Slot)
	w.line(2, "</disk>")
}

func (w *writer) address(bus, slot int) {
	w.line(3, "<address type='pci' domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/>", slot/256, bus, slot/8%32, slot%8)
}

func (w *writer) nic(n *NIC) {
	w.line(2, "<interface type='bridge'>")
	w.line(3, "<mac address='%s'/>", n.MAC)
	w.line(3, "<source bridge='%s'/>", n.Source.From)
	if n.Kind.From == "ovs" {
		w.line(3, "<virtualport type='openvswitch'>")
		w.line(4, "<parameters interfaceid='%s'/>", n.Port.From)
		w.line(3, "</virtualport>")
	}
	w.line(3, "<target dev='%s'/>", n.Tap.From)
	w.line(3, "<model type='%s'/>", n.Model)
	if n.Queues > 0 {
		w.line(3, "<driver name='vhost' queues='%d'/>", n.Queues)
	}
	if n.MTU > 0 {
		w.line(3, "<mtu size='%d'/>", n.MTU)
	}
	w.address(2, n.Slot)
	w.line(2, "</interface>")
}

func (w *writer) serial(s Serial) {
	w.line(2, "<%s type='tcp'>", s.Element)
	w.line(3, "<source mode='bind' host='%s' service='%d'/>", s.Host, s.Service)
	w.line(3, "<protocol type='raw'/>")
	kind := "isa-serial"
	if s.Element == "console" {
		kind = "serial"
	}
	w.line(3, "<target type='%s' port='%d'/>", kind, s.Index)
	w.line(2, "</%s>", s.Element)
}

func (w *writer) graphics(g Graphics) {
	old := ""
	if g.Old {
		old = " listen='" + g.Address + "'"
	}
	w.line(2, "<graphics type='%s' port='-1' autoport='yes'%s>", g.Type, old)
	w.line(3, "<listen type='address' address='%s'/>", g.Address)
	w.line(2, "</graphics>")
}

func (w *writer) nvdimm(n Change) {
	w.line(2, "<memory model='nvdimm'>")
	w.line(3, "<source>")
	w.line(4, "<path>%s</path>", n.From)
	w.line(4, "<pmem/>")
	w.line(3, "</source>")
	w.line(3, "<target>")
	w.line(4, "<size unit='KiB'>1048576</size>")
	w.line(4, "<node>0</node>")
	w.line(3, "</target>")
	w.line(2, "</memory>")
}
