//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// componentGrace is how long a manager or agent has to end when the lab stops.
const componentGrace = 2 * time.Second

// readyTimeout bounds WaitReady.
const readyTimeout = 60 * time.Second

// Component is one of Virtferry's own processes: a manager or an agent. It keeps
// its arguments and its log file across restarts. Its methods may be called
// concurrently.
type Component struct {
	lab     *Lab
	spawner *spawner // Whose network it lives in.
	name    string
	path    string
	args    []string
	health  string // The address of its health endpoint.
	metrics string // That of its metrics, or 0 for none.

	mu      sync.Mutex
	process *Process
}

// StartManager starts a manager, without waiting for it to be ready. Extra
// arguments come last and so override the lab's. Further managers compete with
// the first one for leadership.
func (l *Lab) StartManager(ctx context.Context, extraArgs ...string) (*Component, error) {
	return l.startComponent(ctx, l.spawner, "manager", []string{"manager"}, extraArgs)
}

// StartAgent starts the host's agent, without waiting for it to be ready. It runs
// outside the host's namespaces, and reaches libvirt by its socket and the host by its
// address, as an agent in a pod does; so CutOff does not cut it off from the control
// plane. Extra arguments come last and so override the lab's. The host's Node object is
// made when it is missing.
func (h *Host) StartAgent(ctx context.Context, extraArgs ...string) (*Component, error) {
	controlPlane := h.lab.ControlPlane()
	if controlPlane == nil {
		return nil, fmt.Errorf("starting the agent of %s: %w", h.name, errNoControlPlane)
	}
	if err := controlPlane.EnsureNode(ctx, h.name); err != nil {
		return nil, err
	}
	c, err := h.lab.startComponent(ctx, h.lab.network.inside, "agent-"+h.name, []string{
		"agent", "--node-name=" + h.name, "--libvirt-uri=" + h.LibvirtURI(), "--migration-address=" + h.Address(),
		"--host-root=" + h.dir,
	}, extraArgs)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.agent = c
	return c, nil
}

// Agent returns the agent that StartAgent started last, or nil.
func (h *Host) Agent() *Component {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.agent
}

// Components returns all managers and agents in the order of their start.
func (l *Lab) Components() []*Component {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.components)
}

// errNoControlPlane says what a component cannot do without.
var errNoControlPlane = errors.New("the lab has no control plane")

// startComponent starts one of Virtferry's processes under a name of its own, in the
// network that the spawner lives in.
func (l *Lab) startComponent(ctx context.Context, s *spawner, name string, args, extraArgs []string) (*Component, error) {
	controlPlane := l.ControlPlane()
	if controlPlane == nil {
		return nil, fmt.Errorf("starting %s: %w", name, errNoControlPlane)
	}
	path, err := l.Binary(ctx)
	if err != nil {
		return nil, err
	}
	health, err := freeAddress()
	if err != nil {
		return nil, err
	}
	metrics := noMetrics
	if l.options.Metrics {
		if metrics, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	args = append(args, "--kubeconfig="+controlPlane.Kubeconfig(),
		"--health-probe-bind-address="+health, "--metrics-bind-address="+metrics)
	c := &Component{lab: l, spawner: s, path: path, args: append(args, extraArgs...), health: health, metrics: metrics}
	l.mu.Lock()
	c.name = uniqueName(name, l.components)
	l.components = append(l.components, c)
	l.mu.Unlock()
	if err := c.Start(); err != nil {
		return nil, err
	}
	return c, nil
}

// noMetrics is the address at which none are served.
const noMetrics = "0"

// freeAddress returns an address of the loopback interface on which nobody listens now.
func freeAddress() (string, error) {
	port, err := freePort()
	return net.JoinHostPort(loopback, strconv.Itoa(port)), err
}

// uniqueName appends a number to a name that is taken.
func uniqueName(name string, taken []*Component) string {
	candidate := name
	for i := 2; slices.ContainsFunc(taken, func(c *Component) bool { return c.name == candidate }); i++ {
		candidate = fmt.Sprintf("%s-%d", name, i)
	}
	return candidate
}

// Name is "manager" or "agent-" and the host's name; a number follows when there
// are several.
func (c *Component) Name() string { return c.name }

// MetricsAddress is where it serves its metrics, for as long as it runs, if the lab was
// asked for that; see Options.Metrics. It can be reached from outside of the lab.
func (c *Component) MetricsAddress() string { return c.metrics }

// LogPath is the file that holds the output of all its processes.
func (c *Component) LogPath() string { return filepath.Join(c.lab.logDir, c.name+".log") }

// Process is the current, or last, process.
func (c *Component) Process() *Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.process
}

// Start starts the component with the arguments it had before. It does nothing
// when it runs.
func (c *Component) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process != nil && c.process.Running() {
		return nil
	}
	if err := c.connect(); err != nil {
		return err
	}
	p, err := c.spawner.startProcess(c.name, c.LogPath(), exec.Command(c.path, c.args...))
	if err != nil {
		return err
	}
	c.process = p
	return nil
}

// connect lets a component in another network reach the API server that its kubeconfig
// names now, and lets this process reach its health endpoint and its metrics.
func (c *Component) connect() error {
	network := c.lab.network
	if network == nil || c.spawner != network.inside {
		return nil
	}
	server, err := serverOf(c.args)
	if err != nil {
		return err
	}
	err = errors.Join(network.reach(server), network.publish(c.health))
	if c.metrics != noMetrics {
		err = errors.Join(err, network.publish(c.metrics))
	}
	return err
}

// serverOf returns the address of the API server in the kubeconfig that arguments name last.
func serverOf(args []string) (string, error) {
	var path string
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--kubeconfig="); ok {
			path = value
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig: %w", err)
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		return "", fmt.Errorf("reading the API server's address in %s: %w", path, err)
	}
	return server.Host, nil
}

// Kill sends a signal and waits for the process to end. A component that does not
// run is no error.
func (c *Component) Kill(ctx context.Context, signal syscall.Signal) error {
	p := c.Process()
	if p == nil {
		return nil
	}
	return p.Kill(ctx, signal)
}

// Pause stops the process without ending it, as a node that hangs does; Resume
// lets it go on.
func (c *Component) Pause() error { return c.Process().Signal(syscall.SIGSTOP) }

// Resume undoes Pause.
func (c *Component) Resume() error { return c.Process().Signal(syscall.SIGCONT) }

// Restart ends the component by SIGTERM and starts it again.
func (c *Component) Restart(ctx context.Context) error {
	if err := c.Kill(ctx, syscall.SIGTERM); err != nil {
		return err
	}
	return c.Start()
}

// WaitReady waits until the component says that it is ready. It fails at once
// when the process ends.
func (c *Component) WaitReady(ctx context.Context) error {
	p := c.Process()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.Exited():
			cancel(fmt.Errorf("%s ended: %w: %s", c.name, p.err, p.LogTail(10)))
		case <-ctx.Done():
		}
	}()
	err := poll(ctx, readyTimeout, c.name+" to be ready", func(ctx context.Context) error {
		return checkHealth(ctx, http.DefaultClient, "http://"+c.health+"/readyz")
	})
	if err != nil && !p.Running() {
		return context.Cause(ctx)
	}
	return err
}

// stop ends the component within grace, and a moment.
func (c *Component) stop(grace time.Duration) {
	if p := c.Process(); p != nil {
		_ = p.Signal(syscall.SIGCONT) // A paused process cannot end.
		p.Stop(grace)
	}
}
