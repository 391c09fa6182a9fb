package agent

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// basedGuest has a disk of which libvirt has found out what it is based on, if anything; the
// definition that migrates does not tell. Unsafe is what libvirt takes moving it for.
func (w *world) basedGuest(found string, unsafe bool) {
	const source = `<source file='/images/web.qcow2'/>`
	xml := `<domain type='kvm'><name>web</name><uuid>` + guestUUID + `</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
		`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>` + source + `<target dev='vda' bus='virtio'/></disk></devices></domain>`
	a := w.fleet.Host("node-a")
	a.AddGuest(fake.Guest{
		UUID: guestUUID, Name: "web", Persistent: true, Unsafe: unsafe, LiveXML: hypervisor.DomainXML(xml), PersistentXML: hypervisor.DomainXML(xml),
		RunningXML: hypervisor.DomainXML(strings.Replace(xml, source, source+found, 1)),
	})
	a.AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 2 << 30})
	a.AddImage("/images/base.raw", hypervisor.ImageSight{Format: "raw", CapacityBytes: 8 << 30})
}

const (
	foundBase = `<backingStore type='file'><format type='raw'/><source file='/images/base.raw'/><backingStore/></backingStore>`
	foundNone = `<backingStore/>`
)

// TestWhatLibvirtHasFoundIsNotLost: only what is in the topmost image is copied onto what that is
// based on, and onto nothing else.
func TestWhatLibvirtHasFoundIsNotLost(t *testing.T) {
	for name, c := range map[string]struct {
		found   string
		targets bool // Has the base.
		backing bool
		want    v1alpha1.BlockerCode
	}{
		"based on another":               {foundBase, true, true, ""},
		"which the target does not have": {foundBase, false, true, v1alpha1.BlockerDiskMissing},
		"based on nothing":               {foundNone, false, false, ""},
		"nobody knows":                   {"", true, false, v1alpha1.BlockerDiskNotCopyable},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.basedGuest(c.found, false)
				if c.targets {
					w.fleet.Host("node-b").AddImage("/images/base.raw", hypervisor.ImageSight{Format: "raw", CapacityBytes: 8 << 30})
				}
				lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyIncremental})))
				if c.want != "" {
					w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
					if p := lm.Status.Target.Problem; p.Blockers[0].Code != c.want {
						t.Errorf("the problem is %+v", p)
					}
					w.requireCalls(fake.MethodMigrate, 0)
				} else {
					w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
				}
				if d := lm.Status.Source.Guest.Disks[0]; (d.Backing != nil) != c.backing || c.backing && d.Backing.Path != "/images/base.raw" {
					t.Errorf("the disk is %+v", d)
				}
			})
		})
	}
}

// TestWhatLibvirtHasFoundIsMapped as well, where the target bases its image on it. Two of it are not
// found in one place.
func TestWhatLibvirtHasFoundIsMapped(t *testing.T) {
	for name, c := range map[string]struct {
		mode  v1alpha1.StorageCopyMode
		other v1alpha1.StorageMapping
		ends  v1alpha1.LiveMigrationPhase
		used  int
	}{
		"found elsewhere": {v1alpha1.StorageCopyIncremental, inDirectory("/elsewhere", "/x"), v1alpha1.PhaseSucceeded, 1},
		"not needed":      {v1alpha1.StorageCopyFull, inDirectory("/elsewhere", "/x"), v1alpha1.PhaseSucceeded, 0},
		"in one place":    {v1alpha1.StorageCopyIncremental, inDirectory("/images", "/images/bases"), v1alpha1.PhaseFailed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.basedGuest(strings.Replace(foundBase, "/images/base.raw", "/bases/web.qcow2", 1), false)
				w.fleet.Host("node-b").AddImage("/images/bases/web.qcow2", hypervisor.ImageSight{Format: "raw", CapacityBytes: 8 << 30})
				w.api.mappings = []v1alpha1.StorageMapping{inDirectory("/bases", "/images/bases"), c.other}
				lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{Mode: c.mode})))
				if lm.Status.Phase != c.ends {
					t.Fatalf("it ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
				}
				if c.ends == v1alpha1.PhaseFailed {
					w.requireEnd(lm, c.ends, v1alpha1.ReasonInvalidMigrateData, "")
					w.requireFiles("node-a", "/images/base.raw /images/web.qcow2")
					w.requireFiles("node-b", "/images/bases/web.qcow2")
					return
				}
				if d := lm.Status.Source.Guest.Disks[0]; c.used > 0 && (d.Backing == nil || d.Backing.Path != "/images/bases/web.qcow2") {
					t.Errorf("the disk is %+v", d)
				}
				if used := lm.Status.Source.Guest.StorageMappings; len(used) != c.used {
					t.Errorf("the status says %v", used)
				}
			})
		})
	}
}

// TestImagesWithoutABaseAreProvenToBeShared, as libvirt has found that they have none; and so are
// those with one, if that is.
func TestImagesWithoutABaseAreProvenToBeShared(t *testing.T) {
	for found, want := range map[string]bool{foundNone: true, foundBase: true, "": false} {
		inWorld(t, func(w *world) {
			w.fleet.ShareDirectory("/images")
			w.basedGuest(found, true)
			lm := w.settle(w.migrate(guestUUID))
			if storage := lm.Status.Source.Storage; storage == nil || storage.ProvenSafe != want || w.overridden() != want {
				t.Errorf("with %q, the source says %+v", found, storage)
			}
		})
	}
}
