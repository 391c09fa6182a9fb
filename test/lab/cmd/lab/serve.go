//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/virtferry/virtferry/test/lab"
)

// guestWorkingSetMiB of the guest's memory cannot be compressed away: a migration
// takes long enough to be watched. The guest writes to none of it, so that it
// ends as soon as all is copied once.
const guestWorkingSetMiB = 64

// serve runs a lab until ctx ends. The lab's record exists while it is ready.
func serve(ctx context.Context, c config) error {
	if r, err := readRecord(c.name); err == nil && r.alive() {
		return fmt.Errorf("lab %q runs already, as process %d", c.name, r.PID)
	}
	fmt.Fprintf(os.Stderr, "starting %d hosts and a control plane\n", c.hosts)
	l, err := lab.Start(ctx, lab.Options{
		Hosts: c.hosts, Generations: c.systems(), ControlPlane: true, Binary: c.binary,
		Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	return errors.Join(serveLab(ctx, c, l), l.Stop())
}

// serveLab fills a started lab and waits for the end.
func serveLab(ctx context.Context, c config, l *lab.Lab) error {
	if c.guest != "" {
		fmt.Fprintf(os.Stderr, "booting guest %s\n", c.guest)
		if _, err := bootGuest(ctx, c.guest, l.Hosts()[0]); err != nil {
			return err
		}
	}
	if c.components {
		fmt.Fprintln(os.Stderr, "starting the manager and the agents")
		if _, err := l.StartVirtferry(ctx); err != nil {
			return err
		}
	}
	r, err := newRecord(c, l)
	if err != nil {
		return err
	}
	if err := r.write(); err != nil {
		return err
	}
	defer r.remove()
	fmt.Fprintln(os.Stderr, "the lab is ready")
	<-ctx.Done()
	fmt.Fprintln(os.Stderr, "stopping the lab")
	return nil
}

// bootGuest starts the guest and waits for its first sign of life.
func bootGuest(ctx context.Context, name string, h *lab.Host) (*lab.Guest, error) {
	guest, err := h.StartGuest(ctx, lab.GuestConfig{
		Name: name, Persistent: true, VNC: &lab.VNC{}, NICs: []lab.NIC{{}},
		Load: lab.Load{WorkingSetMiB: guestWorkingSetMiB},
	})
	if err != nil {
		return nil, err
	}
	_, err = guest.Ticks().Wait(ctx, h.Name(), 1)
	return guest, err
}

// kubectl is the command by which people reach the lab: the one they have, or the
// lab's own.
func kubectl(l *lab.Lab) string {
	if _, err := exec.LookPath("kubectl"); err == nil {
		return "kubectl"
	}
	return l.ControlPlane().KubectlPath()
}
