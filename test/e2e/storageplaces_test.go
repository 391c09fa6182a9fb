//go:build e2e

package e2e

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestPlacesThatImagesDoNotGet: two directories of one file system have its space once, and a directory
// that is a symbolic link to where guests may have nothing is not used. The guest is left alone.
func TestPlacesThatImagesDoNotGet(t *testing.T) {
	const first, second, linked = localDisk + "first", localDisk + "second", localDisk + "linked"
	for _, dir := range []string{env.a.Path(first), env.a.Path(second), env.b.Path(localDisk)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, h := range []*lab.Host{env.a, env.b} {
			for _, dir := range []string{first, second, linked} {
				_ = os.RemoveAll(h.Path(dir))
			}
		}
	})
	g := env.startGuest(t, env.a, lab.GuestConfig{Disks: []lab.Disk{{Path: first + "/places.img", SizeMiB: 24}, {Path: second + "/places.img", SizeMiB: 24}}})
	for _, dir := range []string{first, second} {
		if out, err := env.a.Exec(t.Context(), "fallocate", "--length=24MiB", dir+"/places.img"); err != nil {
			t.Fatal(out, err)
		}
	}
	if out, err := env.b.Exec(t.Context(), "mount", "-t", "tmpfs", "-o", "size=40m", "none", localDisk); err != nil {
		t.Fatal(out, err)
	}
	t.Cleanup(func() { _, _ = env.b.Exec(context.Background(), "umount", localDisk) })
	if out, err := env.b.Exec(t.Context(), "mkdir", first, second); err != nil {
		t.Fatal(out, err)
	}
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: &v1alpha1.MigrationOptions{
		StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull},
	}}
	refused := func(code v1alpha1.BlockerCode, says string) {
		t.Helper()
		lm := env.awaitReason(t, env.migrate(t, spec), v1alpha1.ReasonTargetCheckFailed)
		if p := lm.Status.Target.Problem; p == nil || p.Blockers[0].Code != code || !strings.Contains(p.Message, says) {
			t.Errorf("the problem is %+v, want %s with %q", p, code, says)
		}
		if lm.Status.Source.StartRequestedTime != nil {
			t.Error("it was started")
		}
		if out, err := env.b.Exec(t.Context(), "find", localDisk, "-type", "f"); err != nil || out != "" {
			t.Errorf("there are %q, %v", out, err)
		}
	}
	refused(v1alpha1.BlockerNoSpaceForImages, "left in "+first+" and "+second+" together (as large and as full as each other, they count as one file system)")

	if err := os.Symlink("/etc", env.b.Path(linked)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(env.b.Path(first), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := env.b.Exec(t.Context(), "umount", localDisk); err != nil {
		t.Fatal(err)
	}
	place := func(disk, path string) v1alpha1.VolumeMigrateData {
		return v1alpha1.VolumeMigrateData{TargetDevice: new(disk), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: path}}}
	}
	spec.MigrateData = &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{place("vda", first+"/places.img"), place("vdb", linked+"/places.img")}}
	refused(v1alpha1.BlockerPathNotAllowed, `leads to "/etc/places.img" by a symbolic link`)
	env.requireOn(t, g, env.a)
}
