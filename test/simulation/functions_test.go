package simulation

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// Some guests have an interface that is a function of their host, which is taken from them for
// their migrations; some have an agent that sets their clock.

// functionAddress is a function's of a host, by their numbers.
func functionAddress(host, number int) string {
	return fmt.Sprintf("0000:%02x:%02x.0", 0x10+host, number)
}

// functionMAC is that of a guest's interface.
func functionMAC(guest int) string { return fmt.Sprintf("52:54:00:00:00:%02x", guest) }

func functionXML(mac, address string) string {
	bus, rest, _ := strings.Cut(strings.TrimPrefix(address, "0000:"), ":")
	slot, _, _ := strings.Cut(rest, ".")
	return fmt.Sprintf(`<interface type='hostdev' managed='yes'><mac address='%s'/><source><address type='pci' domain='0x0000' bus='0x%s' slot='0x%s' function='0x0'/></source></interface>`, mac, bus, slot)
}

var functionOf = regexp.MustCompile(`<address type='pci' domain='0x0000' bus='0x(..)' slot='0x(..)' function='0x0'/></source>`)

// functionIn is the address in a definition; empty if it has none.
func functionIn(xml hypervisor.DomainXML) string {
	if found := functionOf.FindStringSubmatch(string(xml)); found != nil {
		return "0000:" + found[1] + ":" + found[2] + ".0"
	}
	return ""
}

// giveFunctions gives a host functions, as many as there may be guests.
func giveFunctions(libvirt *fake.Host, host int) {
	devices := &hypervisor.HostDevices{}
	for number := range cpus {
		devices.PCI = append(devices.PCI, hypervisor.PCIDevice{
			Address: functionAddress(host, number), Vendor: "0x8086", Product: "0x1520", Driver: "vfio-pci", Virtual: true, Cell: hypervisor.NoCell,
		})
	}
	libvirt.SetFacts(func(f *hypervisor.HostFacts) { f.Devices = devices })
}

// addDevices gives a guest that is about to begin a function of its host, and an agent, or
// neither.
func (w *world) addDevices(i, host int, g *guest, def *fake.Guest) {
	luck := newPace(w.seed, fmt.Sprintf("world/devices-%d", i))
	if luck.chance(60) {
		def.Agent = fake.AgentConnected
	}
	if !def.Persistent || !luck.chance(30) {
		return
	}
	if luck.chance(60) {
		def.LetsGoAfter = luck.length(100*time.Millisecond, 8*time.Second)
	}
	g.mac = functionMAC(i)
	device := functionXML(g.mac, functionAddress(host, i/len(w.hosts)))
	def.LiveXML = hypervisor.DomainXML(strings.Replace(string(def.LiveXML), "</devices>", device+"</devices>", 1))
	def.PersistentXML = def.LiveXML
}

// deviceOptions are those of a guest that has them.
func deviceOptions(g *guest, kind int, options object) {
	if g.mac != "" {
		options["detachHostInterfaces"] = true
	}
	agent := object{}
	if kind%3 == 0 {
		agent["setTime"] = true
	}
	if kind%2 == 0 {
		agent["freezeSeconds"] = int64(1 + kind%20)
	}
	if len(agent) > 0 {
		options["guestAgent"] = agent
	}
}

// judgeFunction: a guest has its interface where it runs, once, as a function of that host, or
// its user was told. What people have done with it is theirs.
func (o *observer) judgeFunction(g *watched) {
	copies := g.sights[len(g.sights)-1].copies
	if g.mac == "" || g.carried || g.touched || g.mourned || g.excused || g.toldOfInterfaces || active(copies) != 1 {
		return
	}
	for i, n := range o.w.hosts {
		if d := copies[n.name]; !d.Active() || !whole(d) {
			continue
		}
		xml := n.libvirt.LiveXML(g.uuid)
		has := strings.Count(xml, g.mac)
		own := strings.HasPrefix(functionIn(hypervisor.DomainXML(xml)), strings.TrimSuffix(functionAddress(i, 0), "00.0"))
		told := func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.DomainUUID == g.uuid && (tellsOfInterfaces(lm) || !migration.Finished(lm))
		}
		if (has != 1 || !own) && !o.anyMove(told) {
			o.breaks(hasItsDevices, "%s is on %s, has its interface %d times, of that host: %t, and nobody was told", g.name, n.name, has, own)
		}
	}
}

// tellsOfInterfaces reports whether a migration says that its guest lacks some.
func tellsOfInterfaces(lm *v1alpha1.LiveMigration) bool {
	text := short(lm)
	return strings.Contains(text, "does not have these interfaces") || strings.Contains(text, "does not let go of these interfaces") ||
		strings.Contains(text, "no longer has a Hypervisor")
}

func (o *observer) anyMove(is func(*v1alpha1.LiveMigration) bool) bool {
	for _, lm := range o.moves {
		if is(lm) {
			return true
		}
	}
	return false
}

// wantsClock reports whether a guest was moved whose user wants its clock to be set.
func wantsClock(lm *v1alpha1.LiveMigration) bool {
	o := lm.Spec.Options
	return o != nil && o.GuestAgent != nil && o.GuestAgent.SetTime != nil && migration.Started(lm) && !migration.DryRun(lm) && lm.Status.Phase == v1alpha1.PhaseSucceeded
}

// checkClock judges at the end of a migration: what is said to be set was set. The guest may have
// come before its migration started, brought by somebody else.
func (o *observer) checkClock(lm *v1alpha1.LiveMigration) {
	target := migration.CurrentTarget(lm)
	if !wantsClock(lm) || target.GuestClock == nil || target.GuestClock.State != v1alpha1.GuestClockSet {
		return
	}
	if !o.w.fleet.Copies(lm.Status.DomainUUID)[lm.Status.TargetNode].Active() {
		return
	}
	if _, at := o.w.hostNamed(lm.Status.TargetNode).libvirt.GuestClock(lm.Status.DomainUUID); at.Before(o.times[lm.UID].created) {
		o.breaks(hasItsDevices, "%s says that the guest's clock was set, and it was not", lm.Name)
	}
}

// judgeClock judges when all has settled: the clock of a guest that runs was set, or its user
// was told.
func (o *observer) judgeClock(lm *v1alpha1.LiveMigration) {
	target := migration.CurrentTarget(lm)
	if !wantsClock(lm) || target.GuestClock != nil && target.GuestClock.State == v1alpha1.GuestClockSet || target.Domain == nil || target.Domain.State != string(hypervisor.StateRunning) {
		return
	}
	if !slices.ContainsFunc(lm.Status.Notices, func(n v1alpha1.Notice) bool { return strings.Contains(n.Message, "clock was not set") }) {
		o.breaks(hasItsDevices, "%s has ended, the guest's clock was not set, and nobody was told: %+v", lm.Name, target.GuestClock)
	}
}
