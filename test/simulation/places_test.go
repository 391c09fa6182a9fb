package simulation

import (
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"testing/fstest"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// firstPort is the port of a guest's console on its first host: the first that other hosts
// give to guests which come.
const firstPort, lastPort = 10000, 10009

// cpus is how many CPUs a host has: as many as ports, so that there are enough for all guests.
const cpus = lastPort - firstPort + 1

// place is what a guest has of a host that no other guest has: the port of its console, the CPU
// that it is pinned to, and the address of a function, if it has one.
type place struct {
	port, cpu int
	function  string
}

// nthPlace is that of a host's guest number i on its first host.
func nthPlace(i int) place { return place{port: firstPort + i, cpu: i} }

// nowhere is that of a guest of which it is not known.
func nowhere() place { return place{cpu: -1} }

// definition is a guest's, with a console on a TCP port of its host, and a CPU of its own.
func definition(guest fake.Guest, at place) hypervisor.DomainXML {
	return hypervisor.DomainXML(fmt.Sprintf(`<domain type='kvm'>
  <name>%s</name>
  <uuid>%s</uuid>
  <memory unit='KiB'>%d</memory>
  <vcpu>1</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='%d'/></cputune>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
  <devices>
    <console type='tcp'>
      <source mode='bind' host='192.0.2.1' service='%d'/>
      <protocol type='raw'/>
      <target type='serial' port='0'/>
    </console>
  </devices>
</domain>
`, guest.Name, guest.UUID, guest.MemoryBytes>>10, at.cpu, at.port))
}

var (
	consolePort = regexp.MustCompile(`service=['"](\d+)['"]`)
	pinnedTo    = regexp.MustCompile(`<vcpupin vcpu=['"]0['"] cpuset=['"](\d+)['"]`)
)

// placeIn is what a definition says.
func placeIn(xml hypervisor.DomainXML) place {
	at := nowhere()
	if found := consolePort.FindStringSubmatch(string(xml)); found != nil {
		at.port, _ = strconv.Atoi(found[1])
	}
	if found := pinnedTo.FindStringSubmatch(string(xml)); found != nil {
		at.cpu, _ = strconv.Atoi(found[1])
	}
	return at
}

// giveCPUs gives a host its CPUs.
func giveCPUs(host *fake.Host) {
	all := make([]int, cpus)
	for i := range all {
		all[i] = i
	}
	host.SetFacts(func(f *hypervisor.HostFacts) {
		caps := *f.Capabilities
		caps.Cells = []hypervisor.Cell{{MemoryBytes: caps.Cells[0].MemoryBytes, CPUs: all}}
		f.Capabilities = &caps
	})
}

// spot is a guest's on a host.
type spot struct{ host, uuid string }

// kernel is what a host's kernel tells of its memory: what guests have that are there, or on
// their way, is not available.
type kernel struct {
	w *world
	n *host
}

// Open implements fs.FS.
func (k kernel) Open(name string) (fs.File, error) {
	available := k.n.memory - min(k.n.memory, k.w.usedOn(k.n.name))
	text := fmt.Sprintf("MemTotal: %d kB\nMemAvailable: %d kB\n", k.n.memory>>10, available>>10)
	return fstest.MapFS{"proc/meminfo": {Data: []byte(text)}}.Open(name) //nolint:wrapcheck // A file system.
}

// usedOn is how much memory the guests of a host have.
func (w *world) usedOn(host string) (bytes uint64) {
	for _, g := range w.guests {
		if c := w.fleet.Copies(g.uuid)[host]; c.Active() {
			bytes += c.MemoryBytes
		}
	}
	return bytes
}

// notePlace takes in what a guest has of a host, and whether a person has brought it there, who
// looks at nothing. The mutex is held.
func (o *observer) notePlace(host, uuid string, at place, byHand bool) {
	o.places[spot{host, uuid}], o.byHand[spot{host, uuid}] = at, byHand
}

// noteBrought takes in that a person brings a guest to a host.
func (o *observer) noteBrought(host, uuid string, at place) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notePlace(host, uuid, at, true)
}

// listens reports whether a guest of a host listens on a port there. An emulator that hangs
// does as well.
func (o *observer) listens(host string, port int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, g := range o.w.guests {
		at := spot{host, g.uuid}
		if c := o.w.fleet.Copies(g.uuid)[host]; c.Active() && o.places[at].port == port {
			return true
		}
	}
	return false
}

// checkPlace judges what a guest will take of its target: neither the port, the CPU, the function
// nor the memory of another that is there, or on its way there.
func (o *observer) checkPlace(lm *v1alpha1.LiveMigration, params hypervisor.MigrateParams) {
	target, guest := o.w.hostNamed(lm.Status.TargetNode), o.guests[lm.Status.DomainUUID]
	to, needed := placeIn(params.LiveXML), guest.memory
	to.function = functionIn(params.PersistentXML) // The guest gets it when it has arrived.
	o.notePlace(target.name, guest.uuid, to, false)
	for _, other := range o.w.guests {
		at := spot{target.name, other.uuid}
		if other.uuid == guest.uuid || !o.takes(at) {
			continue
		}
		if o.byHand[at] || o.guests[other.uuid].excused {
			return
		}
		needed += other.memory
		has := o.places[at]
		if to.port != 0 && has.port == to.port {
			o.breaks(ownPlace, "%s is to have port %d on %s, and %s has it", guest.name, to.port, target.name, other.name)
		}
		if to.function != "" && has.function == to.function {
			o.breaks(ownPlace, "%s is to have the function %s of %s, and %s has it", guest.name, to.function, target.name, other.name)
		}
		if to.cpu >= 0 && has.cpu == to.cpu {
			o.breaks(ownPlace, "%s is to have CPU %d on %s, and %s has it", guest.name, to.cpu, target.name, other.name)
		}
	}
	if target.memory != 0 && needed > target.memory {
		o.breaks(ownPlace, "%s is to come to %s, whose guests need %d MiB then, and it has %d MiB", guest.name, target.name, needed>>20, target.memory>>20)
	}
}

// takes reports whether a guest is on a host, or on its way there. A shell that libvirt makes
// after a migration has failed, since the call had hung, nobody can know of beforehand.
func (o *observer) takes(at spot) bool {
	if c := o.w.fleet.Copies(at.uuid)[at.host]; whole(c) {
		return true
	}
	for _, j := range []job{o.jobs.asked[at.uuid], o.jobs.running[at.uuid]} {
		if j.to == at.host && o.recordedOf(j) {
			return true
		}
	}
	return false
}

// recordedOf reports whether the migration of a job goes on, as far as anybody has said.
func (o *observer) recordedOf(j job) bool {
	for _, lm := range o.moves {
		if source, target := migration.CurrentSource(lm), migration.CurrentTarget(lm); lm.UID == j.uid {
			return !migration.Finished(lm) && source != nil && source.End == nil && target != nil && target.LostTime == nil
		}
	}
	return false
}

// checkTransfer judges how a guest is sent: encrypted where its user wants that, and as its
// status says.
func (o *observer) checkTransfer(lm *v1alpha1.LiveMigration, params hypervisor.MigrateParams) {
	wants, encrypted := v1alpha1.Encryption(""), params.Transfer.TLS
	if options := lm.Spec.Options; options != nil && options.Transfer != nil {
		wants = options.Transfer.Encryption
	}
	plan := migration.CurrentSource(lm).Transfer
	switch {
	case wants == v1alpha1.EncryptionRequired && !encrypted, wants == v1alpha1.EncryptionDisabled && encrypted:
		o.breaks(sentAsAsked, "%s: encryption is %s, and it is encrypted: %t", lm.Name, wants, encrypted)
	case plan == nil || plan.Encrypted != encrypted:
		o.breaks(sentAsAsked, "%s is encrypted: %t, and its status says otherwise: %+v", lm.Name, encrypted, plan)
	}
}

// noteRecover judges that an agent is about to resume a job: as it was begun.
func (o *observer) noteRecover(host, uuid string, params hypervisor.MigrateParams) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if lm := o.recorded(host, uuid); lm != nil {
		o.checkTransfer(lm, params)
	}
}
