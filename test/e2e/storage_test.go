//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	localDisk  = lab.PrivateDir + "/storage/"
	diskMiB    = 64
	mediumText = "read me"
)

// diskGuest starts a guest with a disk that only its host has and that it writes to all the
// time, a disk that both hosts see, and a medium that both have.
func (e *environment) diskGuest(t *testing.T) (g *lab.Guest, local string) {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	local = localDisk + name + ".qcow2"
	medium := localDisk + "medium.iso"
	for _, h := range []*lab.Host{e.a, e.b} {
		if err := os.MkdirAll(h.Path(localDisk), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(h.Path(medium), []byte(strings.Repeat(mediumText, 1024)), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(h.Path(local)) })
	}
	shared := lab.Disk{Path: lab.SharedDir + "/" + name + ".img", SizeMiB: 16}
	t.Cleanup(func() { _ = os.Remove(e.a.Path(shared.Path)) })
	g = e.startGuest(t, e.a, lab.GuestConfig{
		Persistent: true, Load: lab.Load{DiskMiBps: 4},
		Disks: []lab.Disk{{Path: local, SizeMiB: diskMiB, Format: "qcow2"}, shared},
		ExtraDevices: "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='" + medium +
			"'/><target dev='hda' bus='ide'/><readonly/></disk>",
	})
	return g, local
}

// requireImages fails if a host has other files beside the medium, or a pool is left.
func requireImages(t *testing.T, h *lab.Host, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(h.Path(localDisk))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != "medium.iso" {
			names = append(names, entry.Name())
		}
	}
	if got := strings.Join(names, " "); got != strings.Join(want, " ") {
		t.Errorf("%s has the files %q, want %v", h.Name(), got, want)
	}
	shared, err := filepath.Glob(h.Path(lab.SharedDir) + "/virtferry-*")
	if err != nil || len(shared) > 0 {
		t.Errorf("left in the shared directory: %v, %v", shared, err)
	}
	if pools, err := h.Virsh(t.Context(), "pool-list", "--all", "--name"); err != nil || strings.Contains(pools, "virtferry") {
		t.Errorf("%s has the pools %q, %v", h.Name(), pools, err)
	}
}

// TestLocalDisksMove: the disk that only the source has goes along, with everything that the
// guest has written to it until the end; the others are where they were.
func TestLocalDisksMove(t *testing.T) { env.moveDisks(t) }

func (e *environment) moveDisks(t *testing.T) {
	t.Helper()
	g, local := e.diskGuest(t)
	lm, _ := e.apply(t, v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: e.b.Name(),
		Options: &v1alpha1.MigrationOptions{
			StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull, SourceImages: v1alpha1.SourceImagesRemove},
		},
	})
	lm = e.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	e.requireOn(t, g, e.b)
	e.requireAbsent(t, g, e.a)
	requireImages(t, e.a)
	requireImages(t, e.b, filepath.Base(local))
	if storage := lm.Status.Source.Storage; storage == nil || !storage.ProvenSafe {
		t.Errorf("of the shared disk, the source says %+v", storage)
	}
	states := map[v1alpha1.DiskName]v1alpha1.TargetImageState{}
	for _, image := range lm.Status.Target.Images {
		states[image.Name] = image.State
	}
	if len(states) != 2 || states["vda"] != v1alpha1.TargetImageMade || states["vdb"] != v1alpha1.TargetImageShared {
		t.Errorf("the images are %v", states)
	}
	least := int64(diskMiB << 20)
	if e.a.Generation() == lab.Forky { // Newer versions count what is allocated only.
		least = 1
	}
	if disk := lm.Status.Progress.Disk; disk == nil || disk.TotalBytes < least {
		t.Errorf("the disks' progress is %+v", disk)
	}
	if _, err := g.Ticks().Wait(t.Context(), e.b.Name(), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := e.b.Virsh(t.Context(), "destroy", g.UUID()); err != nil {
		t.Fatal(err)
	}
	disk, err := e.b.ReadDisk(t.Context(), local)
	if err != nil {
		t.Fatal(err)
	}
	newest, err := lab.CheckWrites(disk)
	t.Logf("the newest write is %d", newest)
	if err != nil || newest == 0 {
		t.Errorf("the disk's newest write is %d: %v", newest, err)
	}
}

// TestAbortedCopyLeavesNothing: an image that is half filled is removed, by whatever process of
// the target's agent, and the guest goes on where it is.
func TestAbortedCopyLeavesNothing(t *testing.T) {
	g, local := env.diskGuest(t)
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: env.b.Name(),
		Options: &v1alpha1.MigrationOptions{
			BandwidthMiBps: new(int64(4)),
			StorageCopy:    &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull},
		},
	})
	lm = env.await(t, lm, "a part of the disk", func(now *v1alpha1.LiveMigration) bool {
		p := now.Status.Progress
		return p != nil && p.Disk != nil && p.Disk.ProcessedBytes > 0 && p.Percent > 0
	})
	if _, err := os.Stat(env.b.Path(local)); err != nil {
		t.Errorf("while it is copied, there is no image: %v", err)
	}
	// The one that has made the image does not live to remove it.
	if err := env.b.Agent().Kill(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.ask(t, lm, v1alpha1.AnnotationCancel, "enough")
	env.restartAgent(t, env.b)
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseCancelled)
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)
	requireImages(t, env.a, filepath.Base(local))
	requireImages(t, env.b)
	for _, image := range lm.Status.Target.Images {
		if image.Name == "vda" && image.State != v1alpha1.TargetImageRemoved {
			t.Errorf("the image is %+v", image)
		}
	}
}

// TestAMissingMediumIsToldBeforehand, and the guest moves once that is ejected.
func TestAMissingMediumIsToldBeforehand(t *testing.T) {
	g, _ := env.diskGuest(t)
	if err := os.Remove(env.b.Path(localDisk + "medium.iso")); err != nil {
		t.Fatal(err)
	}
	spec := v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: env.b.Name(),
		Options: &v1alpha1.MigrationOptions{StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull}},
	}
	lm := env.awaitReason(t, env.migrate(t, spec), v1alpha1.ReasonTargetCheckFailed)
	if p := lm.Status.Target.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerMediumMissing || !strings.Contains(p.Message, "medium.iso") {
		t.Errorf("the target says %+v", p)
	}
	env.requireOn(t, g, env.a)
	requireImages(t, env.b)
	if _, err := env.a.Virsh(t.Context(), "change-media", g.UUID(), "hda", "--eject", "--live", "--config"); err != nil {
		t.Fatal(err)
	}
	env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
}

// TestMissingMediaAreEjectedOnRequest: a CD-ROM in a directory that the target does not have, and a
// floppy disk. Both drives go along, and are empty there.
func TestMissingMediaAreEjectedOnRequest(t *testing.T) { env.ejectMedia(t) }

func (e *environment) ejectMedia(t *testing.T) {
	t.Helper()
	const iso, floppy = lab.PrivateDir + "/of-a-only/install.iso", lab.PrivateDir + "/floppy.img"
	if err := os.MkdirAll(e.a.Path(filepath.Dir(iso)), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(e.a.Path(filepath.Dir(iso))) })
	for path, size := range map[string]int{iso: 1 << 20, floppy: 1440 << 10} {
		if err := os.WriteFile(e.a.Path(path), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(e.a.Path(path)) })
	}
	const raw = "'><driver name='qemu' type='raw'/><source file='"
	g := e.startGuest(t, e.a, lab.GuestConfig{Persistent: true, ExtraDevices: "<disk type='file' device='cdrom" + raw + iso + "'/><target dev='hda' bus='ide'/><readonly/></disk>" +
		"<disk type='file' device='floppy" + raw + floppy + "'/><target dev='fda' bus='fdc'/></disk>"})
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: e.b.Name()}
	lm := e.awaitReason(t, e.migrate(t, spec), v1alpha1.ReasonTargetCheckFailed)
	p := lm.Status.Target.Problem
	if p == nil || len(p.Blockers) != 2 {
		t.Fatalf("without the option, the target says %+v", p)
	}
	for _, b := range p.Blockers {
		if b.Code != v1alpha1.BlockerMediumMissing || !strings.Contains(b.Message, "options.ejectMissingMedia") {
			t.Errorf("without the option, the target says %+v", b)
		}
	}
	spec.Options = &v1alpha1.MigrationOptions{EjectMissingMedia: new(true)}
	lm = e.awaitPhase(t, e.migrate(t, spec), v1alpha1.PhaseSucceeded)
	e.requireOn(t, g, e.b)
	if _, err := g.Ticks().Wait(t.Context(), e.b.Name(), 3); err != nil {
		t.Fatal(err)
	}
	ejected := map[v1alpha1.DiskName]string{}
	for _, m := range lm.Status.Source.Storage.Ejected {
		ejected[m.Name] = m.Path
	}
	told := slices.ContainsFunc(lm.Status.Notices, func(n v1alpha1.Notice) bool {
		return n.Reason == v1alpha1.NoticeMediaEjected && strings.Contains(n.Message, iso) && strings.Contains(n.Message, floppy)
	})
	if len(ejected) != 2 || ejected["hda"] != iso || ejected["fda"] != floppy || !told {
		t.Errorf("the status says %v and %+v", ejected, lm.Status.Notices)
	}
	for _, form := range [][]string{{"dumpxml"}, {"dumpxml", "--inactive"}} {
		text, err := e.b.Virsh(t.Context(), append(form, g.Name())...)
		if err != nil || strings.Contains(text, iso) || strings.Contains(text, floppy) || !strings.Contains(text, "dev='hda'") || !strings.Contains(text, "dev='fda'") {
			t.Errorf("%v: the drives are not there and empty, %v", form, err)
		}
	}
}
