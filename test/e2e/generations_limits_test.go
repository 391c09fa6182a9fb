//go:build e2e

package e2e

import (
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestGenerationsAreTold: the versions are the daemons', not those of the
// library that the agents talk to them with.
func TestGenerationsAreTold(t *testing.T) {
	requireGenerations(t)
	begins := map[lab.Generation]string{lab.Bookworm: "9.0.0 7.2.", lab.Trixie: "11.3.0 10.0.", lab.Forky: ""}
	for _, h := range env.lab.Hosts() {
		hv := &v1alpha1.Hypervisor{}
		if err := env.client.Get(t.Context(), client.ObjectKey{Name: h.Name()}, hv); err != nil {
			t.Fatal(err)
		}
		said, err := h.Virsh(t.Context(), "version", "--daemon")
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s has libvirt %s and QEMU %s", h.Generation(), hv.Status.LibvirtVersion, hv.Status.HypervisorVersion)
		if !strings.Contains(said, "against daemon: "+hv.Status.LibvirtVersion) || !strings.Contains(said, "QEMU "+hv.Status.HypervisorVersion) ||
			!strings.HasPrefix(hv.Status.LibvirtVersion+" "+hv.Status.HypervisorVersion, begins[h.Generation()]) {
			t.Errorf("of %s, virsh says %s", h.Generation(), said)
		}
		if host := hv.Status.Host; host == nil || len(host.Unread) > 0 {
			t.Errorf("of %s, this is known: %+v", h.Generation(), host)
		}
	}
}

// TestGenerationsLeaveTheirRootsAlone: hosts share them, and this machine does not see them mounted.
func TestGenerationsLeaveTheirRootsAlone(t *testing.T) {
	h := hostOf(t, lab.Forky)
	if out, err := h.Exec(t.Context(), "touch", "/usr/lib/trace", "/var/lib/trace"); err == nil {
		t.Errorf("the root can be written to: %s", out)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), h.Path("/")) || strings.Contains(string(mounts), env.lab.Dir()) {
		t.Errorf("a mount of the lab's shows (%v): %s", err, mounts)
	}
}

// TestGenerationsDifferInHostModel: what a CPU is made of differs between emulators.
func TestGenerationsDifferInHostModel(t *testing.T) {
	from, to := hostOf(t, lab.Bookworm), hostOf(t, lab.Trixie)
	g := env.startGuest(t, from, lab.GuestConfig{ExtraXML: "<cpu mode='host-model'/>"})
	requireRefused(t, g, from, to, nil, v1alpha1.BlockerCPUIncompatible, to.Name(), "pcommit")
}

// TestGenerationsDifferInMachineTypes are too new, or too old.
func TestGenerationsDifferInMachineTypes(t *testing.T) {
	for _, c := range []struct {
		machine  string
		from, to lab.Generation
	}{
		{"pc-i440fx-10.0", lab.Trixie, lab.Bookworm},
		{"pc-q35-11.1", lab.Forky, lab.Trixie},
		{"pc-i440fx-2.12", lab.Bookworm, lab.Forky},
	} {
		t.Run(c.machine, func(t *testing.T) {
			from, to := hostOf(t, c.from), hostOf(t, c.to)
			g := env.startGuest(t, from, lab.GuestConfig{Machine: c.machine})
			requireRefused(t, g, from, to, nil, v1alpha1.BlockerEmulatorUnsupported, to.Name(), c.machine)
		})
	}
}

// TestGenerationsDifferInCompression, on both sides.
func TestGenerationsDifferInCompression(t *testing.T) {
	old, from, to := hostOf(t, lab.Bookworm), hostOf(t, lab.Trixie), hostOf(t, lab.Forky)
	options := &v1alpha1.MigrationOptions{Transfer: &v1alpha1.TransferOptions{
		ParallelConnections: new(int32(2)), Compression: &v1alpha1.CompressionOptions{Method: v1alpha1.CompressionZstd},
	}}
	g := env.startGuest(t, from, lab.GuestConfig{Load: slowLoad()})
	requireRefused(t, g, from, old, options, v1alpha1.BlockerVersionUnsupported, old.Name(), "9.4.0")
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name(), Options: options})
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, to)
	if plan := lm.Status.Source.Transfer; plan == nil || plan.ParallelConnections != 2 || plan.Compression != v1alpha1.CompressionZstd {
		t.Errorf("it was sent as %+v", plan)
	}
	g = env.startGuest(t, old, lab.GuestConfig{Name: "-old"})
	requireRefused(t, g, old, from, options, v1alpha1.BlockerVersionUnsupported, old.Name(), "9.4.0")
}

// TestGenerationsDifferInSwitchoverBandwidth: the source has to know of it, and the target need
// not. A guest that writes faster than it is copied gets over, since its rest is sent faster.
func TestGenerationsDifferInSwitchoverBandwidth(t *testing.T) {
	old, from := hostOf(t, lab.Bookworm), hostOf(t, lab.Forky)
	options := &v1alpha1.MigrationOptions{
		BandwidthMiBps: new(int64(8)), OnTimeout: v1alpha1.TimeoutKeepGoing, Transfer: &v1alpha1.TransferOptions{SwitchoverBandwidthMiBps: new(int64(200))},
	}
	load := lab.Load{WorkingSetMiB: 32, DirtyMiBps: 16}
	g := env.startGuest(t, old, lab.GuestConfig{Load: load})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: from.Name(), Options: options})
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseFailed)
	var said []string
	for _, b := range lm.Status.Source.Problem.Blockers {
		said = append(said, string(b.Code)+": "+b.Message)
	}
	if all := strings.Join(said, "\n"); len(said) != 2 || !strings.Contains(all, "11.1.0") || !strings.Contains(all, "8.2.0") {
		t.Errorf("it is refused for %s", all)
	}
	env.requireOn(t, g, old)

	g = env.startGuest(t, from, lab.GuestConfig{Name: "-new", Load: load})
	lm = env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: old.Name(), Options: options})
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, old)
	if plan := lm.Status.Source.Transfer; plan == nil || plan.SwitchoverBandwidthMiBps != 200 {
		t.Errorf("it was sent as %+v", plan)
	}
	if d := lm.Status.DowntimeMilliseconds; d == nil || *d > 500 {
		t.Errorf("it stood still for %v ms", d)
	}
}

// TestGenerationsDifferInQueues: Debian 13's QEMU makes the queues of virtio devices larger than
// the next one takes. Only with the device states, at the end, is that found: in post-copy, the
// guest would be lost.
func TestGenerationsDifferInQueues(t *testing.T) {
	from, to := hostOf(t, lab.Trixie), hostOf(t, lab.Forky)
	g := env.startGuest(t, from, lab.GuestConfig{Persistent: true, NICs: []lab.NIC{{}}})
	requireRefused(t, g, from, to, &v1alpha1.MigrationOptions{AllowPostCopy: new(true)}, v1alpha1.BlockerVersionUnsupported, to.Name(), "allowPostCopy")

	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name()})
	lm = env.awaitFinished(t, lm)
	requireTold(t, lm, "virtio queues")
	if lm.Status.Phase == v1alpha1.PhaseSucceeded {
		t.Log("it was taken: versions have changed, so that rules.yaml may be told of those that take it")
		env.requireOn(t, g, to)
		return
	}
	env.requireOn(t, g, from)
	env.requireAbsent(t, g, to)
}

// TestGenerationsCopyDisks that only the source has, from each to each other. What boots on Trixie
// does not move to Forky with virtio disks, for which TestGenerationsDifferInQueues has the reason.
func TestGenerationsCopyDisks(t *testing.T) {
	for _, c := range []struct{ from, to lab.Generation }{
		{lab.Bookworm, lab.Trixie}, {lab.Trixie, lab.Bookworm}, {lab.Forky, lab.Trixie}, {lab.Bookworm, lab.Forky}, {lab.Forky, lab.Bookworm},
	} {
		t.Run(string(c.from)+"-to-"+string(c.to), func(t *testing.T) {
			between := *env
			between.a, between.b = hostOf(t, c.from), hostOf(t, c.to)
			between.moveDisks(t)
		})
	}
}

// TestGenerationsTakeDrives without the media that were in them, and encrypted disks, between the
// oldest and the newest.
func TestGenerationsTakeDrives(t *testing.T) {
	for _, c := range []struct{ from, to lab.Generation }{{lab.Bookworm, lab.Forky}, {lab.Forky, lab.Bookworm}} {
		between := *env
		between.a, between.b = hostOf(t, c.from), hostOf(t, c.to)
		name := string(c.from) + "-to-" + string(c.to)
		t.Run(name+"-media", between.ejectMedia)
		t.Run(name+"-encrypted", between.moveEncryptedDisk)
	}
}

// TestGenerationsLeaveOutZeroes of disks that are copied, where libvirt on both hosts can.
func TestGenerationsLeaveOutZeroes(t *testing.T) {
	const image, mib = lab.PrivateDir + "/zeroes/disk.qcow2", 32
	options := &v1alpha1.MigrationOptions{StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull, DetectZeroes: new(true)}}
	old, from, to := hostOf(t, lab.Bookworm), hostOf(t, lab.Forky), hostOf(t, lab.Trixie)
	for _, h := range env.lab.Hosts() {
		if err := os.MkdirAll(h.Path(path.Dir(image)), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(h.Path(image)) })
	}
	if _, err := from.Exec(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=full", image, strconv.Itoa(mib)+"M"); err != nil {
		t.Fatal(err)
	}
	g := env.startGuest(t, from, lab.GuestConfig{Disks: []lab.Disk{{Path: image, SizeMiB: mib, Format: "qcow2"}}})
	requireRefused(t, g, from, old, options, v1alpha1.BlockerVersionUnsupported, old.Name(), "10.9.0")
	env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name(), Options: options}), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, to)
	info, err := os.Stat(to.Path(image))
	if err != nil {
		t.Fatal(err)
	}
	if taken := info.Sys().(*syscall.Stat_t).Blocks * 512; taken > mib<<20/4 {
		t.Errorf("the image of %d MiB takes %d bytes", mib, taken)
	}
}

// TestGenerationsMakeImagesWhole where the user wants that: whatever the guest has written to its
// disk, the image has all of its space.
func TestGenerationsMakeImagesWhole(t *testing.T) {
	const image, mib = lab.PrivateDir + "/whole/disk.qcow2", 32
	options := &v1alpha1.MigrationOptions{StorageCopy: &v1alpha1.StorageCopyOptions{
		Mode: v1alpha1.StorageCopyFull, Preallocate: new(true), SourceImages: v1alpha1.SourceImagesRemove,
	}}
	for _, h := range env.lab.Hosts() {
		if err := os.MkdirAll(h.Path(path.Dir(image)), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(h.Path(image)) })
	}
	g := env.startGuest(t, hostOf(t, lab.Bookworm), lab.GuestConfig{Disks: []lab.Disk{{Path: image, SizeMiB: mib, Format: "qcow2"}}})
	for _, generation := range []lab.Generation{lab.Forky, lab.Trixie, lab.Bookworm} {
		to := hostOf(t, generation)
		env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name(), Options: options}), v1alpha1.PhaseSucceeded)
		env.requireOn(t, g, to)
		info, err := os.Stat(to.Path(image))
		if err != nil {
			t.Fatal(err)
		}
		if taken := info.Sys().(*syscall.Stat_t).Blocks * 512; taken < mib<<20 {
			t.Errorf("on %s, the image of %d MiB takes %d bytes", to.Name(), mib, taken)
		}
	}
}

// requireTold fails unless a notice about the versions has these words.
func requireTold(t *testing.T, lm *v1alpha1.LiveMigration, words string) {
	t.Helper()
	for _, n := range lm.Status.Notices {
		if n.Reason == v1alpha1.NoticeKnownFaults && strings.Contains(n.Message, words) {
			return
		}
	}
	t.Errorf("its user is not told: %s", describe(lm))
}

// TestGenerationsThatCrashAreNotResumedTo: a libvirt that crashes each time that a
// post-copy is resumed towards it is left alone, and the user is told beforehand.
func TestGenerationsThatCrashAreNotResumedTo(t *testing.T) {
	from, to := hostOf(t, lab.Bookworm), hostOf(t, lab.Trixie)
	g := env.startGuest(t, from, lab.GuestConfig{Persistent: true, Load: busyLoad()})
	// Post-copy knows no limit but that of the link.
	if err := from.LimitBandwidth(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := from.ClearShaping(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	daemon := to.LibvirtdPID()
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name(), Options: endless(true)})
	env.awaitCopying(t, lm)
	env.ask(t, lm, v1alpha1.AnnotationForceComplete, "now")
	env.awaitPhase(t, lm, v1alpha1.PhasePostCopy)
	lm = env.await(t, lm, "the guest on the target", func(now *v1alpha1.LiveMigration) bool {
		d := now.Status.Target.Domain
		return d != nil && d.State == "Running" && d.Reason == "Postcopy"
	})
	requireTold(t, lm, "11.4.0")
	if err := to.CutOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseRecovering)
	if err := to.Reconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	// As long as an agent waits before it resumes one.
	time.Sleep(20 * time.Second)
	if err := env.client.Get(t.Context(), client.ObjectKeyFromObject(lm), lm); err != nil {
		t.Fatal(err)
	}
	if r := lm.Status.Source.Recovery; r == nil || r.Attempts != 0 || !strings.Contains(r.WithheldReason, "11.4.0") {
		t.Errorf("it is treated as %+v", r)
	}
	if now := to.LibvirtdPID(); now == 0 || now != daemon {
		t.Errorf("libvirtd was process %d, and is %d", daemon, now)
	}
}
