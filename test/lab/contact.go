//go:build linux

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Signal is one of the ways by which a peer sees that a guest is there.
type Signal string

// The signals. Of the Beat, only the way from the guest to its peer matters; of the others,
// both ways do.
const (
	// Ping is the answer of the guest's kernel to an ICMP echo request.
	Ping Signal = "ping"
	// Echo is a datagram that the guest's program sends back.
	Echo Signal = "echo"
	// Beat is a datagram that the guest's program sends by itself.
	Beat Signal = "beat"
	// Stream is what the guest's program sends back by a TCP connection that is open all the
	// time. What is lost there is sent again later and later.
	Stream Signal = "stream"
)

// Signals are all of them, the Stream last.
func Signals() []Signal { return []Signal{Ping, Echo, Beat, Stream} }

// SignalInterval is how often a peer calls a guest in each way, and how often the guest
// sends its beat.
const SignalInterval = 10 * time.Millisecond

// The guest's ports, as in guest/network.go.
const (
	guestEchoPort = 7
	guestBeatPort = 19
)

// Contact is what a peer hears of a guest that it calls all the time.
type Contact struct {
	close   context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	arrivals map[Signal][]time.Time
	changed  chan struct{} // Closed, and replaced, at each arrival.
}

// Call calls a guest in some ways, until ctx ends or Close. It returns once the guest has
// answered in each, and fails if ctx ends before. A guest that is called by Ping and Echo alone
// sends nothing by itself: then only what is announced for it tells a switch where it is.
func (p *Peer) Call(ctx context.Context, guest netip.Addr, signals ...Signal) (*Contact, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &Contact{close: cancel, arrivals: map[Signal][]time.Time{}, changed: make(chan struct{})}
	err := p.call(ctx, c, guest, signals)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("calling %s from %s: %w", guest, p.name, err)
	}
	return c, nil
}

func (p *Peer) call(ctx context.Context, c *Contact, guest netip.Addr, signals []Signal) error {
	openers := map[Signal]func(*Peer, netip.Addr) (*line, error){Ping: openPing, Echo: openEcho, Beat: openBeat, Stream: openStream}
	// A connection comes last: a guest that answers otherwise takes it at once, and one that is
	// still booting would hold the thread up by which the peer opens sockets.
	ordered := slices.DeleteFunc(Signals(), func(s Signal) bool { return !slices.Contains(signals, s) })
	for i, signal := range ordered {
		if signal == Stream {
			if err := c.Wait(ctx, time.Time{}, ordered[:i]...); err != nil {
				return err
			}
		}
		l, err := openers[signal](p, guest)
		if err != nil {
			return err
		}
		c.use(ctx, l)
	}
	return c.Wait(ctx, time.Time{}, ordered...)
}

// Close ends the calls.
func (c *Contact) Close() {
	c.close()
	c.running.Wait()
}

// Arrivals returns when a signal came, in its order.
func (c *Contact) Arrivals(signal Signal) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.arrivals[signal])
}

// Wait waits until each of the signals has come after a time.
func (c *Contact) Wait(ctx context.Context, since time.Time, signals ...Signal) error {
	for {
		c.mu.Lock()
		changed := c.changed
		missing := slices.DeleteFunc(slices.Clone(signals), func(s Signal) bool {
			all := c.arrivals[s]
			return len(all) > 0 && all[len(all)-1].After(since)
		})
		c.mu.Unlock()
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %v: %w", missing, ctx.Err())
		}
	}
}

func (c *Contact) note(signal Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrivals[signal] = append(c.arrivals[signal], time.Now())
	close(c.changed)
	c.changed = make(chan struct{})
}

// line is one way to call a guest.
type line struct {
	signal Signal
	socket net.Conn
	// call is what is sent, time and again or, if once, until there is an answer: the first
	// calls may be lost while the guest is booting.
	call func(number uint16) []byte
	once bool
	// ours tells what is an answer; nil means all that comes.
	ours func(packet []byte) bool
}

// use calls by a line, and notes what comes by it, until ctx ends. What cannot be sent or
// received is lost: the guest may be nowhere for a moment.
func (c *Contact) use(ctx context.Context, l *line) {
	stop := context.AfterFunc(ctx, func() { l.socket.Close() })
	c.running.Go(func() {
		defer stop()
		defer l.socket.Close()
		for packet := make([]byte, 2048); ; {
			n, err := l.socket.Read(packet)
			switch {
			case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
				return
			case err != nil && l.signal == Stream:
				return // It does not come back.
			case err == nil && (l.ours == nil || l.ours(packet[:n])):
				c.note(l.signal)
			}
		}
	})
	c.running.Go(func() {
		ticker := time.NewTicker(SignalInterval)
		defer ticker.Stop()
		for number := uint16(1); !l.once || len(c.Arrivals(l.signal)) == 0; number++ {
			_, _ = l.socket.Write(l.call(number))
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

func numbered(number uint16) []byte { return binary.BigEndian.AppendUint16(nil, number) }

// openPing sends ICMP echo requests by a socket that sees all ICMP packets of the peer.
func openPing(p *Peer, guest netip.Addr) (*line, error) {
	var socket *net.IPConn
	err := p.Within(func() (err error) {
		socket, err = net.DialIP("ip4:icmp", nil, &net.IPAddr{IP: guest.AsSlice()})
		return err
	})
	id := uint16(rand.Uint32()) // Half of it is enough.
	return &line{
		signal: Ping, socket: socket,
		call: func(number uint16) []byte { return echoRequest(id, number) },
		ours: func(packet []byte) bool { return isEchoReply(packet, id) },
	}, err
}

func openEcho(p *Peer, guest netip.Addr) (*line, error) {
	socket, err := p.dialUDP(guest, guestEchoPort)
	return &line{signal: Echo, socket: socket, call: numbered}, err
}

// openBeat asks the guest for its beat, which then comes by itself.
func openBeat(p *Peer, guest netip.Addr) (*line, error) {
	socket, err := p.dialUDP(guest, guestBeatPort)
	return &line{signal: Beat, socket: socket, call: numbered, once: true}, err
}

func openStream(p *Peer, guest netip.Addr) (*line, error) {
	var socket *net.TCPConn
	err := p.Within(func() (err error) {
		socket, err = net.DialTCP("tcp4", nil, net.TCPAddrFromAddrPort(netip.AddrPortFrom(guest, guestEchoPort)))
		return err
	})
	return &line{signal: Stream, socket: socket, call: numbered}, err
}

func (p *Peer) dialUDP(guest netip.Addr, port uint16) (socket *net.UDPConn, err error) {
	err = p.Within(func() (err error) {
		socket, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(guest, port)))
		return err
	})
	return socket, err
}

// Types of ICMP (RFC 792).
const (
	icmpEchoReply   = 0
	icmpEchoRequest = 8
)

// echoRequest is an ICMP echo request.
func echoRequest(id, number uint16) []byte {
	packet := []byte{icmpEchoRequest, 0, 0, 0}
	packet = binary.BigEndian.AppendUint16(packet, id)
	packet = binary.BigEndian.AppendUint16(packet, number)
	var sum uint32
	for i := 0; i < len(packet); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	binary.BigEndian.PutUint16(packet[2:], ^uint16(sum))
	return packet
}

// isEchoReply tells whether an IPv4 packet answers an echo request. Its header is as long as
// the lower half of the first byte says, in words of four bytes.
func isEchoReply(packet []byte, id uint16) bool {
	if len(packet) == 0 {
		return false
	}
	header := int(packet[0]&0x0f) * 4
	return len(packet) >= header+8 && packet[header] == icmpEchoReply && binary.BigEndian.Uint16(packet[header+4:]) == id
}
