//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestDisksThatAreBasedOnOthersMove, be the others told in the guest's definition or found by
// libvirt, of which the definition that migrates says nothing: with what the target has of the
// base already, or with all of it.
func TestDisksThatAreBasedOnOthersMove(t *testing.T) {
	const base, found, told = localDisk + "base.raw", localDisk + "found.qcow2", localDisk + "told.qcow2"
	const size, known = 16 << 20, 1 << 20
	contents := make([]byte, size)
	copy(contents[size-known:], bytes.Repeat([]byte(mediumText), known/len(mediumText)))
	for _, h := range []*lab.Host{env.a, env.b} {
		if err := os.MkdirAll(h.Path(localDisk), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for mode, mapped := range map[v1alpha1.StorageCopyMode]string{v1alpha1.StorageCopyIncremental: base, v1alpha1.StorageCopyFull: ""} {
		t.Run(string(mode), func(t *testing.T) {
			t.Cleanup(func() {
				for _, h := range []*lab.Host{env.a, env.b} {
					for _, file := range []string{base, found, told} {
						_ = os.Remove(h.Path(file))
					}
				}
			})
			if err := os.WriteFile(env.a.Path(base), contents, 0o600); err != nil {
				t.Fatal(err)
			}
			if mapped != "" {
				if err := os.WriteFile(env.b.Path(mapped), contents, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, file := range []string{found, told} {
				if out, err := env.a.Exec(t.Context(), "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, file); err != nil {
					t.Fatal(err, out)
				}
			}
			g := env.startGuest(t, env.a, lab.GuestConfig{
				Persistent: true, Load: lab.Load{DiskMiBps: 1}, Disks: []lab.Disk{{Path: found, Format: "qcow2"}},
				ExtraDevices: "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='" + told + "'/>" +
					"<backingStore type='file'><format type='raw'/><source file='" + base + "'/><backingStore/></backingStore><target dev='vdb' bus='virtio'/></disk>",
			})
			lm := env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: &v1alpha1.MigrationOptions{
				StorageCopy: &v1alpha1.StorageCopyOptions{Mode: mode},
			}}), v1alpha1.PhaseSucceeded)
			env.requireOn(t, g, env.b)
			if len(lm.Status.Source.Storage.Images) != 2 {
				t.Errorf("of the disks, the source says %+v", lm.Status.Source.Storage)
			}
			// So the guest can be moved on in the same way.
			running, err := env.b.Virsh(t.Context(), "dumpxml", g.UUID())
			if based := strings.Count(running, "<source file='"+base+"'"); err != nil || strings.Count(running, "<backingStore") < 2 || (based == 2) != (mapped != "") {
				t.Errorf("the running guest is %v\n%s", err, running)
			}
			if _, err := env.b.Virsh(t.Context(), "destroy", g.UUID()); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{found, told} {
				disk, err := env.b.ReadDisk(t.Context(), file)
				if err != nil {
					t.Fatal(err)
				}
				if len(disk) != size || !bytes.Equal(disk[size-known:], contents[size-known:]) {
					t.Errorf("%s does not have what it was based on", file)
				}
				info, err := env.b.Exec(t.Context(), "qemu-img", "info", file)
				if err != nil || strings.Contains(info, "backing file: "+base) != (mapped != "") {
					t.Errorf("the image is %v\n%s", err, info)
				}
			}
			if out, err := env.b.Virsh(t.Context(), "start", g.UUID()); err != nil {
				t.Errorf("the guest cannot be started again: %v %s", err, out)
			}
		})
	}
}
