package agent

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// hostWithVolume is a host that has a volume of LVM.
func hostWithVolume(name, id string) fs.FS {
	return fstest.MapFS{"sys/class/block/dm-3/dm/name": {Data: []byte(name + "\n")}, "sys/class/block/dm-3/dm/uuid": {Data: []byte(id + "\n")}}
}

// TestBlockDevicesOfTheTargetAreChecked: of another device by the same name, libvirt would have the guest go on with the
// contents; without one, the migration would fail when it has begun.
func TestBlockDevicesOfTheTargetAreChecked(t *testing.T) {
	const xml = `<domain type='kvm'><name>web</name><uuid>` + guestUUID + `</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
		`<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/><source dev='/dev/vg0/web-1'/><target dev='vda' bus='virtio'/></disk></devices></domain>`
	const ours, theirs = "LVM-Qc3sdJqRgqVY8xxW1fGVc5lqzrxV", "LVM-Wd4teKrShrWZ9yyX2gHWd6mrAsyW"
	elsewhere := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
		TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{Block: &v1alpha1.PathSource{Path: "/dev/mapper/vg1-web"}},
	}}}
	byID := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
		TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{Block: &v1alpha1.PathSource{Path: "/dev/md/web"}},
	}}}
	for name, c := range map[string]struct {
		source, target fs.FS
		data           *v1alpha1.MigrateData
		unsafe         bool
		refused        v1alpha1.BlockerCode
	}{
		"the same":                             {source: hostWithVolume("vg0-web--1", ours), target: hostWithVolume("vg0-web--1", ours)},
		"another":                              {source: hostWithVolume("vg0-web--1", ours), target: hostWithVolume("vg0-web--1", theirs), refused: v1alpha1.BlockerDiskDiffers},
		"another, and its user answers for it": {source: hostWithVolume("vg0-web--1", ours), target: hostWithVolume("vg0-web--1", theirs), unsafe: true},
		"it is not there":                      {source: hostWithVolume("vg0-web--1", ours), target: hostWithVolume("vg0-other", theirs), refused: v1alpha1.BlockerDiskMissing},
		"there is none":                        {source: hostWithVolume("vg0-web--1", ours), target: fstest.MapFS{"sys/class/block/sda/size": {}}, refused: v1alpha1.BlockerDiskMissing},
		"something brings it there":            {source: hostWithVolume("vg0-web--1", ours), target: hostWithVolume("vg0-other", theirs), unsafe: true},
		"a name that may be anything's":        {source: hostWithVolume("vg0-web--1", ours), target: hostWithVolume("vg0-other", theirs), data: byID},
		"it has another name there":            {source: hostWithVolume("vg0-web--1", ours), target: hostWithVolume("vg1-web", ours), data: elsewhere},
		"another has that name":                {source: hostWithVolume("vg0-web--1", ours), target: hostWithVolume("vg1-web", theirs), data: elsewhere, refused: v1alpha1.BlockerDiskDiffers},
		"a name means nothing":                 {source: hostWithVolume("vg0-web--1", "CRYPT-LUKS2-1-a"), target: hostWithVolume("vg0-web--1", theirs)},
		"the source does not see its devices":  {target: hostWithVolume("vg0-web--1", theirs)},
		"the target does not see its devices":  {source: hostWithVolume("vg0-web--1", ours)},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.a.system, w.b.system = c.source, c.target
				w.a.restart()
				w.b.restart()
				w.b.node.Receive.AllowedPaths = append(w.b.node.Receive.AllowedPaths, "/dev")
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, LiveXML: xml, PersistentXML: xml})
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					lm.Spec.MigrateData, lm.Spec.Options = c.data, &v1alpha1.MigrationOptions{AllowUnsafe: &c.unsafe}
				}))
				if c.refused == "" {
					w.requireEnd(lm, v1alpha1.PhaseSucceeded, v1alpha1.ReasonMigrated, "")
					return
				}
				w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
				if p := lm.Status.Target.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != c.refused || !strings.Contains(p.Message, "disk vda") || !strings.Contains(p.Message, "options.allowUnsafe") {
					t.Errorf("the problem is %+v", p)
				}
				w.requireCalls(fake.MethodMigrate, 0)
			})
		})
	}
}
