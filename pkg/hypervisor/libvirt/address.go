package libvirt

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	// defaultRunDir is where libvirt's daemons have their sockets.
	defaultRunDir = "/run/libvirt"
	// The single daemon, and the one for QEMU where there are several, whose sockets
	// end in socketSuffix.
	singleDaemon, singleSocket = "libvirtd", "libvirt"
	qemuDaemon                 = "virtqemud"
	socketSuffix               = "-sock"
	// probeTimeout is how long a socket may take to be connected to before another is
	// preferred to it.
	probeTimeout = time.Second
	// qemuDriver is how libvirt calls its driver for QEMU.
	qemuDriver = "QEMU"
)

// noSocketError says that libvirt has no socket to connect to.
type noSocketError struct{ dir string }

func (e *noSocketError) Error() string {
	return fmt.Sprintf("%s has neither %s nor %s: start virtqemud or libvirtd on the host", e.dir, qemuDaemon+socketSuffix, singleSocket+socketSuffix)
}

// driverError says that a connection leads to no QEMU.
type driverError struct {
	// driver is the one to which it leads, as libvirt calls it, and cause is what
	// libvirt says where there is none.
	driver string
	cause  error
}

func (e *driverError) Error() string {
	if e.cause != nil {
		return "libvirt has no driver for QEMU there: " + sanitize(e.cause.Error())
	}
	return fmt.Sprintf("libvirt's driver there is %s's, not QEMU's", e.driver)
}

func (e *driverError) Unwrap() error { return hypervisor.ErrNotQEMU }

// address returns the URI to connect to: the one that was given or, without any, that of
// the first socket of the node's daemons that can be connected to.
func (c *Client) address() (string, error) {
	if c.config.URI != "" {
		return c.config.URI, nil
	}
	return choose(c.config.RunDir, reachable)
}

// choose returns the URI of the socket to connect to. The daemon for QEMU comes before the
// one for everything, which passes calls on to it where there are both. Where neither can be
// connected to, it is the first that is there: libvirt says what is wrong with it.
func choose(dir string, reach func(socket string) error) (string, error) {
	var first string
	for _, name := range []string{qemuDaemon, singleSocket} {
		socket := path.Join(dir, name+socketSuffix)
		err := reach(socket)
		if err == nil {
			return socketURI(socket), nil
		}
		if first == "" && !errors.Is(err, fs.ErrNotExist) {
			first = socket
		}
	}
	if first == "" {
		return "", &noSocketError{dir}
	}
	return socketURI(first), nil
}

func socketURI(socket string) string {
	return "qemu+unix:///system?socket=" + url.QueryEscape(socket)
}

// reachable connects to a socket and leaves again.
func reachable(socket string) error {
	if _, err := os.Stat(socket); err != nil {
		return err
	}
	conn, err := net.DialTimeout("unix", socket, probeTimeout) //nolint:noctx // It has a deadline of its own.
	if err != nil {
		return err
	}
	return conn.Close()
}
