package agent

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

func inDirectory(from, to string) v1alpha1.StorageMapping {
	return v1alpha1.StorageMapping{Kind: v1alpha1.StorageKindDirectory, From: from, To: to}
}

// TestStorageIsFoundWhereTheTargetsHypervisorSays: what is copied is copied there, and what is
// shared is proven to be there.
func TestStorageIsFoundWhereTheTargetsHypervisorSays(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		w.fleet.Host("node-b").MountShared("/shared", "/images/shared")
		// Where the source has its image, the target has somebody else's.
		w.fleet.Host("node-b").AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30})
		w.api.mappings = []v1alpha1.StorageMapping{inDirectory("/images", "/images/here"), inDirectory("/shared", "/images/shared"), inDirectory("/elsewhere", "/x")}
		lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{})))
		w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
		w.requireFiles("node-b", "/images/here/web.qcow2 /images/web.qcow2")
		used := lm.Status.Source.Guest.StorageMappings
		if len(used) != 2 || used[0] != w.api.mappings[0] || used[1] != w.api.mappings[1] {
			t.Errorf("the status says %v", used)
		}
		if storage := lm.Status.Source.Storage; storage == nil || !storage.ProvenSafe {
			t.Errorf("of the shared disk, the source says %+v", storage)
		}
		for _, form := range []hypervisor.XMLForm{hypervisor.XMLMigratable, hypervisor.XMLInactive} {
			text, err := w.fleet.Host("node-b").DomainXML(t.Context(), guestUUID, form)
			for _, file := range []string{"/images/here/web.qcow2", "/images/shared/data.raw", "/images/shared/install.iso"} {
				if err != nil || !strings.Contains(string(text), "file='"+file+"'") {
					t.Errorf("%v: the guest does not have %s: %s, %v", form, file, text, err)
				}
			}
		}
	})
}

// TestWhereStorageMayNotBeFound: nothing is touched where the target's own word does not hold.
func TestWhereStorageMayNotBeFound(t *testing.T) {
	inPool := func(to string) v1alpha1.StorageMapping {
		return v1alpha1.StorageMapping{Kind: v1alpha1.StorageKindPool, From: "default", To: to}
	}
	for name, c := range map[string]struct {
		mapping v1alpha1.StorageMapping
		data    *v1alpha1.MigrateData
		want    v1alpha1.BlockerCode
		message string
	}{
		"a directory that is not allowed": {mapping: inDirectory("/shared", "/etc"), want: v1alpha1.BlockerPathNotAllowed, message: `node-b does not allow guests to use "/etc"`},
		"one that leads out of it":        {mapping: inDirectory("/shared", "/images/../etc"), want: v1alpha1.BlockerPathNotAllowed},
		"one that does not concern it":    {mapping: inDirectory("/elsewhere", "/etc")},
		"one that its user overrules": {mapping: inDirectory("/shared", "/etc"), data: &v1alpha1.MigrateData{
			Volumes: []v1alpha1.VolumeMigrateData{{TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/images/new.qcow2"}}}},
		}},
		"nothing is there":      {mapping: inDirectory("/shared", "/images/none"), want: v1alpha1.BlockerMediumMissing, message: "does not have /images/none/install.iso"},
		"a pool":                {mapping: inPool("fast")},
		"one that is not there": {mapping: inPool("none"), want: v1alpha1.BlockerStoragePoolMissing, message: `no storage pool "none", which the spec of the Hypervisor gives for "default"`},
		"one that is down":      {mapping: inPool("slow"), want: v1alpha1.BlockerStoragePoolInactive, message: "virsh pool-start"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				w.addVolume()
				w.fleet.Host("node-b").SetFacts(func(f *hypervisor.HostFacts) {
					f.StoragePools = []hypervisor.StoragePool{{Name: "default", State: hypervisor.PoolRunning}, {Name: "fast", State: hypervisor.PoolRunning}, {Name: "slow", State: "Inactive"}}
				})
				w.api.mappings = []v1alpha1.StorageMapping{c.mapping}
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					copies(v1alpha1.StorageCopyOptions{})(lm)
					lm.Spec.MigrateData = c.data
				}))
				if c.want == "" {
					w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
					text, err := w.fleet.Host("node-b").DomainXML(t.Context(), guestUUID, hypervisor.XMLMigratable)
					if pool := c.mapping.Kind == v1alpha1.StorageKindPool; err != nil || pool != strings.Contains(string(text), "pool='fast' volume='more'") || strings.Contains(string(text), "/etc") {
						t.Errorf("the guest is %s, %v", text, err)
					}
					return
				}
				w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
				p := lm.Status.Target.Problem
				if p == nil || p.Blockers[0].Code != c.want || !strings.Contains(p.Message, c.message) {
					t.Errorf("the problem is %+v", p)
				}
				if w.fleet.Count(fake.MethodMigrate, guestUUID) != 0 {
					t.Error("it was tried all the same")
				}
				w.requireFiles("node-b", "")
			})
		})
	}
}

// addVolume gives the guest with disks another one, in a storage pool.
func (w *world) addVolume() {
	a := w.fleet.Host("node-a")
	text, err := a.DomainXML(w.t.Context(), guestUUID, hypervisor.XMLMigratable)
	if err != nil {
		w.t.Fatal(err)
	}
	with := hypervisor.DomainXML(strings.Replace(string(text), "</devices>",
		`<disk type='volume' device='disk'><driver name='qemu' type='raw'/><source pool='default' volume='more'/><target dev='vdc' bus='virtio'/></disk></devices>`, 1))
	a.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, LiveXML: with, PersistentXML: with})
}
