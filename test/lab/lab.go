//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxHosts is how many names there are, node-a to node-z.
const maxHosts = 26

// maxStateDir is how long the path of the state directory may be, so that the
// paths of the sockets in it stay within the kernel's 107 bytes.
const maxStateDir = 64

// stopTimeout bounds each step of taking a lab down.
const stopTimeout = 10 * time.Second

// Options says what a lab consists of.
type Options struct {
	// Hosts is the number of libvirt hosts to start with; AddHost adds more.
	Hosts int
	// Generations are the systems that the hosts run, in their order. A host beyond them,
	// or of an empty one, runs the machine's own. Making the root file systems that are
	// needed takes some minutes, once.
	Generations []Generation
	// ControlPlane starts etcd and kube-apiserver.
	ControlPlane bool
	// Manifests are directories and files whose objects are applied to the
	// control plane before Start returns: custom resource definitions, roles and
	// the like. Subdirectories are not read.
	Manifests []string
	// APIServerArgs are arguments of kube-apiserver. They come last and so override
	// the lab's.
	APIServerArgs []string
	// Transport is how StartVirtferry's agents have libvirt on other hosts connect to
	// their own; empty means tcp.
	Transport string
	// Metrics has managers and agents serve their metrics as in their pods: by TLS, to those
	// whom the API server lets read them. Component.MetricsAddress is where.
	Metrics bool
	// AgentArgs are arguments of StartVirtferry's agents. They come last and so override
	// the lab's.
	AgentArgs []string
	// Binary is the virtferry executable. Empty means ${VIRTFERRY_BINARY} or, when
	// that is empty too, one built from this module when it is first needed.
	Binary string
	// StateBase is where the state directory is made; empty means the temporary
	// directory.
	StateBase string
	// KeepState leaves the state directory, with all logs, when the lab stops. A
	// later lab removes it, once this process has ended.
	KeepState bool
	// Log is told what the lab is doing when it takes long. It may be called
	// concurrently; nil means nobody is told.
	Log func(format string, args ...any)
}

// Lab is a running lab. Its methods may be called concurrently.
type Lab struct {
	options Options
	dir     string
	logDir  string
	images  Images
	spawner *spawner
	network *network
	// authority signs the hosts' certificates.
	authority *authority
	// capabilitiesCache holds what libvirtd found out about QEMU on the machine's own system.
	capabilitiesCache string
	// roots are the root file systems of the hosts' generations, but for the machine's own.
	roots map[Generation]string

	mu           sync.Mutex
	starting     []*Host // All that AddHost began with, for Stop.
	hosts        []*Host // Those that are ready, by name.
	guests       []*Guest
	peers        []*Peer
	controlPlane *ControlPlane
	components   []*Component

	binary   builtBinary
	stopOnce sync.Once
	stopErr  error
	// stopped is closed once the lab is down.
	stopped chan struct{}
}

// Start starts a lab: its control plane and all hosts, at the same time. The
// context bounds the start only; the lab runs until Stop, or until the process
// ends. On error everything that was started is stopped again.
func Start(ctx context.Context, options Options) (*Lab, error) {
	if options.Log == nil {
		options.Log = func(string, ...any) {}
	}
	if options.StateBase == "" {
		options.StateBase = os.TempDir()
	}
	if err := Preflight(options); err != nil {
		return nil, err
	}
	if err := removeStale(options.StateBase, options.Log); err != nil {
		return nil, err
	}
	l, err := newLab(options)
	if err != nil {
		return nil, err
	}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the lab: %w", err), l.Stop())
	}
	return l, nil
}

// newLab makes the state directory and an empty lab.
func newLab(options Options) (*Lab, error) {
	dir, err := newStateDir(options.StateBase)
	if err != nil {
		return nil, err
	}
	if len(dir) > maxStateDir {
		return nil, errors.Join(fmt.Errorf("the state directory %s is too deep for sockets: choose a shorter StateBase or TMPDIR", dir), os.Remove(dir))
	}
	l := &Lab{options: options, dir: dir, logDir: filepath.Join(dir, "log"), spawner: newSpawner(), stopped: make(chan struct{})}
	for _, d := range []string{l.logDir, l.SharedDir()} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("making the state directory: %w", err), l.Stop())
		}
	}
	return l, nil
}

// start starts everything that the options ask for.
func (l *Lab) start(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if l.options.ControlPlane {
		group.Go(func() error { return l.startControlPlane(ctx) })
	}
	if l.options.Hosts > 0 {
		group.Go(func() error { return l.startHosts(ctx, l.options.Hosts) })
	}
	return group.Wait()
}

// startHosts prepares what hosts share and starts the first ones.
func (l *Lab) startHosts(ctx context.Context, count int) error {
	images, err := PrepareImages(ctx, l.options.Log)
	if err != nil {
		return err
	}
	l.images = images
	if l.authority, err = newAuthority(); err != nil {
		return err
	}
	cache, err := CacheDir()
	if err != nil {
		return err
	}
	l.capabilitiesCache = filepath.Join(cache, "qemu-capabilities")
	if l.roots, err = prepareRoots(ctx, l.options.Generations, l.options.Log); err != nil {
		return err
	}
	if err := os.WriteFile(l.hostsFile(), nil, 0o644); err != nil {
		return fmt.Errorf("making the hosts file: %w", err)
	}
	l.network, err = newNetwork(ctx, l.spawner, l.logDir)
	if err != nil {
		return fmt.Errorf("making the switch: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for range count {
		group.Go(func() error {
			_, err := l.AddHost(ctx)
			return err
		})
	}
	return group.Wait()
}

// AddHost starts one more host and returns it when its libvirtd answers. All
// hosts know each other by name.
func (l *Lab) AddHost(ctx context.Context) (*Host, error) {
	h, err := l.newHost()
	if err != nil {
		return nil, err
	}
	if err := l.startHost(ctx, h); err != nil {
		return nil, errors.Join(fmt.Errorf("starting host %s: %w", h.name, err), h.kill(context.WithoutCancel(ctx)))
	}
	l.mu.Lock()
	place, _ := slices.BinarySearchFunc(l.hosts, h.name, func(h *Host, name string) int { return strings.Compare(h.name, name) })
	l.hosts = slices.Insert(slices.Clone(l.hosts), place, h)
	guests := l.guests
	l.mu.Unlock()
	for _, g := range guests {
		if err := g.ticks.follow(h); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// newHost registers the next host, so that Stop knows it whatever becomes of it.
func (l *Lab) newHost() (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.network == nil {
		return nil, errors.New("adding a host: the lab was started without any")
	}
	index := len(l.starting)
	if index >= maxHosts {
		return nil, fmt.Errorf("adding a host: there are names for %d only", maxHosts)
	}
	h := newHost(l, index)
	l.starting = append(l.starting, h)
	var table strings.Builder
	fmt.Fprintln(&table, "127.0.0.1 localhost")
	for _, h := range l.starting {
		fmt.Fprintf(&table, "%s %s\n", h.address, h.name)
	}
	// Written in place: the file itself is mounted in every host.
	if err := os.WriteFile(l.hostsFile(), []byte(table.String()), 0o644); err != nil {
		return nil, fmt.Errorf("writing the hosts file: %w", err)
	}
	return h, nil
}

// newHost makes the host of an index, which decides its name and address.
func newHost(l *Lab, index int) *Host {
	address := netip.MustParseAddr(firstHostAddress)
	for range index {
		address = address.Next()
	}
	name := fmt.Sprintf("node-%c", 'a'+index)
	h := &Host{lab: l, name: name, address: address, dir: filepath.Join(l.dir, name)}
	if index < len(l.options.Generations) {
		h.generation = l.options.Generations[index]
	}
	return h
}

// Hosts returns the hosts in the order of their names.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.hosts)
}

// Host returns a host by name, or nil.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts() {
		if h.name == name {
			return h
		}
	}
	return nil
}

// Dir is the lab's state directory. It goes when the lab stops.
func (l *Lab) Dir() string { return l.dir }

// LogDir holds the logs of all the lab's processes.
func (l *Lab) LogDir() string { return l.logDir }

// SharedDir is where the constant SharedDir lies outside of the hosts.
func (l *Lab) SharedDir() string { return filepath.Join(l.dir, "shared") }

// hostsFile is what all hosts see as /etc/hosts.
func (l *Lab) hostsFile() string { return filepath.Join(l.dir, "hosts") }

// Stop takes the lab down: everything it started, within a few seconds, and
// nothing else. Virtferry's own processes are asked to end and have two seconds
// to do so; the rest is killed. Further calls return what the first did.
func (l *Lab) Stop() error {
	l.stopOnce.Do(func() {
		defer close(l.stopped)
		l.stopErr = l.stop()
	})
	return l.stopErr
}

// EndGrace is how long commands may take to end by themselves once they are interrupted.
const EndGrace = 2 * time.Second

// EndWith has the process end soon after interrupted is closed, as by a signal: whoever uses the lab has grace to
// end by itself, and is overtaken then. The lab is taken down, and the process ends with code 1. A lab that is stopped
// before that is left alone, and so is its process.
func (l *Lab) EndWith(interrupted <-chan struct{}, grace time.Duration) {
	// unwind is how long those may take who have lost their lab. Other labs of the process are stopped meanwhile.
	const unwind = time.Second
	overtaken := func(done <-chan struct{}, after <-chan time.Time) bool {
		select {
		case <-done:
		case <-after:
		case <-l.stopped:
		}
		select {
		case <-l.stopped: // Maybe at the same moment.
			return false
		default:
			return true
		}
	}
	go func() {
		if !overtaken(interrupted, nil) || !overtaken(nil, time.After(grace)) {
			return
		}
		if err := l.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "lab:", err)
		}
		time.Sleep(unwind)
		fmt.Fprintln(os.Stderr, "lab: interrupted")
		os.Exit(1)
	}()
}

func (l *Lab) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	l.mu.Lock()
	components, hosts, guests, peers, controlPlane := l.components, l.starting, l.guests, l.peers, l.controlPlane
	l.mu.Unlock()

	var wait sync.WaitGroup
	for _, c := range components {
		wait.Go(func() { c.stop(componentGrace) })
	}
	wait.Wait()
	for _, g := range guests {
		g.ticks.stop()
	}
	var group errgroup.Group
	for _, h := range hosts {
		group.Go(func() error { return h.kill(ctx) })
	}
	for _, p := range peers {
		group.Go(func() error { return p.stop(ctx) })
	}
	if controlPlane != nil {
		group.Go(func() error { return controlPlane.stop(ctx) })
	}
	errs := []error{group.Wait()}
	if l.network != nil {
		errs = append(errs, l.network.stop(ctx))
	}
	l.spawner.stop()
	if !l.options.KeepState {
		errs = append(errs, os.RemoveAll(l.dir))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stopping the lab: %w", err)
	}
	return nil
}
