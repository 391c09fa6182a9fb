package agent

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestTwoGuestsDoNotGetTheSameSpace, even if the agent is started anew between them; and once
// the first will not come, the second may.
func TestTwoGuestsDoNotGetTheSameSpace(t *testing.T) {
	for name, c := range map[string]struct {
		restart, cancel bool
		want            v1alpha1.LiveMigrationPhase
	}{
		"at once":                           {false, false, v1alpha1.PhaseFailed},
		"after a restart":                   {true, false, v1alpha1.PhaseFailed},
		"after the first has given it back": {false, true, v1alpha1.PhaseSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				const other = "55555555-5555-4555-8555-555555555555"
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: other, Name: "db", LiveXML: hypervisor.DomainXML(
					`<domain type='kvm'><name>db</name><uuid>` + other + `</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
						`<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/images/db.raw'/><target dev='vda' bus='virtio'/></disk></devices></domain>`)})
				w.fleet.Host("node-a").AddImage("/images/db.raw", hypervisor.ImageSight{Format: "raw", CapacityBytes: 2 << 30, AllocatedBytes: 2 << 30})
				w.fleet.Host("node-b").SetSpace(3 << 30)
				w.api.full = true // The first waits for its slot.
				first := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{}))
				time.Sleep(5 * time.Second)
				if got := w.api.get(first).Status.Target; got == nil || got.ReadyTime == nil {
					t.Fatalf("the target of the first is %+v", got)
				}
				if c.restart {
					w.b.restart()
				}
				if c.cancel {
					w.api.update(first.UID, func(lm *v1alpha1.LiveMigration) {
						lm.Annotations = map[string]string{v1alpha1.AnnotationCancel: "now"}
					})
					w.settle(first)
					w.api.full = false
				}
				second := w.settle(w.migrateWith(other, copies(v1alpha1.StorageCopyOptions{})))
				if second.Status.Phase != c.want {
					t.Errorf("the second ends in %s: %+v", second.Status.Phase, second.Status.Conditions)
				}
				message := meta.FindStatusCondition(second.Status.Conditions, v1alpha1.ConditionSucceeded).Message
				if c.want == v1alpha1.PhaseFailed && !strings.Contains(message, "1024 MiB left") {
					t.Errorf("the message is %s", message)
				}
			})
		})
	}
}

// dbUUID is that of a guest whose only disk occupies 1 GiB in a directory of its own.
const dbUUID = "55555555-5555-4555-8555-555555555555"

func (w *world) dbGuest() {
	w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: dbUUID, Name: "db", LiveXML: hypervisor.DomainXML(
		`<domain type='kvm'><name>db</name><uuid>` + dbUUID + `</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
			`<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/images/more/db.raw'/><target dev='vda' bus='virtio'/></disk></devices></domain>`)})
	w.fleet.Host("node-a").AddImage("/images/more/db.raw", hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 30, AllocatedBytes: 1 << 30})
}

// TestTwoDirectoriesOfOneFileSystem have its space in common, for as long as one of two guests is
// still to write there, and however often the agent is started anew.
func TestTwoDirectoriesOfOneFileSystem(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		before, between func(w *world)
		refused         string
	}{
		"there is room for one": {refused: "There are 512 MiB left in /images/more (as large and as full as /images, to which others copy images"},
		"after a restart":       {between: func(w *world) { w.b.restart() }, refused: "512 MiB left"},
		"after another look": {between: func(w *world) {
			// In the first, it seems that the two are not equally full.
			w.fleet.Host("node-b").Mount("/images/more", 2<<40, 5<<30)
			w.fleet.Host("node-b").OnLook("/images/more", func() { w.fleet.Host("node-b").Mount("/images/more", 2<<40, 2560*mib) })
		}, refused: "512 MiB left"},
		"the first has written some of it": {between: func(w *world) {
			w.fleet.Host("node-b").AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 1536 * mib})
			w.fleet.Host("node-b").SetSpace(1536 * mib)
		}},
		"some, but others took as much": {between: func(w *world) {
			w.fleet.Host("node-b").AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 1536 * mib})
			w.fleet.Host("node-b").SetSpace(1024 * mib)
		}, refused: "512 MiB left"},
		"the other is on another file system": {before: func(w *world) { w.fleet.Host("node-b").Mount("/images/more", 1<<40, 1<<30) }},
		"on one as large, but not as full":    {before: func(w *world) { w.fleet.Host("node-b").Mount("/images/more", 2<<40, 5<<30) }},
		"the first's cannot be looked at": {between: func(w *world) {
			w.fleet.Host("node-b").Mount("/images/more", 1<<40, 2560*mib)
			w.fleet.Host("node-b").Unmount("/images")
		}, refused: "512 MiB left"},
		"the first's does not answer": {between: func(w *world) {
			w.fleet.Host("node-b").Mount("/images/more", 1<<40, 2560*mib)
			w.fleet.Host("node-b").Silence("/images")
		}, refused: "512 MiB left"},
		"the first's does not answer, and there is room": {between: func(w *world) {
			w.fleet.Host("node-b").Mount("/images/more", 1<<40, 5<<30)
			w.fleet.Host("node-b").Silence("/images")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				w.dbGuest()
				w.fleet.Host("node-b").SetSpace(2560 * mib)
				w.api.full = true // They wait for their slots.
				if c.before != nil {
					c.before(w)
				}
				first := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{}))
				w.await(first, "the target", func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
				})
				if c.between != nil {
					c.between(w)
				}
				second := w.migrateWith(dbUUID, copies(v1alpha1.StorageCopyOptions{}))
				w.await(second, "the target", func(lm *v1alpha1.LiveMigration) bool {
					return lm.Status.Target != nil && (lm.Status.Target.ReadyTime != nil || lm.Status.Target.Problem != nil)
				})
				p := w.api.get(second).Status.Target.Problem
				switch {
				case c.refused == "" && p == nil:
				case c.refused == "" || p == nil || p.Blockers[0].Code != v1alpha1.BlockerNoSpaceForImages || !strings.Contains(p.Message, c.refused):
					t.Errorf("the target of the second says %+v, want %q", p, c.refused)
				}
			})
		})
	}
}

// TestAGuestWithoutImagesNeedsNoAnswerAboutThoseOfOthers: nothing is to be copied of it.
func TestAGuestWithoutImagesNeedsNoAnswerAboutThoseOfOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: dbUUID, Name: "db"})
		w.api.full = true // They wait for their slots.
		ready := func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Target != nil && lm.Status.Target.ReadyTime != nil
		}
		w.await(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{})), "the target", ready)
		looks := w.fleet.Count(fake.MethodLookAtImage, "")
		w.fleet.Host("node-b").Silence("/images")
		w.await(w.migrate(dbUUID), "the target", ready)
		if n := w.fleet.Count(fake.MethodLookAtImage, "") - looks; n > 0 {
			t.Errorf("it was looked %d times", n)
		}
	})
}

// TestTwoDisksInTwoDirectoriesOfOneFileSystem of one guest do not get the same space either.
func TestTwoDisksInTwoDirectoriesOfOneFileSystem(t *testing.T) {
	for name, apart := range map[string]bool{"one file system": false, "two": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				xml, err := w.fleet.Host("node-a").DomainXML(t.Context(), guestUUID, hypervisor.XMLMigratable)
				if err != nil {
					t.Fatal(err)
				}
				xml = hypervisor.DomainXML(strings.Replace(string(xml), "/shared/data.raw", "/images/more/data.raw", 1))
				w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: xml})
				w.fleet.Host("node-a").AddImage("/images/more/data.raw", hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 30, AllocatedBytes: 1 << 30})
				w.fleet.Host("node-b").SetSpace(2 << 30)
				if apart {
					w.fleet.Host("node-b").Mount("/images/more", 1<<40, 1<<30)
				}
				lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{})))
				message := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded).Message
				if apart != (lm.Status.Phase == v1alpha1.PhaseSucceeded) ||
					!apart && !strings.Contains(message, "There are 2048 MiB left in /images and /images/more together (as large and as full as each other, they count as one file system) on node-b, and the guest's disks take 3072 MiB") {
					t.Errorf("it ends in %s: %s", lm.Status.Phase, message)
				}
			})
		})
	}
}

// TestTwoGuestsDoNotGetTheSamePlace, though there is nothing there yet: after a restart, or a
// call without an answer, each would take the other's image for its own.
func TestTwoGuestsDoNotGetTheSamePlace(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		const other = "55555555-5555-4555-8555-555555555555"
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: other, Name: "db", LiveXML: hypervisor.DomainXML(
			`<domain type='kvm'><name>db</name><uuid>` + other + `</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
				`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/db.qcow2'/><target dev='vda' bus='virtio'/></disk></devices></domain>`)})
		w.fleet.Host("node-a").AddImage("/images/db.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 1 << 30})
		w.api.full = true // The first waits for its slot.
		lost := &hypervisor.Error{Kind: hypervisor.KindConnectionLost, Message: "the connection was lost"}
		w.fleet.Host("node-b").FailNext(fake.MethodMakeImage, lost, lost, lost, lost, lost, lost)
		first := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{}))
		time.Sleep(time.Second / 2)
		second := w.migrateWith(other, func(lm *v1alpha1.LiveMigration) {
			copies(v1alpha1.StorageCopyOptions{})(lm)
			lm.Spec.MigrateData = &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
				TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/images/web.qcow2"}},
			}}}
		})
		time.Sleep(20 * time.Second)
		if got := w.api.get(first).Status.Target; got == nil || got.ReadyTime == nil {
			t.Errorf("the target of the first is %+v", got)
		}
		if got := w.api.get(second).Status.Target; got == nil || got.Problem == nil || got.Problem.Blockers[0].Code != v1alpha1.BlockerImageExists {
			t.Errorf("the target of the second is %+v", got)
		}
		w.requireFiles("node-b", "/images/web.qcow2 /images/web.qcow2.virtferry-mark")
	})
}
