package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/internal/metrics"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor/libvirt"
)

// maxLinkMbps is the fastest link that a Hypervisor can tell of.
const maxLinkMbps = 10_000_000

type agentFlags struct {
	commonFlags
	nodeName         string
	libvirtURI       string
	migrationAddress string
	dataAddress      string
	disksAddress     string
	listenAddress    string
	transport        string
	peerSocketDir    string
	serialPorts      string
	allowedPaths     []string
	lockDir          string
	hostRoot         string
	migrationPorts   string
	linkMbps         int32
	sharedCPUs       string
	dedicatedCPUs    string
	nameGuests       bool
	qps              float32
	burst            int
}

func newAgentCommand() *cobra.Command { return agentCommand(&agentFlags{}) }

// agentCommand is the command whose flags are put into f.
func agentCommand(f *agentFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of a node, which migrates guests from and to it through its libvirt",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return runAgent(ctrl.SetupSignalHandler(), f) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.nodeName, "node-name", os.Getenv("NODE_NAME"), "name of the node; defaults to $NODE_NAME")
	flags.StringVar(&f.libvirtURI, "libvirt-uri", "",
		"URI of the node's libvirt; if it is left out, the agent finds virtqemud's socket or else libvirtd's in /run/libvirt")
	flags.StringVar(&f.migrationAddress, "migration-address", os.Getenv("NODE_IP"),
		"IP address or host name at which libvirt on other nodes reaches this node; defaults to $NODE_IP")
	flags.StringVar(&f.dataAddress, "migration-data-address", "",
		"IP address or host name at which guests' memory and disks arrive on this node, if migrations have a network of their own; defaults to --migration-address")
	flags.StringVar(&f.disksAddress, "migration-disks-address", "",
		"IP address at which disks that are copied arrive on this node, if they have a network of their own; defaults to --migration-data-address")
	flags.StringVar(&f.listenAddress, "listen-address", "",
		"IP address on which graphics and serial consoles of received guests listen; defaults to --migration-address")
	flags.StringVar(&f.transport, "transport", string(v1alpha1.TransportTLS), "how libvirt on other nodes connects to libvirt on this one: tls, ssh, unix or tcp")
	flags.StringVar(&f.peerSocketDir, "peer-socket-dir", agent.DefaultPeerSocketDir,
		"directory on this node with a socket NODE.sock for each other node whose --transport is unix, which leads to libvirt there")
	flags.StringVar(&f.serialPorts, "serial-ports", "10000-10999", "range of TCP ports for serial consoles of received guests")
	flags.StringSliceVar(&f.allowedPaths, "allowed-paths", []string{"/var/lib/libvirt/images"},
		"directories of this node below which migrate data may name files, devices and sockets")
	flags.StringVar(&f.hostRoot, "host-root", "",
		"directory in which the node's own /etc is seen; if it is left out, nothing is known of the node's certificates")
	flags.StringVar(&f.migrationPorts, "migration-ports", "",
		"range of TCP ports on which guests arrive, as the node's libvirt is configured; if it is left out, it is read from qemu.conf below --host-root if that is there")
	flags.Int32Var(&f.linkMbps, "migration-link-mbps", 0,
		"speed in Mbit/s of the link on which guests arrive and leave, such as 25000, for the forecasts of dry runs; 0 is unknown")
	flags.StringVar(&f.sharedCPUs, "shared-cpus", "", "CPUs of this node, such as 0-3,8, for guests whose CPUs are not pinned")
	flags.StringVar(&f.dedicatedCPUs, "dedicated-cpus", "", "CPUs of this node for guests whose CPUs are pinned")
	flags.StringVar(&f.lockDir, "lock-dir", "/run/virtferry", "directory on the node for the lock that keeps a second agent from running")
	flags.BoolVar(&f.nameGuests, "metrics-guest-names", false,
		"export metrics of each migration under way, which name it and its guest")
	// An agent answers to guests that wait: it must not be held back.
	flags.Float32Var(&f.qps, "kube-api-qps", 100, "how many requests per second the agent may send to the API server in the long run")
	flags.IntVar(&f.burst, "kube-api-burst", 200, "how many requests it may send at once, beyond that rate")
	return cmd
}

// checkAddresses checks where other nodes are to reach this one.
func (f *agentFlags) checkAddresses() error {
	for _, a := range []struct{ flag, address string }{
		{"--migration-address", f.migrationAddress}, {"--migration-data-address", cmp.Or(f.dataAddress, f.migrationAddress)},
	} {
		if err := agent.CheckAddress(a.address); err != nil {
			return fmt.Errorf("%s must be an IP address or a host name at which other nodes reach this one: %w", a.flag, err)
		}
	}
	if err := agent.CheckDisksAddress(f.disksAddress); err != nil {
		return fmt.Errorf("--migration-disks-address must be an IP address of this node: %w", err)
	}
	return nil
}

// receiveConfig checks the flags that say how the node receives guests.
func (f *agentFlags) receiveConfig() (agent.ReceiveConfig, error) {
	c := agent.ReceiveConfig{Endpoint: v1alpha1.TargetEndpoint{Transport: v1alpha1.Transport(f.transport), Address: f.migrationAddress, DataAddress: f.dataAddress, DisksAddress: f.disksAddress}}
	if f.nodeName == "" {
		return c, errors.New("--node-name is missing: set it to the name of this node")
	}
	if err := f.checkAddresses(); err != nil {
		return c, err
	}
	switch c.Endpoint.Transport {
	case v1alpha1.TransportTLS, v1alpha1.TransportTCP, v1alpha1.TransportSSH, v1alpha1.TransportUnix:
	default:
		return c, fmt.Errorf("--transport is %q: it must be tls, ssh, unix or tcp", f.transport)
	}
	if err := agent.CheckPeerSocketDir(f.peerSocketDir); err != nil {
		return c, fmt.Errorf("--peer-socket-dir is %q: %w", f.peerSocketDir, err)
	}
	var err error
	if c.ListenAddress, err = netip.ParseAddr(cmp.Or(f.listenAddress, f.migrationAddress)); err != nil {
		return c, fmt.Errorf("--listen-address must be an IP address, and so must --migration-address if --listen-address is left out: %w", err)
	}
	for _, p := range f.allowedPaths {
		if !filepath.IsAbs(p) || filepath.Clean(p) != strings.TrimSuffix(p, "/") {
			return c, fmt.Errorf("--allowed-paths contains %q: it must list absolute paths of directories, such as /var/lib/libvirt/images", p)
		}
	}
	c.AllowedPaths = f.allowedPaths
	c.CgroupVersion = hostfiles.CgroupVersion(os.DirFS("/"))
	if c.SerialPorts, err = parsePortRange("--serial-ports", f.serialPorts); err != nil {
		return c, err
	}
	if f.migrationPorts != "" {
		if c.MigrationPorts, err = parsePortRange("--migration-ports", f.migrationPorts); err != nil {
			return c, err
		}
	}
	err = f.readHost(&c)
	return c, err
}

// readHost reads what the host has for guests that nobody can find out.
func (f *agentFlags) readHost(c *agent.ReceiveConfig) error {
	if c.LinkMbps = f.linkMbps; c.LinkMbps < 0 || c.LinkMbps > maxLinkMbps {
		return fmt.Errorf("--migration-link-mbps is %d: it must be between 0 and %d", f.linkMbps, maxLinkMbps)
	}
	return f.readCPUs(c)
}

// readCPUs reads which of the host's CPUs are for which guests.
func (f *agentFlags) readCPUs(c *agent.ReceiveConfig) error {
	for _, set := range []struct {
		flag, text string
		to         *string
	}{{"--shared-cpus", f.sharedCPUs, &c.SharedCPUs}, {"--dedicated-cpus", f.dedicatedCPUs, &c.DedicatedCPUs}} {
		if set.text == "" {
			continue
		}
		var err error
		if *set.to, err = agent.ParseCPUs(set.text); err != nil {
			return fmt.Errorf("%s must be CPUs of this node, such as 0-3,8: %w", set.flag, err)
		}
	}
	return nil
}

// files are those of the host, as far as the agent sees them.
func (f *agentFlags) files() agent.HostFiles {
	files := agent.HostFiles{System: os.DirFS("/")}
	if f.hostRoot != "" {
		files.Host = hostfiles.Root(f.hostRoot)
	}
	return files
}

func parsePortRange(flag, s string) (agent.PortRange, error) {
	first, last, found := strings.Cut(s, "-")
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if !found || errA != nil || errB != nil || a == 0 || a > b {
		return agent.PortRange{}, fmt.Errorf("%s is %q: it must be a range of ports between 1 and 65535, such as 10000-10999", flag, s)
	}
	return agent.PortRange{First: uint16(a), Last: uint16(b)}, nil
}

func runAgent(ctx context.Context, f *agentFlags) error {
	receive, err := f.receiveConfig()
	if err != nil {
		return err
	}
	served, err := f.metrics.Options()
	if err != nil {
		return err
	}
	config, err := f.restConfig()
	if err != nil {
		return err
	}
	if f.qps <= 0 || f.burst <= 0 {
		return errors.New("--kube-api-qps and --kube-api-burst must be positive")
	}
	config.QPS, config.Burst = f.qps, f.burst
	log := f.logger()
	unlock, err := lockNode(ctx, log, f.lockDir, f.nodeName)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: newScheme(), Logger: log,
		Metrics:                served,
		HealthProbeBindAddress: f.healthAddress,
		PprofBindAddress:       f.profiles,
	})
	if err != nil {
		return fmt.Errorf("creating the agent: %w", err)
	}
	hv, err := libvirt.New(libvirt.Config{URI: f.libvirtURI, Logger: slog.New(logr.ToSlogHandler(log.WithName("libvirt")))})
	if err != nil {
		return fmt.Errorf("setting up libvirt: %w", err)
	}
	if err := setupAgent(ctx, mgr, f, hv, receive); err != nil {
		return err
	}
	defer runLibvirt(ctx, hv)()
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the agent: %w", err)
	}
	return nil
}

// runLibvirt runs the libvirt client until close, not until ctx ends: sessions that
// end with ctx still need it, to hand their migrations over.
func runLibvirt(ctx context.Context, hv *libvirt.Client) (closeClient func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hv.Run(ctx) // It fails only if it is run twice.
	}()
	return func() {
		cancel()
		<-done
	}
}

func setupAgent(ctx context.Context, mgr ctrl.Manager, f *agentFlags, hv *libvirt.Client, receive agent.ReceiveConfig) error {
	n := &agent.Node{
		Name: f.nodeName, Hypervisor: hv, Receive: receive, Clock: clock.RealClock{}, Log: mgr.GetLogger(),
		Recorder: node.NewRecorder(mgr.GetClient(), mgr.GetAPIReader(), time.Now()),
		Listens:  agent.Listens,
		Peers:    agent.PeerSockets{Dir: f.peerSocketDir, Dial: agent.DialPeer},
		Secrets:  &node.SecretSource{Reader: mgr.GetAPIReader(), Node: f.nodeName},
		Files:    f.files(),
	}
	if err := mgr.Add(agent.NewLoans(n)); err != nil {
		return fmt.Errorf("adding what takes lent secrets back: %w", err)
	}
	recorder := &node.HypervisorRecorder{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Node: f.nodeName, Namespace: f.namespace, Clock: clock.RealClock{},
	}
	if err := recorder.Watch(ctx, mgr); err != nil {
		return err
	}
	n.Settings = recorder.Settings
	publisher := agent.NewPublisher(n, recorder)
	if err := mgr.Add(publisher); err != nil {
		return fmt.Errorf("adding the publisher: %w", err)
	}
	source, err := node.SetupSessions(mgr, "source", node.SourceNodeField, f.nodeName, agent.NewSourceSessions(n))
	if err != nil {
		return err
	}
	target, err := node.SetupSessions(mgr, "target", node.TargetNodeField, f.nodeName, agent.NewTargetSessions(n))
	if err != nil {
		return err
	}
	err = registerMetrics(
		&metrics.Agent{Node: f.nodeName, NameGuests: f.nameGuests, Load: n.Load, Contact: hv.Contact, Clock: clock.RealClock{}},
		cachesOf(map[string]*caches.Health{"source": source, "target": target}),
	)
	if err != nil {
		return err
	}
	return addAgentChecks(mgr, publisher)
}

func addAgentChecks(mgr ctrl.Manager, publisher *agent.Publisher) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding the health check: %w", err)
	}
	err := mgr.AddReadyzCheck("published", func(*http.Request) error {
		if !publisher.Published() {
			return errors.New("the node has not been published yet")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	return nil
}
