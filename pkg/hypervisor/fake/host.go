package fake

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Guest describes a domain to begin with.
type Guest struct {
	UUID string
	Name string
	// MemoryBytes is the guest's memory; 0 is 128 MiB.
	MemoryBytes uint64
	// DirtyBytesPerSecond is how fast the guest writes to its memory, all over
	// the first WorkingSetBytes of it; 0 of the latter is all of it.
	DirtyBytesPerSecond uint64
	WorkingSetBytes     uint64
	// Persistent is whether the domain has a definition that outlives it.
	Persistent bool
	// State and Reason are Running and Booted where they are empty.
	State  hypervisor.State
	Reason hypervisor.Reason
	// LiveXML and PersistentXML are made up where they are empty.
	LiveXML       hypervisor.DomainXML
	PersistentXML hypervisor.DomainXML
	// RunningXML is LiveXML with what the host has found out itself; empty is the same.
	RunningXML hypervisor.DomainXML
	// Ties are what keeps the guest from moving.
	Ties hypervisor.Ties
	// Agent is what the guest has of an agent.
	Agent Agent
	// Clings is whether the guest lets go of no device.
	Clings bool
	// LetsGoAfter is how long the guest takes to let go of a device, whatever comes meanwhile.
	LetsGoAfter time.Duration
	// Unsafe makes migrations fail unless they allow what is unsafe.
	Unsafe bool
}

// Host is one hypervisor of a fleet. Its methods may be called concurrently.
type Host struct {
	fleet *Fleet
	name  string
	// fit is what the host says of a guest that is to come.
	fit   hypervisor.EmulatorFit
	info  hypervisor.HostInfo
	facts hypervisor.HostFacts

	// All below is guarded by the fleet's mutex.
	domains     map[string]*domain
	secrets     map[hypervisor.SecretName]*secret
	images      files
	mounts      map[string]string // Directories that are shared, by where the host sees them.
	links       files             // What is seen in place of others.
	space       uint64
	fileSystems map[string]fileSystem // Those that directories have of their own.
	gone        map[string]bool       // Directories that are not there.
	silent      map[string]bool       // Directories on storage that does not answer.
	onLook      map[string]func()     // What is done after a look at a directory.
	subscribers map[chan hypervisor.Event]string
	dropping    bool
	latency     time.Duration
	failures    map[Method][]error
	hangs       map[Method]*hang
	// wedges hold up all calls about a domain.
	wedges map[string]*hang
	// workers are the daemon's, and adminWorkers those of its administration.
	workers, adminWorkers *workers
	// lost is closed when the connection is lost, and replaced when it is back.
	lost      chan struct{}
	connected bool
	// down is whether the daemon is not there for other hosts either.
	down bool
	// runs is the number that the daemon has given a domain last.
	runs int64
}

// newRun numbers a run of a domain. The fleet's mutex is held.
func (h *Host) newRun() int64 {
	h.runs++
	return h.runs
}

// countAnew numbers on from the highest number of what is active, as the daemon does when it
// is started: that of a domain which is not any more may come again.
func (h *Host) countAnew() {
	h.runs = 0
	for _, d := range h.domains {
		if d.active() {
			h.runs = max(h.runs, d.id)
		}
	}
}

var _ hypervisor.Hypervisor = (*Host)(nil)

// domain is a guest as one host knows it.
type domain struct {
	guest      Guest
	state      hypervisor.State
	reason     hypervisor.Reason
	persistent bool
	live       hypervisor.DomainXML
	inactive   hypervisor.DomainXML
	// completed are the statistics of the last job, if they were kept.
	completed hypervisor.JobStats
	// out and in are the migrations under way from and to here.
	out, in *migration
	// boot tells what runs here from what was started another time, and partial is whether
	// not all of its memory is here.
	boot    int
	partial bool
	// id is the host's number of this run.
	id int64
	// maxDowntime and bandwidth are what the next migration begins with.
	maxDowntime time.Duration
	bandwidth   uint64
	// guestTime is to what the guest's clock was set here, and guestTimeSet when.
	guestTime, guestTimeSet time.Time
	// frozenSince is since when the guest's file systems are frozen; zero while they are not. It
	// is the guest's: it moves with its memory.
	frozenSince time.Time
	// lettingGo are the interfaces that the guest was asked for, and has not let go of.
	lettingGo map[string]bool
}

func newHost(f *Fleet, name string) *Host {
	sum := sha256.Sum256([]byte(name))
	return &Host{
		fleet: f,
		name:  name,
		info: hypervisor.HostInfo{
			UUID:              fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
			Hostname:          name,
			LibvirtVersion:    "9.0.0",
			HypervisorVersion: "7.2.22",
		},
		facts:       defaultFacts(),
		domains:     map[string]*domain{},
		secrets:     map[hypervisor.SecretName]*secret{},
		images:      files{},
		subscribers: map[chan hypervisor.Event]string{},
		failures:    map[Method][]error{},
		hangs:       map[Method]*hang{},
		wedges:      map[string]*hang{},
		workers:     newWorkers(f), adminWorkers: &workers{ordinary: adminWorkers},
		lost:      make(chan struct{}),
		connected: true,
	}
}

// Name returns the host's name.
func (h *Host) Name() string { return h.name }

// URI returns where other hosts reach the host.
func (h *Host) URI() string { return "qemu+tcp://" + h.name + "/system" }

// AddAddress makes URIs with the address, or other name, lead to the host too.
func (h *Host) AddAddress(address string) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.fleet.aliases[address] = h
}

// SetInfo changes what the host says of itself.
func (h *Host) SetInfo(info hypervisor.HostInfo) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.info = info
}

// AddGuest puts a guest on the host, replacing one of the same UUID. It sends
// no event.
func (h *Host) AddGuest(guest Guest) {
	if guest.MemoryBytes == 0 {
		guest.MemoryBytes = 128 << 20
	}
	if guest.WorkingSetBytes == 0 || guest.WorkingSetBytes > guest.MemoryBytes {
		guest.WorkingSetBytes = guest.MemoryBytes
	}
	if guest.State == "" {
		guest.State, guest.Reason = hypervisor.StateRunning, hypervisor.ReasonBooted
	}
	if guest.LiveXML == "" {
		guest.LiveXML = defaultXML(guest, h.name)
	}
	if guest.PersistentXML == "" && guest.Persistent {
		guest.PersistentXML = defaultXML(guest, h.name)
	}
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.fleet.boots++
	h.domains[guest.UUID] = &domain{
		id: h.newRun(), boot: h.fleet.boots, guest: guest, state: guest.State, reason: guest.Reason, persistent: guest.Persistent,
		live: guest.LiveXML, inactive: guest.PersistentXML, maxDowntime: defaultMaxDowntime,
	}
}

// defaultXML makes up a small definition, with a console that only this host
// could open.
func defaultXML(guest Guest, host string) hypervisor.DomainXML {
	return hypervisor.DomainXML(fmt.Sprintf(`<domain type='kvm'>
  <name>%s</name>
  <uuid>%s</uuid>
  <memory unit='b'>%d</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
  <devices>
    <graphics type='vnc' port='-1' autoport='yes' passwd='sesame'>
      <listen type='address' address='%s'/>
    </graphics>
  </devices>
</domain>
`, guest.Name, guest.UUID, guest.MemoryBytes, host))
}

// SetState changes a domain's state behind everybody's back: no event is sent.
// It makes situations that no script leads to.
func (h *Host) SetState(uuid string, state hypervisor.State, reason hypervisor.Reason) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if d := h.domains[uuid]; d != nil {
		d.state, d.reason = state, reason
	}
}

// SetDirtyRate changes how fast a guest writes to its memory.
func (h *Host) SetDirtyRate(uuid string, bytesPerSecond uint64) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if d := h.domains[uuid]; d != nil {
		if d.out != nil {
			d.out.count()
		}
		d.guest.DirtyBytesPerSecond = bytesPerSecond
		if d.out != nil {
			d.out.change()
		}
	}
}

// RemoveGuest removes a domain behind everybody's back. A migration of it ends
// with KindConnectionLost.
func (h *Host) RemoveGuest(uuid string) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if d := h.domains[uuid]; d != nil {
		for _, m := range []*migration{d.out, d.in} {
			if m != nil {
				m.interrupt(cause{ending: endsNowhere})
			}
		}
	}
	delete(h.domains, uuid)
}

// describe returns what the host says of a domain.
func (d *domain) describe() hypervisor.Domain {
	out := hypervisor.Domain{
		UUID: d.guest.UUID, Name: d.guest.Name, State: d.state, Reason: d.reason,
		Persistent: d.persistent, MemoryBytes: d.guest.MemoryBytes,
	}
	if out.Active() {
		out.ID = d.id
	}
	return out
}

func (d *domain) active() bool { return d.describe().Active() }

// end makes a domain's virtual machine go: what is left is its definition, if
// it has one.
func (h *Host) end(d *domain, reason hypervisor.Reason) {
	d.out, d.in, d.frozenSince = nil, nil, time.Time{}
	if !d.persistent {
		delete(h.domains, d.guest.UUID)
		return
	}
	d.state, d.reason = hypervisor.StateShutoff, reason
	d.live = d.inactive
}

// powerOff ends a domain as its guest's own shutdown does.
func (h *Host) powerOff(d *domain) {
	h.emit(d.guest.UUID, hypervisor.LifecycleShutdown, "Guest")
	h.emit(d.guest.UUID, hypervisor.LifecycleStopped, "Shutdown")
	h.end(d, hypervisor.ReasonShutdown)
}

// SetTies changes what keeps a guest from moving.
func (h *Host) SetTies(uuid string, ties hypervisor.Ties) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.domains[uuid].guest.Ties = ties
}
