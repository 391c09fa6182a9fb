//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// tell moves guests in the lab in each way in which a migration can be made to end there:
// first what disturbs nobody, side by side, and then what does, one after the other.
func (w *labWorld) tell(ctx context.Context) error {
	lines := []func(context.Context) error{w.refusals, w.calm, w.disks, w.steering, w.pausedForTooLong}
	calmly := make([]error, len(lines))
	var wait sync.WaitGroup
	for i, line := range lines {
		wait.Go(func() { calmly[i] = line(ctx) })
	}
	wait.Wait()
	g, err := w.boot(ctx, w.a, busy("unlucky"))
	if err != nil {
		return errors.Join(err, errors.Join(calmly...))
	}
	var faulty []error
	for _, act := range []func(context.Context, *lab.Guest) error{
		w.sourceRestarted, w.replaced, w.targetKilled, w.notStarted, w.hung, w.cutOff, w.suspended, w.poweredOff, w.lost,
	} {
		faulty = append(faulty, act(ctx, g))
	}
	return errors.Join(slices.Concat(calmly, faulty)...)
}

// The guests of the migrations that end before anything moves.
const (
	off     = "off"     // It is shut off.
	still   = "still"   // Nothing is wrong with it.
	linked  = "linked"  // Its disk is a link, and nobody knows whether both hosts have the same.
	waiting = "waiting" // It is to go to a node that is away.
	kept    = "kept"    // libvirt keeps a snapshot of it.
)

// refusals are migrations that end before anything moves.
func (w *labWorld) refusals(ctx context.Context) error {
	if err := w.gather(ctx); err != nil {
		return err
	}
	// Whose agent is gone while all of the others are told.
	if err := w.c.Agent().Kill(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	all := w.refused()
	for _, r := range all {
		if err := w.create(ctx, r.name, r.spec); err != nil {
			return err
		}
	}
	for _, r := range all {
		if err := w.ends(ctx, r.name, r.reason); err != nil {
			return err
		}
	}
	if err := w.c.Agent().Start(); err != nil {
		return err
	}
	return w.c.WaitUsable(ctx)
}

// gather boots the guests that are not to move.
func (w *labWorld) gather(ctx context.Context) error {
	if err := w.twins(ctx); err != nil {
		return err
	}
	guests := map[string]*lab.Guest{}
	for _, name := range []string{off, still, linked, waiting, kept} {
		host, config := w.a, lab.GuestConfig{Name: name, Tiny: true}
		switch name {
		case still:
			host = w.b
		case linked:
			disk, err := w.linkDisk(ctx)
			if err != nil {
				return err
			}
			config.ExtraDevices = disk
		}
		var err error
		if guests[name], err = w.boot(ctx, host, config); err != nil {
			return err
		}
	}
	if _, err := w.a.Virsh(ctx, "destroy", guests[off].UUID()); err != nil {
		return err
	}
	return w.keepSnapshot(ctx, guests[kept])
}

// linkDisk makes a disk in the directory that both hosts see, which is a symbolic link to a
// file of each host's own: libvirt does not know it to be shared, and agents cannot prove it.
// It returns the device.
func (w *labWorld) linkDisk(ctx context.Context) (string, error) {
	const own, link = lab.PrivateDir + "/linked.img", lab.SharedDir + "/linked.img"
	for _, h := range []*lab.Host{w.a, w.b} {
		if err := os.WriteFile(h.Path(own), make([]byte, 1<<20), 0o600); err != nil {
			return "", err
		}
		// The clock of a file system ticks 250 times a second, and files of one tick look the same.
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
	device := "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='" + link + "'/>" +
		"<target dev='vdx' bus='virtio'/><serial>" + linked + "</serial></disk>"
	return device, os.Symlink(own, w.a.Path(link))
}

// refusal is a migration that ends before anything moves.
type refusal struct {
	name   string
	spec   v1alpha1.LiveMigrationSpec
	reason string
}

func (w *labWorld) refused() []refusal {
	a, b, c := w.a.Name(), w.b.Name(), w.c.Name()
	to := func(domain, node string) v1alpha1.LiveMigrationSpec {
		return v1alpha1.LiveMigrationSpec{Domain: domain, TargetNode: node}
	}
	withDisk := func(spec v1alpha1.LiveMigrationSpec, serial, path string) v1alpha1.LiveMigrationSpec {
		spec.MigrateData = &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
			Serial: &serial, Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: path}},
		}}}
		return spec
	}
	dry := func(spec v1alpha1.LiveMigrationSpec) v1alpha1.LiveMigrationSpec {
		spec.DryRun = new(true)
		return spec
	}
	elsewhere := to(still, a)
	elsewhere.SourceNode = c
	return []refusal{
		{"to-a-node-that-is-away", to(off, c), v1alpha1.ReasonDomainNotRunning},
		{"to-a-lost-agent", to(waiting, c), v1alpha1.ReasonNodeNotReady},
		{"to-no-node", to(still, "node-z"), v1alpha1.ReasonNodeNotFound},
		{"of-no-guest", to("nobody", b), v1alpha1.ReasonDomainNotFound},
		{"of-one-of-two", to(twin, a), v1alpha1.ReasonDomainAmbiguous},
		{"of-one-that-runs-twice", to(double, b), v1alpha1.ReasonDomainOnSeveralNodes},
		{"from-elsewhere", elsewhere, v1alpha1.ReasonDomainNotOnSource},
		{"to-where-it-is", to(still, b), v1alpha1.ReasonAlreadyOnTarget},
		{"checked", dry(to(still, a)), v1alpha1.ReasonChecksPassed},
		{"with-wrong-data", withDisk(to(still, a), "no-such-disk", lab.SharedDir+"/none.img"), v1alpha1.ReasonInvalidMigrateData},
		{"with-snapshots", to(kept, b), v1alpha1.ReasonSourceCheckFailed},
		{"with-a-secret", withDisk(to(linked, b), linked, "/etc/shadow"), v1alpha1.ReasonTargetCheckFailed},
		{"checked-with-a-secret", dry(withDisk(to(linked, b), linked, "/etc/shadow")), v1alpha1.ReasonTargetCheckFailed},
		{"with-a-disk-at-risk", to(linked, b), v1alpha1.ReasonUnsafe},
	}
}

// Guests of which there are two: two of one name, and one that runs on two hosts.
const (
	twin   = "twin"
	double = "double"
)

// twins makes the guests of which there are two.
func (w *labWorld) twins(ctx context.Context) error {
	for _, name := range []string{twin, double} {
		g, err := w.boot(ctx, w.a, lab.GuestConfig{Name: name, Tiny: true})
		if err != nil {
			return err
		}
		definition, err := w.a.Virsh(ctx, "dumpxml", "--migratable", g.UUID())
		if err != nil {
			return err
		}
		definition = strings.ReplaceAll(definition, w.a.Address(), w.b.Address())
		if name == twin {
			definition = strings.ReplaceAll(definition, g.UUID(), uuid.NewString())
		}
		file, err := w.write(name, definition)
		if err != nil {
			return err
		}
		if _, err := w.b.Virsh(ctx, "create", file); err != nil {
			return err
		}
		if name == double {
			if err := w.b.WaitPublished(ctx, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepSnapshot has libvirt know of a snapshot of a guest.
func (w *labWorld) keepSnapshot(ctx context.Context, g *lab.Guest) error {
	definition, err := w.a.Virsh(ctx, "dumpxml", "--inactive", g.UUID())
	if err != nil {
		return err
	}
	file, err := w.write("snapshot", "<domainsnapshot><name>kept</name><state>shutoff</state><creationTime>1700000000</creationTime>"+definition+"</domainsnapshot>")
	if err != nil {
		return err
	}
	_, err = w.a.Virsh(ctx, "snapshot-create", "--redefine", g.UUID(), file)
	return err
}

// calm are guests that get over without further ado, more than may at a time.
func (w *labWorld) calm(ctx context.Context) error {
	const many = 4
	var names []string
	for i := range many {
		from, name := []*lab.Host{w.a, w.a, w.a, w.b}[i], fmt.Sprintf("calm-%d", i+1)
		g, err := w.boot(ctx, from, lab.GuestConfig{Name: name, Tiny: true, VNC: &lab.VNC{}})
		if err != nil {
			return err
		}
		o := &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(2)), Transfer: &v1alpha1.TransferOptions{Encryption: v1alpha1.EncryptionRequired}}
		if i%2 == 1 {
			o.Transfer.Encryption = v1alpha1.EncryptionDisabled
		}
		if _, _, err := w.move(ctx, name, g, o); err != nil {
			return err
		}
		names = append(names, name)
	}
	for _, name := range names {
		if err := w.ends(ctx, name, v1alpha1.ReasonMigrated); err != nil {
			return err
		}
	}
	return nil
}

// disks has a guest move with its disk, which only its host has.
func (w *labWorld) disks(ctx context.Context) error {
	g, err := w.boot(ctx, w.a, lab.GuestConfig{
		Name: "disk", Load: lab.Load{DiskMiBps: 2}, Disks: []lab.Disk{{Path: lab.PrivateDir + "/disk.qcow2", SizeMiB: 64, Format: "qcow2"}},
	})
	if err != nil {
		return err
	}
	o := &v1alpha1.MigrationOptions{BandwidthMiBps: new(int64(16)), StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull}}
	if _, _, err := w.move(ctx, "with-its-disk", g, o); err != nil {
		return err
	}
	return w.ends(ctx, "with-its-disk", v1alpha1.ReasonMigrated)
}

// steering has a guest move that writes faster than it is copied, with all that can be
// allowed and asked for.
func (w *labWorld) steering(ctx context.Context) error {
	g, err := w.boot(ctx, w.a, busy("busy"))
	if err != nil {
		return err
	}
	for _, act := range w.steered() {
		if _, _, err := w.move(ctx, act.name, g, act.options); err != nil {
			return err
		}
		if act.asks != "" {
			if err := steps(
				func() error { return w.copies(ctx, act.name, 2) },
				func() error { return w.ask(ctx, act.name, act.asks) },
			); err != nil {
				return err
			}
		}
		if err := w.ends(ctx, act.name, act.reason); err != nil {
			return err
		}
	}
	on, err := hostOf(ctx, g)
	if err != nil {
		return err
	}
	_, err = on.Virsh(ctx, "destroy", g.UUID())
	return err
}

// steered is a move of a guest that writes fast.
type steered struct {
	name    string
	options *v1alpha1.MigrationOptions
	// asks is the annotation by which its user asks for something while it is copied.
	asks   string
	reason string
}

func (*labWorld) steered() []steered {
	with := func(change func(o *v1alpha1.MigrationOptions)) *v1alpha1.MigrationOptions {
		o := slowly()
		change(o)
		return o
	}
	// A strategy that does not give up before its time.
	stepped := &v1alpha1.ConvergenceOptions{Strategy: v1alpha1.StrategyStepped}
	brief := with(func(o *v1alpha1.MigrationOptions) {
		o.Convergence, o.CompletionTimeoutSecondsPerGiB = stepped, new(int64(4))
	})
	standing := with(func(o *v1alpha1.MigrationOptions) { o.Convergence, o.ProgressTimeoutSeconds = stepped, new(int64(6)) })
	forced := func(o *v1alpha1.MigrationOptions) *v1alpha1.MigrationOptions {
		o = o.DeepCopy()
		o.OnTimeout = v1alpha1.TimeoutForceComplete
		return o
	}
	postCopy := func(o *v1alpha1.MigrationOptions) *v1alpha1.MigrationOptions {
		o = forced(o)
		o.AllowPostCopy = new(true)
		return o
	}
	return []steered{
		{name: "hopeless", options: slowly(), reason: v1alpha1.ReasonWillNotConverge},
		{name: "too-slow", options: brief, reason: v1alpha1.ReasonCompletionTimeout},
		{name: "no-progress", options: standing, reason: v1alpha1.ReasonProgressTimeout},
		{name: "cancelled", options: endlessly(false), asks: v1alpha1.AnnotationCancel, reason: v1alpha1.ReasonCancelled},
		{name: "post-copied", options: with(func(o *v1alpha1.MigrationOptions) { o.AllowPostCopy = new(true) }), reason: v1alpha1.ReasonMigrated},
		{name: "paused", options: with(func(o *v1alpha1.MigrationOptions) { o.AllowPause = new(true) }), reason: v1alpha1.ReasonMigrated},
		{name: "post-copied-by-force", options: endlessly(true), asks: v1alpha1.AnnotationForceComplete, reason: v1alpha1.ReasonMigrated},
		{name: "paused-by-force", options: endlessly(false), asks: v1alpha1.AnnotationForceComplete, reason: v1alpha1.ReasonMigrated},
		{name: "too-slow-post-copied", options: postCopy(brief), reason: v1alpha1.ReasonMigrated},
		{name: "too-slow-paused", options: forced(brief), reason: v1alpha1.ReasonMigrated},
		{name: "no-progress-post-copied", options: postCopy(standing), reason: v1alpha1.ReasonMigrated},
		{name: "no-progress-paused", options: forced(standing), reason: v1alpha1.ReasonMigrated},
		{name: "auto-converged", options: with(func(o *v1alpha1.MigrationOptions) {
			o.OnTimeout, o.AutoConverge = v1alpha1.TimeoutKeepGoing, &v1alpha1.AutoConvergeOptions{InitialPercent: new(int32(40)), IncrementPercent: new(int32(20))}
			// Less than all that the guest writes to, and more than it still does when slowed down
			// as far as may be, on a machine that is fast.
			o.MaxDowntimeMilliseconds = new(int64(2000))
		}), reason: v1alpha1.ReasonMigrated},
	}
}

// pausedForTooLong is a guest that is paused so that it gets over, over a link by which it
// does not.
func (w *labWorld) pausedForTooLong(ctx context.Context) error {
	const name = "paused-for-too-long"
	g, err := w.boot(ctx, w.b, busy(name))
	if err != nil {
		return err
	}
	o := endlessly(false)
	o.BandwidthMiBps, o.CompletionTimeoutSecondsPerGiB = new(int64(1)), new(int64(20))
	if _, _, err := w.move(ctx, name, g, o); err != nil {
		return err
	}
	return steps(
		func() error { return w.copies(ctx, name, 1) },
		func() error { return w.ask(ctx, name, v1alpha1.AnnotationForceComplete) },
		func() error { return w.ends(ctx, name, v1alpha1.ReasonPauseTimeout) },
		// It is of no use any more, and would take its share of the machine.
		func() error { _, err := w.b.Virsh(ctx, "destroy", g.UUID()); return err },
	)
}

// moment is how long something lasts that Prometheus is to see.
const moment = 3 * scrapeInterval
