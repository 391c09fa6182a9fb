package libvirt

import (
	"context"
	"net/url"
	"os"
	"path"
	"strings"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	opWorkers = "reading how many workers libvirt has"
	// runDir is where libvirt's daemons have their sockets.
	runDir = "/run/libvirt"
	// The single daemon, and the one for QEMU where there are several, whose sockets
	// end in socketSuffix.
	singleDaemon, singleSocket = "libvirtd", "libvirt"
	qemuDaemon                 = "virtqemud"
	socketSuffix               = "-sock"
)

// MaxWorkers implements hypervisor.Host. The daemon tells it on a socket of its own
// for administration, which an installation may lack: then it is not known. What is
// asked there is served by workers of its own, but may hang all the same.
func (c *Client) MaxWorkers(ctx context.Context) (int, error) {
	admin, ok := findAdmin(c.config.URI, exists)
	if !ok {
		return 0, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.CallTimeout, errDeadline)
	defer cancel()
	select {
	case <-c.started:
	case <-ctx.Done():
		return 0, convert(opWorkers, context.Cause(ctx))
	}
	if !c.asking.CompareAndSwap(false, true) {
		return 0, fault(opWorkers, hypervisor.KindTimeout, "an earlier call has not come back")
	}
	if err := c.control.enter(); err != nil {
		c.asking.Store(false)
		return 0, convert(opWorkers, err)
	}
	results := make(chan outcome[int], 1)
	go func() {
		defer c.control.spawned.Done()
		workers, err := admin.maxWorkers()
		c.asking.Store(false)
		results <- outcome[int]{workers, err}
	}()
	select {
	case result := <-results:
		return result.value, convert(opWorkers, result.err)
	case <-ctx.Done():
		c.log.Warn("Abandoned a libvirt call", "call", opWorkers)
		return 0, convert(opWorkers, context.Cause(ctx))
	case <-c.control.closing:
		return 0, convert(opWorkers, errClosing)
	}
}

// admin says where a daemon is administered.
type admin struct {
	uri string
	// server is, in the daemon, the one that serves everybody.
	server string
}

// findAdmin returns where the daemon behind a connection's URI is administered. It
// reports false for a daemon on another host, and for one without such a socket.
func findAdmin(uri string, exists func(path string) bool) (admin, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Host != "" || u.Path != "/system" || u.Scheme != "qemu" && u.Scheme != "qemu+unix" {
		return admin{}, false
	}
	socket := u.Query().Get("socket")
	if socket == "" {
		// The client library chooses likewise.
		socket = path.Join(runDir, qemuDaemon+socketSuffix)
		if !exists(socket) {
			socket = path.Join(runDir, singleSocket+socketSuffix)
		}
	}
	name, ok := strings.CutSuffix(path.Base(socket), socketSuffix)
	socket = path.Join(path.Dir(socket), name+"-admin"+socketSuffix)
	if !ok || !exists(socket) {
		return admin{}, false
	}
	if name == singleSocket {
		name = singleDaemon
	}
	return admin{uri: name + ":///system?socket=" + url.QueryEscape(socket), server: name}, true
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// maxWorkers asks the daemon. It may hang.
func (a admin) maxWorkers() (int, error) {
	conn, err := lv.NewAdmConnect(a.uri, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _, _ = conn.Close() }()
	server, err := conn.LookupServer(a.server, 0)
	if err != nil {
		return 0, err
	}
	// It fails only for a handle that is none.
	defer func() { _ = server.Free() }()
	pool, err := server.GetThreadPoolParameters(0)
	if err != nil {
		return 0, err
	}
	return int(pool.MaxWorkers), nil //nolint:gosec // No daemon has so many.
}
