//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/pkg/hypervisor/libvirt"
	"github.com/virtferry/virtferry/test/lab"
)

// bootTimeout is how long a guest may take to boot, which mostly takes three seconds.
const bootTimeout = 45 * time.Second

// pollInterval is the time between two looks at something that is waited for.
const pollInterval = 20 * time.Millisecond

// The service accounts of Virtferry, as in config/.
const (
	managerAccount = "virtferry-manager"
	agentAccount   = "virtferry-agent"
)

// world is the lab in which all cases happen, one after the other.
type world struct {
	lab     *lab.Lab
	api     client.WithWatch
	manager *daemon
	agents  map[string]*daemon
	// events are connections to the hosts' libvirt, for the harness alone.
	events map[string]*libvirt.Client
	// guests are kept from case to case for as long as they are well.
	guests map[guestKind]*lab.Guest
	// crowd are the guests that move beside that of a case.
	crowd []*lab.Guest
	made  int
	// read is how much of each log was seen.
	read map[string]int
	stop context.CancelFunc
}

// guestKind is what guests may differ in.
type guestKind struct {
	transient bool
	// paused is one that its user has paused before it is moved.
	paused bool
	// disk is one with a disk that only its host has.
	disk bool
	// frozen is one with an agent, which is frozen for its switch-over.
	frozen bool
}

func newWorld(ctx context.Context, l *lab.Lab) (*world, error) {
	manager, err := l.StartVirtferry(ctx)
	if err != nil {
		return nil, err
	}
	api, err := l.ControlPlane().NewClient()
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	w := &world{
		lab: l, api: api, agents: map[string]*daemon{}, events: map[string]*libvirt.Client{},
		guests: map[guestKind]*lab.Guest{}, read: map[string]int{}, stop: stop,
	}
	if w.manager, err = newDaemon(ctx, l, manager, lab.Account{Namespace: lab.SystemNamespace, Name: managerAccount}); err != nil {
		return w, err
	}
	if err := w.makeRoom(ctx); err != nil {
		return w, err
	}
	for _, h := range l.Hosts() {
		account := lab.Account{Namespace: lab.SystemNamespace, Name: agentAccount, Node: h.Name()}
		if w.agents[h.Name()], err = newDaemon(ctx, l, h.Agent(), account); err != nil {
			return w, err
		}
		if w.events[h.Name()], err = libvirt.New(libvirt.Config{URI: h.LibvirtURI()}); err != nil {
			return w, err
		}
		go func() { _ = w.events[h.Name()].Run(running) }() // It ends with its context.
	}
	for _, d := range w.daemons() {
		go d.supervise(running)
	}
	return w, nil
}

// newDaemon restarts a component so that it reaches the API server by a link of
// its own.
func newDaemon(ctx context.Context, l *lab.Lab, c *lab.Component, account lab.Account) (*daemon, error) {
	kubeconfig, err := l.ControlPlane().AccountKubeconfig(ctx, account)
	if err != nil {
		return nil, err
	}
	link, err := newAPILink(kubeconfig)
	if err != nil {
		return nil, err
	}
	return &daemon{Component: c, api: link}, c.Restart(ctx)
}

func (w *world) daemons() []*daemon {
	var all []*daemon
	if w.manager != nil {
		all = append(all, w.manager)
	}
	for _, d := range w.agents {
		all = append(all, d)
	}
	return all
}

func (w *world) close() {
	w.stop()
	for _, d := range w.daemons() {
		d.api.close()
	}
}

// heal makes everything run and reach everything else, whatever a case has done,
// and returns when all is well.
func (w *world) heal(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	errs := make([]error, 0, 8)
	control := w.lab.ControlPlane()
	for _, p := range []*lab.Process{control.Etcd(), control.APIServer()} {
		errs = append(errs, p.Signal(syscall.SIGCONT))
	}
	errs = append(errs, control.StartEtcd(ctx), control.StartAPIServer(ctx))
	for _, h := range w.lab.Hosts() {
		if h.LibvirtdPID() != 0 {
			errs = append(errs, h.KillLibvirtd(ctx, syscall.SIGCONT))
		}
		errs = append(errs, h.Reconnect(ctx), h.ClearShaping(ctx), h.StartLibvirtd(ctx))
	}
	for _, d := range w.daemons() {
		d.api.mend()
		errs = append(errs, d.Resume(), d.start(), d.WaitReady(ctx))
	}
	for _, h := range w.lab.Hosts() {
		errs = append(errs, h.WaitUsable(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bringing the lab back to health: %w", err)
	}
	return nil
}

// other returns the host that the given one is not.
func (w *world) other(h *lab.Host) *lab.Host {
	for _, other := range w.lab.Hosts() {
		if other != h {
			return other
		}
	}
	return nil
}

// Every guest writes to a working set that cannot be compressed, once it is told
// to, and ticks fast, so that a few ticks do not take long.
const (
	workingSetMiB = 24
	tickPeriod    = 200 * time.Millisecond
)

// guest returns a guest that is well and the host where it runs.
func (w *world) guest(ctx context.Context, kind guestKind) (*lab.Guest, *lab.Host, error) {
	if g := w.guests[kind]; g != nil {
		if on := g.RunningOn(ctx); on != nil {
			return g, on, nil
		}
		w.discard(ctx, g)
	}
	g, err := w.boot(ctx, kind)
	if err != nil {
		// In hundreds of boots, one was seen not to come to its first tick. That is no part of
		// what is tried.
		progressf("trying another guest: %v", err)
		g, err = w.boot(ctx, kind)
	}
	return g, w.lab.Hosts()[0], err
}

// boot starts a guest on the first host and waits until it ticks.
func (w *world) boot(ctx context.Context, kind guestKind) (*lab.Guest, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	host := w.lab.Hosts()[0]
	w.made++
	name := fmt.Sprintf("guest-%d", w.made)
	config := lab.GuestConfig{
		Name: name, Persistent: !kind.transient, TickPeriod: tickPeriod,
		Load: lab.Load{WorkingSetMiB: workingSetMiB}, Disks: kind.disks(name), Agent: kind.frozen,
	}
	if kind.disk {
		config.Load.DiskMiBps = diskMiBps
	}
	g, err := host.StartGuest(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err = g.Ticks().Wait(ctx, host.Name(), 2); err != nil {
		state, _ := host.Virsh(context.WithoutCancel(ctx), "domstate", "--reason", g.UUID())
		console, _ := os.ReadFile(host.Path(lab.ConsolePath(g.Name())))
		err = fmt.Errorf("%w; it is %s, and its console ends with %q", err, strings.TrimSpace(state), console[max(0, len(console)-400):])
		w.discard(context.WithoutCancel(ctx), g)
		return nil, err
	}
	w.guests[kind] = g
	return g, nil
}

// discard removes a guest from wherever it is.
func (w *world) discard(ctx context.Context, g *lab.Guest) {
	for kind, known := range w.guests {
		if known == g {
			delete(w.guests, kind)
		}
	}
	if err := g.Remove(ctx); err != nil {
		progressf("%v", err)
	}
	// Where a domain was in a job that nobody ends.
	for _, h := range w.lab.Hosts() {
		_ = h.KillQEMU(g.Name())
		_, _ = h.Virsh(ctx, "destroy", g.UUID())
		_, _ = h.Virsh(ctx, "undefine", g.UUID())
		_, _ = h.Exec(ctx, "sh", "-c", "rm -f "+imageOf(g)+"*")
	}
}

// news returns what Virtferry's processes have logged since the last time.
func (w *world) news() []string {
	var lines []string
	for _, d := range w.daemons() {
		text, err := os.ReadFile(d.LogPath())
		if err != nil {
			progressf("%v", err)
			continue
		}
		fresh := string(text[min(w.read[d.LogPath()], len(text)):])
		w.read[d.LogPath()] = len(text)
		for line := range strings.Lines(fresh) {
			lines = append(lines, d.Name()+": "+strings.TrimSpace(line))
		}
	}
	return lines
}

// keep writes a case's history beside the lab's logs, for those who keep them.
func (w *world) keep(number int, c result) {
	file := filepath.Join(w.lab.LogDir(), fmt.Sprintf("case-%d.log", number))
	if err := os.WriteFile(file, []byte(c.name()+"\n"+strings.Join(c.history, "\n")+"\n"), 0o600); err != nil {
		progressf("%v", err)
	}
}
