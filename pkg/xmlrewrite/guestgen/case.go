// Package guestgen makes guests and migrate data for benchmarks and for
// comparisons with other implementations. The same seed makes the same guest.
//
// It stays within what every implementation is expected to do alike: kinds of
// sources do not change, each volume is listed, each pin is covered.
package guestgen

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

// Size is how much a guest has.
type Size struct {
	Disks      int
	Interfaces int
	VCPUs      int
}

// Small is the size of an appliance.
func Small() Size { return Size{Disks: 1, Interfaces: 1, VCPUs: 1} }

// Typical is the size of an ordinary server.
func Typical() Size { return Size{Disks: 4, Interfaces: 2, VCPUs: 8} }

// Huge is about as large as guests get.
func Huge() Size { return Size{Disks: 200, Interfaces: 100, VCPUs: 512} }

// Case is a guest together with what is to become of it on the target.
type Case struct {
	Name       string     `json:"name"`
	UUID       string     `json:"uuid"`
	VCPUs      int        `json:"vcpus"`
	Graphics   []Graphics `json:"graphics"`
	VNC        string     `json:"vnc"`
	SPICE      string     `json:"spice"`
	Serials    []Serial   `json:"serials"`
	SerialHost string     `json:"serialHost"`
	Ports      []int32    `json:"ports"`
	Disks      []Disk     `json:"disks"`
	NICs       []NIC      `json:"nics"`

	PerfHave      []string `json:"perfHave"`
	PerfSupported []string `json:"perfSupported"`

	HugePages     bool `json:"hugePages"`
	FileHave      bool `json:"fileHave"`
	FileWant      bool `json:"fileWant"`
	Shares        int  `json:"shares"`
	SharesRemoved bool `json:"sharesRemoved"`

	Pins      *Pins    `json:"pins"`
	NVDIMMs   []Change `json:"nvdimms"`
	Metadata  bool     `json:"metadata"`
	RootPorts int      `json:"-"` // How many PCIe root ports to write.
}

// Change is a value on the source and on the target.
type Change struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Graphics is a graphics device and the address it listens on.
type Graphics struct {
	Type    string `json:"type"`
	Address string `json:"address"`
	Old     bool   `json:"old"` // Has the older attribute too.
}

// Serial is a serial port or console that listens on TCP.
type Serial struct {
	Element string `json:"element"`
	Host    string `json:"host"`
	Service int    `json:"service"`
	Index   int    `json:"index"`
}

// Disk is a disk; Volume says whether the migrate data list it.
type Disk struct {
	Device     string `json:"device"`
	Serial     string `json:"serial"`
	Volume     bool   `json:"volume"`
	Kind       string `json:"kind"` // One of file, block, rbd, iscsi and nbd.
	Source     Change `json:"source"`
	Host       Change `json:"host"`
	Cache      Change `json:"cache"`
	Auth       bool   `json:"auth"`
	Secret     Change `json:"secret"`     // Of the authentication.
	Encryption Change `json:"encryption"` // UUIDs; empty if there is none.
	Slot       int    `json:"slot"`
}

// NIC is a network interface.
type NIC struct {
	MAC     string `json:"mac"`
	Kind    Change `json:"kind"` // bridge, ovs or vhostuser.
	Source  Change `json:"source"`
	Tap     Change `json:"tap"`
	Port    Change `json:"port"` // The identity of an Open vSwitch port.
	Model   string `json:"model"`
	Queues  int    `json:"queues"`
	MTU     int    `json:"mtu"`
	MTUSeen bool   `json:"mtuSeen"` // The target's configuration has an MTU, the guest may not.
	Slot    int    `json:"slot"`
}

// Pins is where a guest runs.
type Pins struct {
	VCPUs    []Change  `json:"vcpus"`
	Emulator Change    `json:"emulator"`
	Cells    []Change  `json:"cells"`
	Memory   Change    `json:"memory"`
	Realtime *Realtime `json:"realtime"`
}

// Realtime is a real-time scheduler.
type Realtime struct {
	VCPUs    string `json:"vcpus"`
	Priority int    `json:"priority"`
	Split    bool   `json:"split"` // The guest has one element a virtual CPU.
	Old      int    `json:"old"`   // The guest's priority; 0 if it has none.
}

// New makes the guest of a seed.
func New(seed uint64, size Size) *Case {
	g := &generator{rand.New(rand.NewPCG(seed, 20260901))} //nolint:gosec // Reproducible on purpose.
	c := &Case{
		Name: fmt.Sprintf("guest-%d", seed), UUID: g.uuid(), VCPUs: size.VCPUs,
		VNC: g.address(), SPICE: g.address(), SerialHost: g.address(), Metadata: g.maybe(),
	}
	g.consoles(c)
	for i := range size.Disks {
		c.Disks = append(c.Disks, g.disk(i))
	}
	for i := range size.Interfaces {
		c.NICs = append(c.NICs, g.nic(i))
	}
	g.resources(c)
	if size.VCPUs > 1 {
		g.pins(c)
	}
	return c
}

// Benchmark makes the guest of that size that benchmarks use: one VNC console,
// one serial console, volumes of every kind, all virtual CPUs pinned, and as
// many controllers as a guest on PCI Express has.
func Benchmark(size Size) *Case {
	g := &generator{rand.New(rand.NewPCG(1, 20260901))} //nolint:gosec // Reproducible on purpose.
	c := &Case{
		Name: "benchmark", UUID: g.uuid(), VCPUs: size.VCPUs, Metadata: true,
		VNC: "192.0.2.20", SPICE: "192.0.2.20", SerialHost: "192.0.2.20", Ports: []int32{10000},
		Graphics: []Graphics{{Type: "vnc", Address: "192.0.2.10", Old: true}},
		Serials: []Serial{
			{Element: "serial", Host: "192.0.2.10", Service: 4500}, {Element: "console", Host: "192.0.2.10", Service: 4500},
		},
		Shares: 1024, SharesRemoved: true, RootPorts: size.Disks + size.Interfaces + 6,
	}
	for i := range size.Disks {
		d := g.disk(i)
		for !d.Volume {
			d = g.disk(i)
		}
		c.Disks = append(c.Disks, d)
	}
	for i := range size.Interfaces {
		c.NICs = append(c.NICs, g.nic(i))
	}
	for size.VCPUs > 1 && c.Pins == nil {
		g.pins(c)
	}
	return c
}

type generator struct{ *rand.Rand }

func (g *generator) maybe() bool { return g.IntN(2) == 0 }

func (g *generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g *generator) address() string {
	if g.IntN(4) == 0 {
		return fmt.Sprintf("2001:db8::%x", 1+g.IntN(65535))
	}
	return fmt.Sprintf("192.0.2.%d", 1+g.IntN(254))
}

func (g *generator) uuid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", g.Uint32(), g.IntN(1<<16), g.IntN(1<<12), g.IntN(1<<12), g.Uint64N(1<<48))
}

func (g *generator) consoles(c *Case) {
	source := g.address()
	for _, kind := range [...]string{"vnc", "spice"} {
		for range g.IntN(3) {
			c.Graphics = append(c.Graphics, Graphics{Type: kind, Address: source, Old: g.maybe()})
		}
	}
	for i := range g.IntN(4) {
		c.Serials = append(c.Serials, Serial{Element: "serial", Host: source, Service: 4500 + i, Index: i})
		c.Ports = append(c.Ports, 10000+g.Int32N(1000)*10+int32(i))
	}
	if len(c.Serials) > 0 && g.maybe() {
		c.Serials = append(c.Serials, c.Serials[0])
		c.Serials[len(c.Serials)-1].Element = "console"
	}
}

func (g *generator) disk(i int) Disk {
	d := Disk{
		Device: "vd" + letters(i), Volume: g.IntN(4) != 0, Kind: g.pick("file", "block", "rbd", "iscsi", "nbd"), Slot: i,
		Cache: Change{"none", g.pick("none", "none", "writeback")},
	}
	name := fmt.Sprintf("volume-%04d", i)
	switch d.Kind {
	case "file":
		d.Source = Change{"/srv/a/" + name + ".img", "/srv/b/" + name + ".img"}
	case "block":
		d.Source = Change{"/dev/disk/by-id/a-" + name, "/dev/disk/by-id/b-" + name}
	case "iscsi":
		d.Source = Change{"iqn.2026-01.dev.virtferry:a/" + strconv.Itoa(i), "iqn.2026-01.dev.virtferry:b/" + strconv.Itoa(i)}
	default:
		d.Source = Change{"pool/" + name, "pool/" + name}
	}
	d.Host = Change{g.address(), g.address()}
	if d.Kind == "rbd" {
		d.Auth = true
		d.Secret = Change{g.uuid(), g.uuid()}
	}
	if g.IntN(4) == 0 {
		d.Encryption = Change{g.uuid(), g.uuid()}
	}
	if d.Volume {
		d.Serial = g.uuid()
	} else {
		d.Source.To, d.Host.To, d.Cache.To, d.Secret.To, d.Encryption.To = d.Source.From, d.Host.From, d.Cache.From, d.Secret.From, d.Encryption.From
	}
	return d
}

// letters counts a, b, … z, aa, ab, … as device names do.
func letters(i int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz"
	if i < len(alphabet) {
		return alphabet[i : i+1]
	}
	return letters(i/len(alphabet)-1) + letters(i%len(alphabet))
}

func (g *generator) nic(i int) NIC {
	n := NIC{
		MAC: fmt.Sprintf("52:54:00:%02x:%02x:%02x", g.IntN(256), i/256, i%256), Model: "virtio", Slot: i,
		Tap: Change{fmt.Sprintf("tap%da", i), fmt.Sprintf("tap%db", i)},
	}
	n.Kind.From = g.pick("bridge", "ovs")
	n.Kind.To = g.pick("bridge", "ovs", "vhostuser")
	end := func(kind, side string) string {
		if kind == "vhostuser" {
			return fmt.Sprintf("/run/ovs/vhu%d-%s.sock", i, side)
		}
		return "br-" + side + g.pick("0", "1", "2")
	}
	n.Source = Change{end(n.Kind.From, "a"), end(n.Kind.To, "b")}
	n.Port = Change{g.uuid(), g.uuid()}
	if g.maybe() {
		n.Queues = 2 + g.IntN(6)
	}
	// Nova drops the MTU of a guest that moves to vhost-user.
	if n.MTUSeen = g.maybe(); n.MTUSeen && n.Kind.To != "vhostuser" && g.maybe() {
		n.MTU = 1450
	}
	return n
}

func (g *generator) resources(c *Case) {
	for _, event := range [...]string{"cmt", "mbmt", "mbml", "cpu_cycles", "instructions", "page_faults"} {
		if g.IntN(3) == 0 {
			c.PerfHave = append(c.PerfHave, event)
			if g.maybe() {
				c.PerfSupported = append(c.PerfSupported, event)
			}
		}
	}
	// A running guest's memory cannot move into files or out of them.
	c.FileHave = g.IntN(3) == 0
	c.FileWant = c.FileHave
	c.HugePages = !c.FileHave && g.maybe()
	if g.maybe() {
		c.Shares, c.SharesRemoved = 1024+g.IntN(8000), g.maybe()
	}
	for i := range g.IntN(3) {
		c.NVDIMMs = append(c.NVDIMMs, Change{fmt.Sprintf("/dev/dax0.%d", i), fmt.Sprintf("/dev/dax1.%d", g.IntN(100)*10+i)})
	}
}

func (g *generator) pins(c *Case) {
	if g.IntN(3) == 0 {
		return
	}
	p := &Pins{Emulator: Change{"0-1", g.pick("2", "2-3", "2,4,6")}}
	for i := range c.VCPUs {
		p.VCPUs = append(p.VCPUs, Change{strconv.Itoa(i + 2), fmt.Sprintf("%d-%d", 1000+2*i, 1001+2*i)})
	}
	p.Cells = []Change{{"0", "2"}, {"1", "3-4"}}
	p.Memory = Change{"0-1", "2-4"}
	if g.maybe() {
		p.Realtime = &Realtime{VCPUs: fmt.Sprintf("1-%d", max(c.VCPUs-1, 2)), Priority: 1 + g.IntN(99), Split: g.maybe(), Old: g.IntN(3)}
		if c.VCPUs == 2 {
			p.Realtime.VCPUs = "1"
		}
	}
	c.Pins = p
}
