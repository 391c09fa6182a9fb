//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// libvirtdTimeout bounds the start of libvirtd, which probes QEMU the first time.
const libvirtdTimeout = 60 * time.Second

// ErrNotRunning says that a process which should be signalled does not run.
var ErrNotRunning = errors.New("not running")

// LibvirtSocket is the path, outside the lab, of the host's libvirt socket.
func (h *Host) LibvirtSocket() string {
	if h.generation == Modular {
		return h.Path("/run/libvirt/" + driverDaemon + "-sock")
	}
	return h.Path("/run/libvirt/libvirt-sock")
}

// LibvirtURI connects a client outside the host to the host's libvirtd.
func (h *Host) LibvirtURI() string { return "qemu+unix:///system?socket=" + h.LibvirtSocket() }

// PeerURI is where other hosts reach the host's libvirtd, by name and plain TCP.
// They reach it by TLS too: qemu+tls, with certificates that all of them trust.
func (h *Host) PeerURI() string { return "qemu+tcp://" + h.name + "/system" }

// Virsh runs virsh, outside the host, against the host's libvirtd and returns
// what it printed.
func (h *Host) Virsh(ctx context.Context, args ...string) (string, error) {
	out, err := h.lab.spawner.run(ctx, "virsh", append([]string{"--quiet", "--connect", h.LibvirtURI()}, args...)...)
	if err != nil {
		return out, fmt.Errorf("on %s: %w", h.name, err)
	}
	return strings.TrimSpace(out), nil
}

// StartLibvirtd starts the host's libvirtd, or its modular daemons, and waits until libvirt
// answers. It does nothing for those that run already.
func (h *Host) StartLibvirtd(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.startModular(); err != nil {
		return err
	}
	if h.libvirtd == nil || !h.libvirtd.Running() {
		cmd := exec.Command("libvirtd", "--listen")
		if h.generation == Modular {
			cmd = exec.Command(daemonPath(driverDaemon))
		}
		// It looks for QEMU in its path.
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(imageDir, programsDir)+":"+os.Getenv("PATH"))
		p, err := h.inside.startProcess("libvirtd on "+h.name, filepath.Join(h.lab.logDir, h.name+"-libvirtd.log"), cmd)
		if err != nil {
			return err
		}
		h.libvirtd = p
	}
	p := h.libvirtd
	return poll(ctx, libvirtdTimeout, p.Name(), func(ctx context.Context) error {
		if !p.Running() {
			return finalError{fmt.Errorf("it ended: %w: %s", p.err, p.LogTail(5))}
		}
		_, err := h.Virsh(ctx, "list", "--all")
		if err == nil && h.generation == Modular {
			_, err = os.Stat(h.Path("/run/libvirt/libvirt-sock")) // The proxy's.
		}
		return err
	})
}

// LibvirtdPID is the process ID of the host's libvirtd, or 0 when it does not run.
func (h *Host) LibvirtdPID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.libvirtd == nil || !h.libvirtd.Running() {
		return 0
	}
	return h.libvirtd.PID()
}

// KillLibvirtd sends a signal to the host's libvirtd and, unless the signal stops
// or continues it, waits for its end. Guests run on without it.
func (h *Host) KillLibvirtd(ctx context.Context, signal syscall.Signal) error {
	h.mu.Lock()
	p := h.libvirtd
	h.mu.Unlock()
	if p == nil || !p.Running() {
		return fmt.Errorf("killing libvirtd on %s: %w", h.name, ErrNotRunning)
	}
	if signal == syscall.SIGSTOP || signal == syscall.SIGCONT {
		return p.Signal(signal)
	}
	return p.Kill(ctx, signal)
}

// QEMUPID is the process ID, as seen from outside the lab, of the QEMU that runs
// a domain on this host, or 0 when there is none.
func (h *Host) QEMUPID(domain string) (int, error) {
	processes, err := h.Processes()
	if err != nil {
		return 0, err
	}
	for _, p := range processes {
		// libvirt starts every QEMU with -name guest=NAME,....
		if strings.Contains(p.Command, "-name guest="+domain+",") {
			return p.PID, nil
		}
	}
	return 0, nil
}

// KillQEMU kills the QEMU that runs a domain on this host, as a crash or the
// kernel's out-of-memory killer does.
func (h *Host) KillQEMU(domain string) error { return h.SignalQEMU(domain, syscall.SIGKILL) }

// SignalQEMU sends a signal to the QEMU that runs a domain on this host.
func (h *Host) SignalQEMU(domain string, signal syscall.Signal) error {
	pid, err := h.QEMUPID(domain)
	if err == nil && pid == 0 {
		err = ErrNotRunning
	}
	if err == nil {
		err = syscall.Kill(pid, signal)
	}
	if err != nil {
		return fmt.Errorf("sending %v to the QEMU of %s on %s: %w", signal, domain, h.name, err)
	}
	return nil
}
