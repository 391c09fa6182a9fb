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
	"syscall"

	"golang.org/x/sys/unix"
)

// GuestNetwork has the addresses of guests and their peers, of another block that is
// reserved for documentation (RFC 5737). firstPeerAddress and those behind it are peers'.
var (
	GuestNetwork     = netip.MustParsePrefix("198.51.100.0/24")
	firstPeerAddress = netip.MustParseAddr("198.51.100.201")
)

// maxPeers is how many addresses peers have.
const maxPeers = 50

// Peer is a machine that guests talk with: a network namespace of its own, without a name,
// held by a process that does nothing, and plugged into the guests' network of the switch.
type Peer struct {
	name    string
	address netip.Addr
	holder  *Process
	inside  *spawner
}

// AddPeer plugs one more machine into the guests' network. It goes with the lab.
func (l *Lab) AddPeer(ctx context.Context) (*Peer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.network == nil {
		return nil, errors.New("adding a peer: the lab was started without any host")
	}
	if len(l.peers) >= maxPeers {
		return nil, fmt.Errorf("adding a peer: there are addresses for %d only", maxPeers)
	}
	p := &Peer{name: fmt.Sprintf("peer-%d", len(l.peers)+1), address: firstPeerAddress}
	for range l.peers {
		p.address = p.address.Next()
	}
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	var err error
	if p.holder, err = l.spawner.startProcess(p.name, filepath.Join(l.logDir, p.name+".log"), cmd); err != nil {
		return nil, err
	}
	l.peers = append(l.peers, p) // From here on, the lab takes it down.
	if p.inside, err = newSpawnerIn(p.holder.PID(), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("entering %s: %w", p.name, err)
	}
	if err := l.network.plugPeer(ctx, p); err != nil {
		return nil, fmt.Errorf("plugging %s in: %w", p.name, err)
	}
	return p, nil
}

// plugPeer connects a peer to the guests' network.
func (n *network) plugPeer(ctx context.Context, p *Peer) error {
	err := n.ip(ctx, "link", "add", p.name, "up", "master", guestsBridge, "type", "veth",
		"peer", "name", guestLink, "netns", strconv.Itoa(p.holder.PID()))
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "set", guestLink, "up"},
		{"addr", "add", netip.PrefixFrom(p.address, GuestNetwork.Bits()).String(), "dev", guestLink},
	} {
		if _, err := p.inside.run(ctx, "ip", args...); err != nil {
			return err
		}
	}
	return nil
}

// Address is the peer's own.
func (p *Peer) Address() netip.Addr { return p.address }

// Within calls f on a thread that lives in the peer's network: sockets that f opens belong
// to it, wherever they are used after.
func (p *Peer) Within(f func() error) error { return within(p.inside, f) }

// stop takes the peer down.
func (p *Peer) stop(ctx context.Context) error {
	if p.inside != nil {
		p.inside.stop()
	}
	return p.holder.Kill(ctx, syscall.SIGKILL)
}
