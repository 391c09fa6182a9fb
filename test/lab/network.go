//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The lab's addresses are of the block reserved for documentation (RFC 5737).
// They exist inside the lab's namespaces only.
const (
	networkPrefix    = "192.0.2.0/24"
	firstHostAddress = "192.0.2.11"
	// agentsAddress is the switch's own, from which agents reach the hosts.
	agentsAddress = "192.0.2.1/24"
)

// Ports by libvirt's defaults: those that QEMUs listen at for incoming migrations, and
// libvirtd's own.
const (
	migrationPorts = "49152:49215"
	libvirtPort    = "16509"
)

// Interfaces of every host. The management network carries libvirt, migrations
// and consoles; the guest network joins the hosts' GuestBridge.
const (
	ManagementLink = "eth0"
	guestLink      = "eth1"
	// GuestBridge is a Linux bridge on every host, joined to the bridges of the
	// same name on all other hosts.
	GuestBridge = "br0"
	// LocalBridge is a second Linux bridge on every host, joined to nothing.
	LocalBridge = "br-guest"
)

// Bridges of the switch, for the two networks.
const (
	managementBridge = "management"
	guestsBridge     = "guests"
)

// network is the switch that all hosts are plugged into: a network namespace
// without a name, held by a process that does nothing. Agents live in it as well: like
// pods, they are outside of the hosts' namespaces and reach the hosts' addresses.
type network struct {
	holder *Process
	inside *spawner

	mu       sync.Mutex
	gateways map[string]*gateway // By address.
}

// newNetwork starts the switch. It has two bridges: one for the management
// network, one for the guests'.
func newNetwork(ctx context.Context, s *spawner, logDir string) (*network, error) {
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	holder, err := s.startProcess("switch", filepath.Join(logDir, "switch.log"), cmd)
	if err != nil {
		return nil, err
	}
	inside, err := newSpawnerIn(holder.PID(), unix.CLONE_NEWNET)
	if err != nil {
		return nil, fmt.Errorf("entering the switch: %w", err)
	}
	n := &network{holder: holder, inside: inside, gateways: map[string]*gateway{}}
	for _, bridge := range []string{managementBridge, guestsBridge} {
		if err := n.ip(ctx, "link", "add", bridge, "up", "type", "bridge"); err != nil {
			return nil, err
		}
	}
	err = errors.Join(
		n.ip(ctx, "link", "set", "lo", "up"),
		n.ip(ctx, "address", "add", agentsAddress, "dev", managementBridge),
	)
	return n, err
}

// reach lets agents, which live in the switch, connect to an address of the
// loopback interface outside, such as the API server's.
func (n *network) reach(address string) error { return n.connect(n.inside, nil, address) }

// publish lets the outside connect to such an address of an agent.
func (n *network) publish(address string) error { return n.connect(nil, n.inside, address) }

func (n *network) connect(from, to *spawner, address string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gateways[address] != nil {
		return nil
	}
	g, err := newGateway(from, to, address)
	if err == nil {
		n.gateways[address] = g
	}
	return err
}

// stop takes the switch down. Its holder was started by the lab's own spawner.
func (n *network) stop(ctx context.Context) error {
	var errs []error
	n.mu.Lock()
	for _, g := range n.gateways {
		errs = append(errs, g.stop())
	}
	n.mu.Unlock()
	n.inside.stop()
	return errors.Join(append(errs, n.holder.Kill(ctx, syscall.SIGKILL))...)
}

// ip runs ip(8) in the switch.
func (n *network) ip(ctx context.Context, args ...string) error {
	_, err := n.inside.run(ctx, "ip", args...)
	return err
}

// ipBatch runs several commands of ip(8) in the switch, with next to no time
// between them.
func (n *network) ipBatch(ctx context.Context, commands ...string) error {
	_, err := n.inside.runInput(ctx, strings.Join(commands, "\n"), "ip", "-batch", "-")
	return err
}

// ports are the switch's interfaces towards a host. Interface names are limited
// to 15 characters, which node-a to node-z keep well.
func ports(host string) (management, guests string) { return host, host + "-guest" }

// plug connects a host to both networks and sets the host's side up.
func (n *network) plug(ctx context.Context, h *Host) error {
	management, guests := ports(h.name)
	pid := strconv.Itoa(h.init.PID())
	for _, args := range [][]string{
		{"link", "add", management, "up", "master", managementBridge, "type", "veth", "peer", "name", ManagementLink, "netns", pid},
		{"link", "add", guests, "up", "master", guestsBridge, "type", "veth", "peer", "name", guestLink, "netns", pid},
	} {
		if err := n.ip(ctx, args...); err != nil {
			return fmt.Errorf("plugging %s in: %w", h.name, err)
		}
	}
	prefix := netip.MustParsePrefix(networkPrefix).Bits()
	for _, args := range [][]string{
		{"link", "set", ManagementLink, "up"},
		{"addr", "add", netip.PrefixFrom(h.address, prefix).String(), "dev", ManagementLink},
		{"link", "add", GuestBridge, "up", "type", "bridge"},
		{"link", "set", guestLink, "up", "master", GuestBridge},
		{"link", "add", LocalBridge, "up", "type", "bridge"},
	} {
		if _, err := h.inside.run(ctx, "ip", args...); err != nil {
			return fmt.Errorf("setting up the network of %s: %w", h.name, err)
		}
	}
	return nil
}

// CutOff takes the host's links down on the switch's side, as a pulled cable or
// a dead switch does: no packet passes in either direction, and nobody is told.
// The host's libvirt socket stays reachable for the test and for an agent.
func (h *Host) CutOff(ctx context.Context) error { return h.setPorts(ctx, "down") }

// Reconnect undoes CutOff.
func (h *Host) Reconnect(ctx context.Context) error { return h.setPorts(ctx, "up") }

// setPorts sets the state of the switch's interfaces towards the host.
func (h *Host) setPorts(ctx context.Context, state string) error {
	management, guests := ports(h.name)
	for _, port := range []string{management, guests} {
		if err := h.lab.network.ip(ctx, "link", "set", port, state); err != nil {
			return fmt.Errorf("setting the links of %s %s: %w", h.name, state, err)
		}
	}
	return nil
}

// Deafen has the host hear no more of what the targets of its migrations tell it, be
// it libvirt or QEMU, but that they receive: data goes on to the targets, none comes
// back, and no end of a connection.
func (h *Host) Deafen(ctx context.Context) error { return h.deafness(ctx, "--append") }

// Undeafen undoes Deafen.
func (h *Host) Undeafen(ctx context.Context) error { return h.deafness(ctx, "--delete") }

func (h *Host) deafness(ctx context.Context, command string) error {
	for _, ports := range []string{migrationPorts, libvirtPort} {
		for _, flag := range []string{"PSH", "FIN", "RST"} {
			_, err := h.inside.run(ctx, "iptables", "--wait", command, "INPUT", "--in-interface", ManagementLink,
				"--protocol", "tcp", "--source-port", ports, "--tcp-flags", flag, flag, "--jump", "DROP")
			if err != nil {
				return fmt.Errorf("what %s hears: %w", h.name, err)
			}
		}
	}
	return nil
}

// LimitBandwidth limits the host's management network to mibps MiB/s in each
// direction, as a slower network card would. It replaces an earlier limit. A
// delay stays.
func (h *Host) LimitBandwidth(ctx context.Context, mibps int) error {
	// The bucket must hold what one timer tick lets through, and a whole offloaded
	// segment of 64 KiB.
	burst := max(128<<10, mibps<<20/100)
	return h.shape(ctx, "tbf", "rate", fmt.Sprintf("%dbit", mibps<<20*8), "burst", strconv.Itoa(burst), "latency", "50ms")
}

// ClearShaping undoes LimitBandwidth and Delay.
func (h *Host) ClearShaping(ctx context.Context) error {
	return errors.Join(h.shape(ctx, "noqueue"), h.Delay(ctx, 0))
}

// shape sets the queueing discipline of both ends of the host's management link,
// each of which governs one direction.
func (h *Host) shape(ctx context.Context, discipline string, args ...string) error {
	management, _ := ports(h.name)
	for _, end := range []struct {
		where *spawner
		link  string
	}{{h.lab.network.inside, management}, {h.inside, ManagementLink}} {
		words := append([]string{"qdisc", "replace", "dev", end.link, "root", discipline}, args...)
		if _, err := end.where.run(ctx, "tc", words...); err != nil {
			return fmt.Errorf("shaping the link of %s: %w", h.name, err)
		}
	}
	return nil
}
