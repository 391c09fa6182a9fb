//go:build linux

package main

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/test/lab"
)

// replaced has the source's agent, and then the manager, be replaced while a guest is copied.
func (w *labWorld) replaced(ctx context.Context, g *lab.Guest) error {
	const name = "followed-by-another-agent"
	from, _, err := w.move(ctx, name, g, endlessly(false))
	if err != nil {
		return err
	}
	return steps(
		func() error { return w.copies(ctx, name, 2) },
		func() error { return from.Agent().Kill(ctx, syscall.SIGKILL) },
		func() error { return from.Agent().Start() },
		func() error { return from.Agent().WaitReady(ctx) },
		// What has ended was counted, and is scraped, before the manager ends.
		func() error { return sleep(ctx, moment) },
		func() error { return w.replaceManager(ctx) },
		func() error { return w.manager.WaitReady(ctx) },
		func() error { return w.ask(ctx, name, v1alpha1.AnnotationForceComplete) },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonMigrated) },
	)
}

// sourceRestarted has the source's libvirt be killed while a guest is copied.
func (w *labWorld) sourceRestarted(ctx context.Context, g *lab.Guest) error {
	const name = "source-restarted"
	from, _, err := w.move(ctx, name, g, endlessly(false))
	if err != nil {
		return err
	}
	return steps(
		func() error { return w.copies(ctx, name, 1) },
		func() error { return from.KillLibvirtd(ctx, syscall.SIGKILL) },
		// Until its node is told to be disconnected.
		func() error { return sleep(ctx, 5*moment) },
		func() error { return from.StartLibvirtd(ctx) },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonInterrupted) },
		func() error { return from.WaitUsable(ctx) },
	)
}

// targetKilled has the guest's incoming half be killed while it is copied.
func (w *labWorld) targetKilled(ctx context.Context, g *lab.Guest) error {
	const name = "target-killed"
	_, to, err := w.move(ctx, name, g, endlessly(false))
	if err != nil {
		return err
	}
	return steps(
		func() error { return w.copies(ctx, name, 1) },
		func() error { return to.KillQEMU(g.Name()) },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonMigrationFailed) },
	)
}

// notStarted has libvirt take no new connection when a guest is to start, while those that
// there are go on.
func (w *labWorld) notStarted(ctx context.Context, g *lab.Guest) error {
	const name = "not-started"
	from, err := hostOf(ctx, g)
	if err != nil {
		return err
	}
	socket := from.LibvirtSocket()
	if err := os.Rename(socket, socket+".away"); err != nil {
		return err
	}
	back := func() error { return os.Rename(socket+".away", socket) }
	to := w.other(from)
	err = steps(
		func() error {
			return w.create(ctx, name, v1alpha1.LiveMigrationSpec{Domain: g.UUID(), TargetNode: to.Name(), Options: slowly()})
		},
		func() error { return w.ends(ctx, name, v1alpha1.ReasonNotStarted) },
	)
	if failed := back(); err == nil {
		err = failed
	}
	return err
}

// hung has a libvirt not answer for longer than a call to it may take.
func (w *labWorld) hung(ctx context.Context, g *lab.Guest) error {
	const name, lasts = "target-hung", 15 * time.Second
	_, to, err := w.move(ctx, name, g, endlessly(true))
	if err != nil {
		return err
	}
	return steps(
		func() error { return w.copies(ctx, name, 1) },
		func() error { return to.KillLibvirtd(ctx, syscall.SIGSTOP) },
		func() error { return sleep(ctx, lasts) },
		func() error { return to.KillLibvirtd(ctx, syscall.SIGCONT) },
		func() error { return w.ask(ctx, name, v1alpha1.AnnotationForceComplete) },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonMigrated) },
	)
}

// cutOff has the link between two hosts be cut in post-copy, for longer than libvirt hopes.
func (w *labWorld) cutOff(ctx context.Context, g *lab.Guest) error {
	const name = "resumed"
	from, to, err := w.move(ctx, name, g, endlessly(true))
	if err != nil {
		return err
	}
	return steps(
		func() error { return w.slowPostCopy(ctx, name, from) },
		func() error { return to.CutOff(ctx) },
		func() error { return w.reaches(ctx, name, v1alpha1.PhaseRecovering) },
		func() error { return sleep(ctx, moment) },
		func() error { return to.Reconnect(ctx) },
		func() error { return from.ClearShaping(ctx) },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonMigrated) },
	)
}

// slowPostCopy switches a migration to post-copy, which lasts.
func (w *labWorld) slowPostCopy(ctx context.Context, name string, from *lab.Host) error {
	return steps(
		func() error { return w.copies(ctx, name, 2) },
		// Post-copy knows no limit but that of the link.
		func() error { return from.LimitBandwidth(ctx, 4) },
		func() error { return w.ask(ctx, name, v1alpha1.AnnotationForceComplete) },
		func() error { return w.reaches(ctx, name, v1alpha1.PhasePostCopy) },
		func() error { return w.runsThere(ctx, name) },
	)
}

// suspended has somebody suspend a guest in post-copy, on the host where it runs already. It
// stays as it is.
func (w *labWorld) suspended(ctx context.Context, g *lab.Guest) error {
	const name = "suspended"
	from, to, err := w.move(ctx, name, g, endlessly(true))
	if err != nil {
		return err
	}
	return steps(
		func() error { return w.slowPostCopy(ctx, name, from) },
		func() error { _, err := to.Virsh(ctx, "suspend", g.UUID()); return err },
		func() error { return from.ClearShaping(ctx) },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonArrivedNotRunning) },
		func() error { _, err := to.Virsh(ctx, "resume", g.UUID()); return err },
	)
}

// poweredOff has a guest power itself off while it is copied, and starts it again.
func (w *labWorld) poweredOff(ctx context.Context, g *lab.Guest) error {
	const name = "powered-off"
	from, _, err := w.move(ctx, name, g, endlessly(false))
	if err != nil {
		return err
	}
	return steps(
		func() error { return w.copies(ctx, name, 1) },
		func() error { _, err := g.Command(ctx, from, "poweroff"); return err },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonGuestStopped) },
	)
}

// lost has the target's half of a guest be killed in post-copy. Nobody has the whole of it
// any more, and the migration stays as it is.
func (w *labWorld) lost(ctx context.Context, _ *lab.Guest) error {
	const name = "lost"
	g, err := w.boot(ctx, w.a, busy(name))
	if err != nil {
		return err
	}
	from, to, err := w.move(ctx, name, g, endlessly(true))
	if err != nil {
		return err
	}
	return steps(
		func() error { return w.slowPostCopy(ctx, name, from) },
		func() error { return to.KillQEMU(g.Name()) },
		func() error { return from.ClearShaping(ctx) },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonOutcomeUnknown) },
		func() error { return sleep(ctx, moment) },
		// A person decides that the half is worth nothing.
		func() error { _, err := from.Virsh(ctx, "destroy", g.UUID()); return err },
		func() error {
			return w.until(ctx, name, "an end", migration.Finished)
		},
	)
}
