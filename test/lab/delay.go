//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A delayed link is made of three pieces of cable. The host's port leaves the
// switch's bridge; another takes its place there, and a relay joins the two:
//
//	eth0 of the host — port │ relay │ relayEnd — relayPort │ bridge
//
// The host's own interface, with its address and connections, and the port, with
// its bandwidth limit, are not touched. Where no delay is set there is no relay.
// The relay is built of what every kernel has; the scheduler that Linux has for
// this (netem) is missing from many.

// relayPorts are the interfaces, in the switch, of the piece of cable behind a
// host's relay: its end at the relay, and its end at the bridge.
func relayPorts(host string) (relayEnd, relayPort string) { return host + "-relay", host + "-late" }

// Delay makes each packet that enters or leaves the host on the management
// network wait, so a round trip to it takes twice that time longer. It replaces
// an earlier delay; zero removes it. A bandwidth limit stays, and so do the host's
// connections: in the moment in which a first delay is set, or the last one
// removed, a few packets may be lost, and TCP sends them again.
//
// The delay is exact to a tenth of a millisecond, also while guests take all
// processor time; this process should not. Packets keep their order. For each
// direction 64 MiB may be on their way, more is lost. A TCP connection gets slower
// as it does on a real line: with Linux's usual 4 MiB of send buffer it carries
// about 2.5 MiB for each round trip.
func (h *Host) Delay(ctx context.Context, delay time.Duration) error {
	if delay < 0 {
		return fmt.Errorf("delaying the link of %s: %s is negative", h.name, delay)
	}
	h.linkMu.Lock()
	defer h.linkMu.Unlock()
	var err error
	switch {
	case h.unplugged:
		err = errors.New("the host is gone")
	case h.relay != nil && delay > 0:
		err = h.relay.setDelay(delay)
	case h.relay != nil:
		err = h.removeRelay(ctx)
	case delay > 0:
		err = h.insertRelay(ctx, delay)
	}
	if err != nil {
		return fmt.Errorf("delaying the link of %s by %s: %w", h.name, delay, err)
	}
	return nil
}

// insertRelay puts a relay between the host's port and the bridge, in this order:
// the relay listens before the port leaves the bridge, so packets are lost for
// as long as it takes to change bridges only.
func (h *Host) insertRelay(ctx context.Context, delay time.Duration) error {
	n := h.lab.network
	port, _ := ports(h.name)
	relayEnd, relayPort := relayPorts(h.name)
	err := n.ipBatch(ctx,
		"link add "+relayEnd+" type veth peer name "+relayPort,
		"link set "+relayEnd+" up",
		"link set "+relayPort+" up")
	if err != nil {
		_ = n.ip(context.WithoutCancel(ctx), "link", "delete", relayEnd) // It may be there already.
		return err
	}
	var started *relay
	errStart := n.inside.do(func() { started, err = newRelay(port, relayEnd, delay) })
	if err := errors.Join(errStart, err); err != nil {
		return errors.Join(err, n.ip(context.WithoutCancel(ctx), "link", "delete", relayEnd))
	}
	h.relay = started
	if err := n.rewire(ctx, port, relayPort); err != nil {
		return errors.Join(err, h.removeRelay(context.WithoutCancel(ctx)))
	}
	return nil
}

// removeRelay puts the host's port back into the bridge. What waits in the relay
// is passed on first, so packets stay in order.
func (h *Host) removeRelay(ctx context.Context) error {
	n := h.lab.network
	port, _ := ports(h.name)
	relayEnd, relayPort := relayPorts(h.name)
	errPass := h.relay.setDelay(0)
	if err := n.rewire(ctx, relayPort, port); err != nil {
		return errors.Join(errPass, err) // The relay stays, and with it the connection.
	}
	errStop := h.relay.stop()
	h.relay = nil
	return errors.Join(errPass, errStop, n.ip(context.WithoutCancel(ctx), "link", "delete", relayEnd))
}

// dropRelay ends the relay of a host that is gone. The relay's sockets would keep
// the switch's namespace.
func (h *Host) dropRelay() error {
	h.linkMu.Lock()
	defer h.linkMu.Unlock()
	h.unplugged = true
	if h.relay == nil {
		return nil
	}
	err := h.relay.stop()
	h.relay = nil
	return err
}

// rewire has one port take another's place in the management network's bridge.
func (n *network) rewire(ctx context.Context, leaves, joins string) error {
	return n.ipBatch(ctx, "link set "+leaves+" nomaster", "link set "+joins+" master "+managementBridge)
}
