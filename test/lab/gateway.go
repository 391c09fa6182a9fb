//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// A gateway lets what runs in one network namespace reach what listens on the
// loopback interface of another, at the same address. It runs in this process
// and ends with it.
type gateway struct {
	listener net.Listener
	dial     func() (net.Conn, error)
	wait     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]struct{}
}

// newGateway makes an address of the network namespace of from reach the same
// address of that of to. nil is the namespace of this process.
func newGateway(from, to *spawner, address string) (*gateway, error) {
	var listener net.Listener
	err := within(from, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening on %s in another network: %w", address, err)
	}
	return serveGateway(listener, func() (conn net.Conn, err error) {
		err = within(to, func() (err error) {
			conn, err = net.Dial("tcp", address)
			return err
		})
		return conn, err
	}), nil
}

// serveGateway carries what comes in by a listener to where dial leads.
func serveGateway(listener net.Listener, dial func() (net.Conn, error)) *gateway {
	g := &gateway{listener: listener, dial: dial, open: map[net.Conn]struct{}{}}
	g.wait.Go(g.accept)
	return g
}

// within calls f on the thread of a spawner, if there is one.
func within(s *spawner, f func() error) error {
	if s == nil {
		return f()
	}
	var err error
	if ended := s.do(func() { err = f() }); ended != nil {
		return ended
	}
	return err
}

func (g *gateway) accept() {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			return // Closed.
		}
		g.wait.Go(func() { g.carry(conn) })
	}
}

// carry connects on and copies both ways until both have ended. Where nothing
// listens, the caller sees its connection closed.
func (g *gateway) carry(from net.Conn) {
	defer g.drop(from)
	if !g.keep(from) {
		return
	}
	to, err := g.dial()
	if err != nil {
		return
	}
	defer g.drop(to)
	if !g.keep(to) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { copyOneWay(to, from) })
	both.Go(func() { copyOneWay(from, to) })
	both.Wait()
}

// copyOneWay copies until src ends, and ends dst as src ended: a failure of either
// cuts both off.
func copyOneWay(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil {
		src.Close()
		dst.Close()
		return
	}
	if half, ok := dst.(*net.TCPConn); ok {
		_ = half.CloseWrite() // The other way may be closed already.
	}
}

// keep notes an open connection, unless the gateway has been stopped.
func (g *gateway) keep(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.open[conn] = struct{}{}
	}
	return !g.closed
}

func (g *gateway) drop(conn net.Conn) {
	conn.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, conn)
}

// stop closes everything. It may be called more than once.
func (g *gateway) stop() error {
	err := g.listener.Close()
	g.mu.Lock()
	g.closed = true
	for conn := range g.open {
		conn.Close()
	}
	g.mu.Unlock()
	g.wait.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
