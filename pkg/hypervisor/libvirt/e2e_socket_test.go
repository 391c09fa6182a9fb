//go:build e2e

package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestE2EClientFindsTheSocket: the daemon's, and another one after the daemon was there
// anew, in the order of preference.
func TestE2EClientFindsTheSocket(t *testing.T) {
	dir := nodeA().Path(defaultRunDir)
	c, err := New(Config{RunDir: dir, CallTimeout: 5 * time.Second})
	check(t, err)
	run(t, c)
	single, qemu := socketURI(dir+"/libvirt-sock"), socketURI(dir+"/virtqemud-sock")
	want := func(uri string) {
		t.Helper()
		eventually(t, 10*time.Second, func() error {
			_, err := c.HostInfo(t.Context())
			if got := c.current(); err == nil && got != uri {
				err = fmt.Errorf("the client is connected to %s, not to %s", got, uri)
			}
			return err
		})
	}
	want(single)
	if workers, err := c.MaxWorkers(t.Context()); workers != 20 {
		t.Errorf("the daemon has %d workers, %v", workers, err)
	}
	// What a daemon that is gone has left behind does not count.
	leave, err := net.Listen("unix", dir+"/virtqemud-sock")
	check(t, err)
	t.Cleanup(func() { _ = os.Remove(dir + "/virtqemud-sock") })
	leave.(*net.UnixListener).SetUnlinkOnClose(false)
	check(t, leave.Close())
	restartDaemon(t, nodeA())
	want(single)
	check(t, os.Remove(dir+"/virtqemud-sock"))
	check(t, os.Symlink("libvirt-sock", dir+"/virtqemud-sock"))
	restartDaemon(t, nodeA())
	want(qemu)
	check(t, os.Remove(dir+"/virtqemud-sock"))
	restartDaemon(t, nodeA())
	want(single)
}

// TestE2EOtherDriversAreRefused: a daemon without QEMU's driver, and one that was asked for
// another of its drivers.
func TestE2EOtherDriversAreRefused(t *testing.T) {
	socket := "?socket=" + nodeA().LibvirtSocket()
	for _, uri := range []string{"test+unix:///default" + socket, "lxc+unix:///system" + socket} {
		c, err := New(Config{URI: uri, CallTimeout: 5 * time.Second})
		check(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		_, err = c.HostInfo(t.Context())
		if !errors.Is(err, hypervisor.ErrNotQEMU) {
			t.Errorf("%s: %v", uri, err)
		}
		t.Logf("%s: %v", uri, err)
		cancel()
		check(t, <-ended)
	}
}
