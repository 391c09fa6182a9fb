//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// mountElsewhere has a host see the shared directory at another path, and nothing at its own.
func mountElsewhere(t *testing.T, h *lab.Host, at string) {
	t.Helper()
	if err := os.MkdirAll(h.Path(at), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, mount := range [][]string{{"--bind", lab.SharedDir, at}, {"-t", "tmpfs", "none", lab.SharedDir}} {
		if _, err := h.Exec(t.Context(), "mount", mount...); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := h.Exec(context.Background(), "umount", mount[len(mount)-1]); err != nil {
				t.Errorf("unmounting what was mounted for the test: %v", err)
			}
		})
	}
}

// TestStorageIsElsewhereOnTheTarget: an administrator says so, once for all guests. A disk is
// copied to another directory, and two that are shared are found at another path.
func TestStorageIsElsewhereOnTheTarget(t *testing.T) {
	const mounted, local = lab.PrivateDir + "/mounted", lab.PrivateDir + "/of-others"
	const name, writable, readOnly = "elsewhere.qcow2", "elsewhere.img", "elsewhere-read.img"
	contents := []byte(strings.Repeat(mediumText, 1<<16))
	if err := os.WriteFile(env.a.Path(lab.SharedDir+"/"+readOnly), contents, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{env.a.Path(localDisk), env.b.Path(local)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, file := range []string{env.a.Path(lab.SharedDir + "/" + writable), env.a.Path(lab.SharedDir + "/" + readOnly), env.a.Path(localDisk + name)} {
			_ = os.Remove(file)
		}
		_ = os.RemoveAll(env.b.Path(local))
	})
	mountElsewhere(t, env.b, mounted)
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Persistent: true, Load: lab.Load{DiskMiBps: 4},
		Disks: []lab.Disk{{Path: localDisk + name, SizeMiB: diskMiB, Format: "qcow2"}, {Path: lab.SharedDir + "/" + writable, SizeMiB: 16}},
		ExtraDevices: "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='" + lab.SharedDir + "/" + readOnly +
			"'/><target dev='vdc' bus='virtio'/><readonly/></disk>",
	})
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: &v1alpha1.MigrationOptions{
		StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull, SourceImages: v1alpha1.SourceImagesRemove},
	}}
	lm := env.awaitReason(t, env.migrate(t, spec), v1alpha1.ReasonTargetCheckFailed)
	if p := lm.Status.Target.Problem; p == nil || !strings.Contains(p.Message, lab.SharedDir+"/"+readOnly) {
		t.Errorf("without mappings, the problem is %+v", p)
	}
	env.setSpec(t, env.b.Name(), `{"storageMappings":[`+
		`{"kind":"Directory","from":"`+lab.SharedDir+`","to":"`+mounted+`"},`+
		`{"kind":"Directory","from":"`+filepath.Clean(localDisk)+`","to":"`+local+`"}]}`)
	lm = env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	want := []v1alpha1.StorageMapping{
		{Kind: v1alpha1.StorageKindDirectory, From: lab.SharedDir, To: mounted}, {Kind: v1alpha1.StorageKindDirectory, From: filepath.Clean(localDisk), To: local},
	}
	if got := lm.Status.Source.Guest.StorageMappings; !slices.Equal(got, want) {
		t.Errorf("the status says %v", got)
	}
	if storage := lm.Status.Source.Storage; storage == nil || !storage.ProvenSafe {
		t.Errorf("of the shared disk, the source says %+v", storage)
	}
	requireImages(t, env.a)
	for _, form := range [][]string{{"dumpxml"}, {"dumpxml", "--inactive"}} {
		text, err := env.b.Virsh(t.Context(), append(form, g.Name())...)
		for _, file := range []string{local + "/" + name, mounted + "/" + writable, mounted + "/" + readOnly} {
			if err != nil || !strings.Contains(text, "file='"+file+"'") {
				t.Errorf("%v: the guest does not have %s, %v", form, file, err)
			}
		}
	}
	if _, err := g.Ticks().Wait(t.Context(), env.b.Name(), 3); err != nil {
		t.Fatal(err)
	}
	if _, err := env.b.Virsh(t.Context(), "destroy", g.UUID()); err != nil {
		t.Fatal(err)
	}
	disk, err := env.b.ReadDisk(t.Context(), local+"/"+name)
	if err != nil {
		t.Fatal(err)
	}
	if newest, err := lab.CheckWrites(disk); err != nil || newest == 0 {
		t.Errorf("the disk's newest write is %d: %v", newest, err)
	}
	if left, err := os.ReadFile(env.a.Path(lab.SharedDir + "/" + readOnly)); err != nil || !slices.Equal(left, contents) {
		t.Errorf("what the guest only reads has changed: %v", err)
	}
}

// TestAPoolHasAnotherNameOnTheTarget: nobody compares what is in it, so the user answers for it.
func TestAPoolHasAnotherNameOnTheTarget(t *testing.T) {
	const here, there, volume = "pool-here", "pool-there", "in-pool.img"
	for h, pool := range map[*lab.Host]string{env.a: here, env.b: there} {
		if _, err := h.Virsh(t.Context(), "pool-create-as", pool, "dir", "--target", lab.SharedDir); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = h.Virsh(context.Background(), "pool-destroy", pool) })
	}
	if _, err := env.a.Virsh(t.Context(), "vol-create-as", here, volume, "16M", "--format", "raw"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(env.a.Path(lab.SharedDir + "/" + volume)) })
	if _, err := env.b.Virsh(t.Context(), "pool-refresh", there); err != nil {
		t.Fatal(err)
	}
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, ExtraDevices: "<disk type='volume' device='disk'><driver name='qemu' type='raw'/><source pool='" + here +
		"' volume='" + volume + "'/><target dev='vdc' bus='virtio'/></disk>"})
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: &v1alpha1.MigrationOptions{AllowUnsafe: new(true)}}
	mapTo := func(pool string) {
		env.setSpec(t, env.b.Name(), `{"storageMappings":[{"kind":"Pool","from":"`+here+`","to":"`+pool+`"}]}`)
	}
	mapTo("pool-nowhere")
	lm := env.awaitReason(t, env.migrate(t, spec), v1alpha1.ReasonTargetCheckFailed)
	if p := lm.Status.Target.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerStoragePoolMissing {
		t.Errorf("the problem is %+v", p)
	}
	mapTo(there)
	env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	for _, form := range [][]string{{"dumpxml"}, {"dumpxml", "--inactive"}} {
		text, err := env.b.Virsh(t.Context(), append(form, g.Name())...)
		if err != nil || strings.Contains(text, here) || !strings.Contains(text, "pool='"+there+"' volume='"+volume+"'") {
			t.Errorf("%v: the guest's volume is not in %s, %v", form, there, err)
		}
	}
}
