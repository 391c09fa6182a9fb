package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"strings"
	"time"
)

const opWorkers = "reading how many workers libvirt has"

// MaxWorkers implements hypervisor.Host. The daemon tells it on a socket of its own
// for administration, which an installation may lack: then it is not known. What is
// asked there is served by workers of its own.
//
// libvirt's library for it, libvirt-admin, cannot be used: it registers the same
// types as libvirt's client library, and a process that has both crashes. So this is
// the one place that speaks libvirt's protocol itself.
func (c *Client) MaxWorkers(ctx context.Context) (int, error) {
	admin, ok := findAdmin(c.current(), exists)
	if !ok {
		return 0, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.CallTimeout, errDeadline)
	defer cancel()
	workers, err := admin.maxWorkers(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return workers, convert(opWorkers, err)
}

// admin says where a daemon is administered.
type admin struct {
	socket string
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
		socket = path.Join(defaultRunDir, qemuDaemon+socketSuffix)
		if !exists(socket) {
			socket = path.Join(defaultRunDir, singleSocket+socketSuffix)
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
	return admin{socket: socket, server: name}, true
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// maxWorkers asks the daemon.
func (a admin) maxWorkers(ctx context.Context) (int, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", a.socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	// What has passed ends whatever waits for the daemon.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := adminCall(conn, adminOpen, words(0)); err != nil {
		return 0, fmt.Errorf("opening the connection: %w", err)
	}
	reply, err := adminCall(conn, adminGetThreadPool, append(text(a.server), words(0)...))
	if err != nil {
		return 0, err
	}
	parameters, err := readParameters(reply)
	if err != nil {
		return 0, err
	}
	workers, ok := parameters["maxWorkers"]
	if !ok {
		return 0, errors.New("libvirt does not report how many workers it has")
	}
	return int(workers), nil
}
