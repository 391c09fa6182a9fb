package fake

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Times that a small guest was seen to take.
const (
	prepareTime  = 400 * time.Millisecond // Until the destination has its half.
	setupTime    = 15 * time.Millisecond  // From there to the first pass.
	switchTime   = 20 * time.Millisecond  // From the last byte until the guest runs again.
	reapTime     = 300 * time.Millisecond // From there until the source's half is gone.
	teardownTime = 80 * time.Millisecond  // From an abort until the call returns.
)

const (
	defaultCallTimeout = 10 * time.Second
	// defaultMaxDowntime is QEMU's.
	defaultMaxDowntime = 300 * time.Millisecond
	// maxDowntimeLimit is QEMU's too, in milliseconds.
	maxDowntimeLimit = 2_000_000
	// defaultBandwidth is what a network copies per second.
	defaultBandwidth = 1 << 30
)

// Fleet is a number of hosts that reach each other.
type Fleet struct {
	speed       float64
	callTimeout time.Duration
	bandwidth   uint64
	// workers and priorityWorkers are how many each daemon has.
	workers, priorityWorkers int
	// witness is told of what changes guests, and onStage of how far migrations come.
	witness func(Effect)
	onStage func(uuid string, stage Stage)
	// running counts the goroutines of migrations.
	running sync.WaitGroup

	// mu guards everything below and all that belongs to hosts.
	mu         sync.Mutex
	closed     bool
	hosts      map[string]*Host
	aliases    map[string]*Host
	migrations map[*migration]bool
	gates      map[gateKey]*Gate
	scripts    map[string]Script
	// shared are the directories that all hosts see.
	shared map[string]files
	calls  []*Call
	// parted counts the faults on the ways between hosts.
	parted map[link]int
	// boots counts how often guests were started.
	boots int
}

// Option changes a fleet.
type Option func(*Fleet)

// WithSpeed makes the fleet's time pass so many times faster than it really
// does. A migration of a small guest takes about a second at speed 1.
func WithSpeed(times float64) Option { return func(f *Fleet) { f.speed = times } }

// WithCallTimeout sets how long, in the fleet's time, calls other than Migrate
// may hang before they fail with KindTimeout. It is ten seconds otherwise.
func WithCallTimeout(timeout time.Duration) Option {
	return func(f *Fleet) { f.callTimeout = timeout }
}

// WithBandwidth sets how many bytes per second the network between the hosts
// copies for each migration. It is 1 GiB otherwise.
func WithBandwidth(bytesPerSecond uint64) Option {
	return func(f *Fleet) { f.bandwidth = bytesPerSecond }
}

// NewFleet returns a fleet without hosts. Close ends it.
func NewFleet(options ...Option) *Fleet {
	f := &Fleet{
		speed: 1, callTimeout: defaultCallTimeout, bandwidth: defaultBandwidth,
		workers: defaultWorkers, priorityWorkers: defaultPriorityWorkers,
		hosts: map[string]*Host{}, aliases: map[string]*Host{}, migrations: map[*migration]bool{},
		gates: map[gateKey]*Gate{}, scripts: map[string]Script{}, shared: map[string]files{}, parted: map[link]int{}, onStage: func(string, Stage) {},
	}
	for _, option := range options {
		option(f)
	}
	return f
}

// Close ends all migrations where they are and waits for their goroutines.
// Calls in flight return with KindConnectionLost.
func (f *Fleet) Close() {
	f.mu.Lock()
	f.closed = true
	for _, h := range f.hosts {
		h.disconnect()
	}
	for m := range f.migrations {
		m.interrupt(cause{ending: endsNowhere})
	}
	f.mu.Unlock()
	f.running.Wait()
}

// Host returns the host of a name, and makes it if there is none yet.
func (f *Fleet) Host(name string) *Host {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, ok := f.hosts[name]; ok {
		return h
	}
	h := newHost(f, name)
	f.hosts[name] = h
	f.aliases[name] = h
	return h
}

// resolve returns the host that a libvirt URI leads to, or nil. A Unix socket leads to the host
// after which it is named.
func (f *Fleet) resolve(uri string) *Host {
	u, err := url.Parse(uri)
	if err != nil {
		return nil
	}
	if socket := u.Query().Get("socket"); socket != "" {
		return f.aliases[strings.TrimSuffix(path.Base(socket), ".sock")]
	}
	return f.aliases[u.Hostname()]
}

// real converts a duration of the fleet's time.
func (f *Fleet) real(d time.Duration) time.Duration {
	return time.Duration(float64(d) / f.speed)
}

// since returns how much of the fleet's time has passed.
func (f *Fleet) since(begin time.Time) time.Duration {
	return time.Duration(float64(time.Since(begin)) * f.speed)
}

// PowerOff makes a guest switch itself off, wherever it runs. A migration of
// the guest fails by it. Powering off a guest that runs nowhere does nothing.
func (f *Fleet) PowerOff(uuid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for m := range f.migrations {
		if m.uuid == uuid && m.stage < stageSwitching {
			m.interrupt(cause{ending: EndsPoweredOff})
			return
		}
	}
	for _, h := range f.hosts {
		if d := h.domains[uuid]; d != nil && d.state == hypervisor.StateRunning {
			h.powerOff(d)
		}
	}
}

// RunningOn returns the names of the hosts where the guest runs, in no order.
func (f *Fleet) RunningOn(uuid string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name, h := range f.hosts {
		if d := h.domains[uuid]; d != nil && d.state == hypervisor.StateRunning {
			names = append(names, name)
		}
	}
	return names
}

// String shows which fleet it is in failed tests.
func (f *Fleet) String() string { return fmt.Sprintf("fleet of %d hosts", len(f.hosts)) }
