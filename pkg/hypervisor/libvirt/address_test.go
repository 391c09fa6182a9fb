package libvirt

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestTheSocketIsFound(t *testing.T) {
	t.Parallel()
	const qemu, single = "/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"
	for name, tt := range map[string]struct {
		// states are what comes of connecting; a socket that is not named is not there.
		states map[string]error
		want   string
	}{
		"the daemon for QEMU":            {map[string]error{qemu: nil}, qemu},
		"the single daemon":              {map[string]error{single: nil}, single},
		"both":                           {map[string]error{qemu: nil, single: nil}, qemu},
		"one that nobody listens on":     {map[string]error{qemu: syscall.ECONNREFUSED, single: nil}, single},
		"one that may not be opened":     {map[string]error{qemu: fs.ErrPermission, single: nil}, single},
		"nobody listens on either":       {map[string]error{qemu: syscall.ECONNREFUSED, single: syscall.ECONNREFUSED}, qemu},
		"nobody listens on the only one": {map[string]error{single: syscall.ECONNREFUSED}, single},
		"none":                           {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := choose("/run/libvirt", func(socket string) error {
				if state, ok := tt.states[socket]; ok {
					return state
				}
				return fs.ErrNotExist
			})
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), "neither virtqemud-sock nor libvirt-sock") || !strings.Contains(err.Error(), "/run/libvirt") {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if err != nil || got != socketURI(tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, socketURI(tt.want))
			}
			if _, ok := findAdmin(got, func(string) bool { return true }); !ok {
				t.Errorf("nothing is known of the administration beside %s", got)
			}
		})
	}
}

func TestASocketIsTried(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "libvirt-sock")
	if err := reachable(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := reachable(socket); err != nil {
		t.Error(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	check := listener.Close()
	if _, err := os.Stat(socket); check != nil || err != nil {
		t.Fatal(check, err)
	}
	if err := reachable(socket); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that a daemon has left behind: %v", err)
	}
}

// TestOtherDriversAreRefused: what answers is not QEMU.
func TestOtherDriversAreRefused(t *testing.T) {
	c, err := New(Config{URI: "test:///default"})
	if err != nil {
		t.Skipf("libvirt's client library is missing: %v", err)
	}
	run(t, c)
	_, err = c.HostInfo(t.Context())
	if !errors.Is(err, hypervisor.ErrNotQEMU) || hypervisor.KindOf(err) != hypervisor.KindConnectionLost ||
		!strings.Contains(err.Error(), "libvirt's driver there is TEST's, not QEMU's") {
		t.Errorf("got %v", err)
	}
	if err := convert("x", &driverError{cause: lv.Error{Message: "no connection driver available"}}); !errors.Is(err, hypervisor.ErrNotQEMU) {
		t.Errorf("got %v", err)
	}
}
