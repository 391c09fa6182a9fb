//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

//go:embed demo.yaml
var demoManifest []byte

// demoTimeout bounds the migration that is shown; it takes about ten seconds.
const demoTimeout = 3 * time.Minute

// clockSlack is by how much the guest's and the host's clocks may differ between
// two ticks under emulation.
const clockSlack = 150 * time.Millisecond

// demo runs a lab of its own, moves its guest by a LiveMigration, shows it, and
// takes the lab down. It fails if anything is not as it was promised.
func demo(ctx context.Context, c config) error {
	show := demoIn
	steps := &steps{began: time.Now(), of: demoSteps}
	if c.generations != "" {
		show, steps.of = upgradeIn, upgradeSteps+len(wayThrough(c.hosts))
	}
	steps.say("Starting a control plane and %d libvirt hosts on this machine", c.hosts)
	l, err := lab.Start(ctx, lab.Options{
		Hosts: c.hosts, Generations: c.systems(), ControlPlane: true, Binary: c.binary,
		Log: func(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	l.EndWith(ctx.Done(), lab.EndGrace)
	err = show(ctx, l, steps)
	if err != nil && ctx.Err() == nil {
		l.DumpLogs(failureLines, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	}
	fmt.Println("\n==> Stopping the lab")
	return errors.Join(err, l.Stop())
}

// failureLines is how much of each log a failed demonstration shows.
const failureLines = 20

func demoIn(ctx context.Context, l *lab.Lab, steps *steps) error {
	from, to := l.Hosts()[0], l.Hosts()[1]
	steps.say("Booting the guest \"demo\" on %s; it prints a tick a second", from.Name())
	guest, err := bootGuest(ctx, "demo", from)
	if err != nil {
		return err
	}
	steps.say("Starting Virtferry: a manager, and an agent for each host")
	if _, err := l.StartVirtferry(ctx); err != nil {
		return err
	}
	if err := from.WaitPublished(ctx, guest); err != nil {
		return err
	}
	d := &demonstration{steps: steps, lab: l, guest: guest, from: from, to: to}
	if err := d.kubectl(ctx, "get", "hypervisors"); err != nil {
		return err
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	return d.prove(ctx)
}

type demonstration struct {
	*steps

	lab      *lab.Lab
	guest    *lab.Guest
	from, to *lab.Host
}

// demoSteps is how many steps there are.
const demoSteps = 8

// steps counts them.
type steps struct {
	began    time.Time
	done, of int
}

// say announces a step, and how long the ones before took.
func (s *steps) say(format string, args ...any) {
	s.done++
	fmt.Printf("\n==> %d of %d, after %s: %s\n", s.done, s.of, time.Since(s.began).Round(time.Second), fmt.Sprintf(format, args...))
}

// kubectl runs a command as a user would, and shows it.
func (d *demonstration) kubectl(ctx context.Context, args ...string) error {
	fmt.Printf("$ kubectl %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, kubectl(d.lab), args...)
	cmd.Dir = d.lab.Dir()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+d.lab.ControlPlane().Kubeconfig())
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running kubectl %s: %w", args[0], err)
	}
	return nil
}

// migrate applies the LiveMigration and watches it until it ends.
func (d *demonstration) migrate(ctx context.Context) error {
	d.say("Applying a LiveMigration")
	fmt.Printf("$ cat demo.yaml\n%s", demoManifest)
	if err := os.WriteFile(filepath.Join(d.lab.Dir(), "demo.yaml"), demoManifest, 0o600); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	if err := d.kubectl(ctx, "apply", "-f", "demo.yaml"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	watching, stopWatching := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() { watched <- d.kubectl(watching, "get", "livemigration", "demo", "--watch") }()
	lm, err := d.awaitEnd(ctx, "demo")
	stopWatching()
	<-watched //nolint:errcheck // It ends with the error of a command that was stopped.
	if err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(lm.Status.Conditions, v1alpha1.ConditionSucceeded) {
		return fmt.Errorf("the migration ended in phase %s", lm.Status.Phase)
	}
	return nil
}

// awaitEnd returns a LiveMigration when it has ended and its watchers have had
// a moment to see it.
func (d *demonstration) awaitEnd(ctx context.Context, name string) (*v1alpha1.LiveMigration, error) {
	api, err := d.lab.ControlPlane().NewClient()
	if err != nil {
		return nil, err
	}
	const moment = time.Second
	lm := &v1alpha1.LiveMigration{}
	for {
		err := api.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, lm)
		if err == nil && lm.Status.CompletionTime != nil && time.Since(lm.Status.CompletionTime.Time) > moment {
			return lm, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the end of the migration, which is in phase %s: %w", lm.Status.Phase, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// proveOneRuns shows that the guest runs where it should, and nowhere else.
func (d *demonstration) proveOneRuns(ctx context.Context) error {
	d.say("Where the guest runs, according to libvirt")
	states, err := d.lab.ExactlyOneRunning(ctx, d.guest.UUID())
	for _, s := range states {
		fmt.Println("   ", s)
	}
	if err != nil {
		return err
	}
	if d.guest.RunningOn(ctx) != d.to {
		return fmt.Errorf("the guest does not run on %s", d.to.Name())
	}
	return nil
}

// prove shows that the guest lives on where it should.
func (d *demonstration) prove(ctx context.Context) error {
	if err := d.proveOneRuns(ctx); err != nil {
		return err
	}
	if err := d.proveTicks(ctx); err != nil {
		return err
	}
	if err := d.proveConsole(ctx); err != nil {
		return err
	}
	d.say("The LiveMigration at the end")
	return d.kubectl(ctx, "get", "livemigration", "-o", "wide")
}

// proveTicks shows the guest's heartbeat around the move, and how long it stood
// still.
func (d *demonstration) proveTicks(ctx context.Context) error {
	d.say("The guest's ticks before and after the move")
	if _, err := d.guest.Ticks().Advance(ctx, d.to.Name(), 2); err != nil {
		return err
	}
	if err := d.guest.Ticks().Check(); err != nil {
		return err
	}
	lm, err := d.awaitEnd(ctx, "demo")
	if err != nil {
		return err
	}
	if lm.Status.DowntimeMilliseconds == nil {
		return errors.New("no downtime is reported")
	}
	gap, noise, ok := d.guest.Ticks().LastMove()
	if !ok {
		return errors.New("the ticks do not show the move")
	}
	for _, t := range d.guest.Ticks().All() {
		if t.N >= gap.Before.N-1 && t.N <= gap.After.N+1 {
			fmt.Printf("    %s  tick %d  on %s\n", t.At.Format("15:04:05.000"), t.N, t.Host)
		}
	}
	reported := time.Duration(*lm.Status.DowntimeMilliseconds) * time.Millisecond
	fmt.Printf("    no tick is missing; the guest was paused for %s, and %s of downtime are reported\n",
		max(0, gap.Stopped).Round(time.Millisecond), reported)
	if gap.Stopped > reported+max(clockSlack, 2*noise) {
		return errors.New("the guest stood still for longer than was reported")
	}
	return nil
}

// proveConsole shows where the guest's console listens.
func (d *demonstration) proveConsole(ctx context.Context) error {
	d.say("The guest's VNC console")
	const firstVNC, lastVNC = 5900, 5999
	listening, err := d.to.Listening(ctx)
	if err != nil {
		return err
	}
	want := netip.MustParseAddr(d.to.Address())
	for _, at := range listening {
		if at.Port() >= firstVNC && at.Port() <= lastVNC {
			fmt.Printf("    listens at %s on %s, whose address is %s\n", at, d.to.Name(), want)
			if at.Addr() == want {
				return nil
			}
		}
	}
	return fmt.Errorf("the console does not listen at %s", want)
}
