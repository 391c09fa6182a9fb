//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Places inside every host.
const (
	// SharedDir is a directory that all hosts see under the same path, for disks
	// on shared storage. From outside, it is Lab.SharedDir.
	SharedDir = "/var/lib/libvirt/shared"
	// PrivateDir is a directory that each host has for itself under the same
	// path, for disks that a migration must copy. From outside, it is
	// Host.Path(PrivateDir).
	PrivateDir = "/var/lib/libvirt/images"

	consoleDir = "/var/log/libvirt/console" // Consoles of guests, private to each host.
	controlDir = "/run/libvirt/control"     // Control sockets of guests, private to each host.
	systemEtc  = "/var/lib/libvirt/etc"     // The /etc of the system that the host runs: the machine's own, or its generation's.
	imageDir   = "/var/lib/libvirt/boot"    // The guests' kernel and initial RAM disk, the same on all hosts.
)

// privateDirs are the directories that each host has for itself. /run and /var/log are
// private as a whole, since daemons put more there than their own directory.
var privateDirs = []string{"/var/lib/libvirt", "/var/log", "/var/cache/libvirt", "/etc", "/run"}

// Host is a libvirt host of the lab. Its methods may be called concurrently.
type Host struct {
	lab     *Lab
	name    string
	address netip.Addr
	dir     string
	// generation is which system the host runs, and root its root file system; both are
	// empty for the machine's own.
	generation Generation
	root       string
	init       *Process
	inside     *spawner

	mu       sync.Mutex
	libvirtd *Process            // Or virtqemud.
	beside   map[string]*Process // The other modular daemons.
	agent    *Component

	linkMu    sync.Mutex
	relay     *relay // While packets are delayed.
	unplugged bool   // Since the host was killed.
}

// Name is the host's name and its Kubernetes node's: node-a, node-b, and so on.
func (h *Host) Name() string { return h.name }

// Address is the host's address on the management network, on which it serves
// libvirt, migrations and consoles. It exists inside the lab only.
func (h *Host) Address() string { return h.address.String() }

// Path returns where a path inside the host lies outside of it. Only what is
// below the host's private directories, such as PrivateDir and /run/libvirt, or
// below SharedDir, has such a place; other paths are the same for all hosts of a
// generation, and read-only unless that is the machine's own.
func (h *Host) Path(inside string) string {
	inside = filepath.Clean(inside)
	within := func(dir string) bool { return inside == dir || strings.HasPrefix(inside, dir+"/") }
	switch {
	case within(SharedDir):
		return filepath.Join(h.lab.SharedDir(), strings.TrimPrefix(inside, SharedDir))
	case slices.ContainsFunc(privateDirs, within):
		return filepath.Join(h.dir, inside)
	default:
		return h.root + inside
	}
}

// startHost makes the host's namespaces and network, and starts libvirtd there.
func (l *Lab) startHost(ctx context.Context, h *Host) error {
	h.root = l.roots[h.generation]
	binds, err := h.prepareDirs()
	if err != nil {
		return err
	}
	var root bind
	if h.root != "" {
		root = bind{h.root, filepath.Join(h.dir, "root")}
		if err := os.Mkdir(root.target, 0o755); err != nil {
			return fmt.Errorf("making a place for the root of host %s: %w", h.name, err)
		}
	}
	h.init, err = startHostInit(ctx, l.spawner, h.name, filepath.Join(l.logDir, h.name+".log"), root, binds)
	if err != nil {
		return err
	}
	h.inside, err = newSpawnerIn(h.init.PID(), hostNamespaces)
	if err != nil {
		return fmt.Errorf("entering host %s: %w", h.name, err)
	}
	if err := l.network.plug(ctx, h); err != nil {
		return err
	}
	if err := h.StartLibvirtd(ctx); err != nil {
		return err
	}
	return h.warmCapabilities(ctx)
}

// prepareDirs makes the host's private directories and configuration, and returns
// what to bind where: parents first, and /etc and /run last, which may hide what
// is bound before.
func (h *Host) prepareDirs() ([]bind, error) {
	for _, dir := range append([]string{PrivateDir, consoleDir, controlDir}, privateDirs...) {
		if err := os.MkdirAll(h.Path(dir), 0o755); err != nil {
			return nil, fmt.Errorf("making a directory of host %s: %w", h.name, err)
		}
	}
	// The mount points lie inside a private directory, so making them leaves no
	// trace on the machine.
	mounts := []bind{{h.lab.SharedDir(), SharedDir}, {h.lab.images.Dir, imageDir}, {h.systemEtc(), systemEtc}}
	for _, m := range mounts {
		if err := os.MkdirAll(filepath.Join(h.dir, m.target), 0o755); err != nil {
			return nil, fmt.Errorf("making a mount point of host %s: %w", h.name, err)
		}
	}
	if err := errors.Join(h.fillEtc(), h.loadCapabilities()); err != nil {
		return nil, fmt.Errorf("configuring host %s: %w", h.name, err)
	}
	var private []bind
	for _, dir := range privateDirs {
		private = append(private, bind{h.Path(dir), dir})
	}
	const libvirtDirs = 3 // The mounts go into the first of these.
	return slices.Concat(private[:libvirtDirs], mounts, private[libvirtDirs:], []bind{{h.lab.hostsFile(), "/etc/hosts"}}), nil
}

// Exec runs a command inside all of the host's namespaces and returns what it
// wrote to standard output. An error holds what it wrote to standard error.
func (h *Host) Exec(ctx context.Context, command string, args ...string) (string, error) {
	out, err := h.inside.run(ctx, command, args...)
	if err != nil {
		return out, fmt.Errorf("on %s: %w", h.name, err)
	}
	return out, nil
}

// Processes lists what runs inside the host.
func (h *Host) Processes() ([]HostProcess, error) { return processesInNamespace(h.init.PID()) }

// ReceivedBytes returns how many bytes the host has received over its links, from whomever.
func (h *Host) ReceivedBytes() (int64, error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", h.init.PID()))
	if err != nil {
		return 0, fmt.Errorf("reading the network counters of %s: %w", h.name, err)
	}
	var sum int64
	for line := range strings.Lines(string(table)) {
		name, counters, found := strings.Cut(line, ":")
		fields := strings.Fields(counters)
		if !found || len(fields) == 0 || strings.TrimSpace(name) == "lo" {
			continue
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the network counters of %s: %w", h.name, err)
		}
		sum += n
	}
	return sum, nil
}

// Listening lists the TCP addresses and ports on which something listens inside
// the host.
func (h *Host) Listening(context.Context) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, table := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", h.init.PID(), table))
		if err != nil {
			return nil, fmt.Errorf("reading the sockets of %s: %w", h.name, err)
		}
		found, err := parseListening(string(data))
		if err != nil {
			return nil, fmt.Errorf("reading the sockets of %s: %w", h.name, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// Listen listens on a TCP port of the host's own address, inside the host; 0 is one
// that is free.
func (h *Host) Listen(ctx context.Context, port uint16) (net.Listener, error) {
	var l net.Listener
	err := within(h.inside, func() (err error) {
		var config net.ListenConfig
		l, err = config.Listen(ctx, "tcp", netip.AddrPortFrom(h.address, port).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", h.name, err)
	}
	return l, nil
}

// Crash kills the host as a power failure does: libvirtd and all guests are gone
// at once, and nothing of them can be started again. The agent, which runs
// outside the host's namespaces, is killed with it.
func (h *Host) Crash(ctx context.Context) error {
	if agent := h.Agent(); agent != nil {
		if err := agent.Kill(ctx, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return h.kill(ctx)
}

// kill ends the host's first process, and with it everything inside the host. It
// may be called more than once.
func (h *Host) kill(ctx context.Context) error {
	var errs []error
	if h.init != nil {
		errs = append(errs, h.init.Kill(ctx, syscall.SIGKILL))
	}
	if h.inside != nil {
		h.inside.stop() // The thread holds the network and mount namespaces.
	}
	errs = append(errs, h.dropRelay())
	return errors.Join(errs...)
}
