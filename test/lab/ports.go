//go:build linux

package lab

import (
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// loopback is where the control plane and the health endpoints listen.
const loopback = "127.0.0.1"

// reservedPort is a TCP port that nobody else is given while a program that uses
// it starts, or starts again: the lab keeps a socket bound to it without
// listening, and the program shares the port with it (SO_REUSEPORT).
type reservedPort struct {
	number int
	socket int
}

// reservePort reserves a free port.
func reservePort() (*reservedPort, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	p := &reservedPort{socket: socket}
	if err := p.bind(); err != nil {
		p.free()
		return nil, fmt.Errorf("reserving a port: %w", err)
	}
	return p, nil
}

func (p *reservedPort) bind() error {
	// Sharing is allowed after the kernel has chosen the port: it must be one that
	// nobody has.
	if err := unix.Bind(p.socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(p.socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	address, err := unix.Getsockname(p.socket)
	if err != nil {
		return err
	}
	inet, ok := address.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("unexpected address %v", address)
	}
	p.number = inet.Port
	return nil
}

func (p *reservedPort) free() { _ = unix.Close(p.socket) }

// String is the port's number.
func (p *reservedPort) String() string { return strconv.Itoa(p.number) }

// url is the port's address on the loopback interface.
func (p *reservedPort) url(scheme string) string {
	return scheme + "://" + net.JoinHostPort(loopback, p.String())
}

// freePort returns a port that nobody uses now. For programs that do not share
// ports, this is the best there is.
func freePort() (int, error) {
	p, err := reservePort()
	if err != nil {
		return 0, err
	}
	defer p.free()
	return p.number, nil
}
