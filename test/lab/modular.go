//go:build linux

package lab

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
)

const (
	// driverDaemon is the modular daemon that drives QEMU: what is done to libvirtd is done
	// to it.
	driverDaemon = "virtqemud"
	// ProxyDaemon takes the connections of other hosts, and those to libvirtd's old socket.
	ProxyDaemon = "virtproxyd"
)

// modularDaemons are all of them. Those that others connect to come first.
var modularDaemons = []string{"virtsecretd", "virtstoraged", "virtnetworkd", "virtnodedevd", driverDaemon, ProxyDaemon}

// daemonPath is where a daemon is in a root of Modular. The machine itself need not have it.
func daemonPath(name string) string { return "/usr/sbin/" + name }

// startModular starts those of the modular daemons that do not run, but for the driver's.
func (h *Host) startModular() error {
	if h.generation != Modular {
		return nil
	}
	if h.beside == nil {
		h.beside = map[string]*Process{}
	}
	for _, name := range modularDaemons {
		if name == driverDaemon || h.beside[name] != nil && h.beside[name].Running() {
			continue
		}
		p, err := h.inside.startProcess(name+" on "+h.name, filepath.Join(h.lab.logDir, h.name+"-"+name+".log"), exec.Command(daemonPath(name)))
		if err != nil {
			return err
		}
		h.beside[name] = p
	}
	return nil
}

// KillDaemon kills one of the modular daemons beside that of the driver, for which there is
// KillLibvirtd. StartLibvirtd starts it again.
func (h *Host) KillDaemon(ctx context.Context, name string) error {
	h.mu.Lock()
	p := h.beside[name]
	h.mu.Unlock()
	if p == nil || !p.Running() {
		return fmt.Errorf("killing %s on %s: %w", name, h.name, ErrNotRunning)
	}
	return p.Kill(ctx, syscall.SIGKILL)
}
