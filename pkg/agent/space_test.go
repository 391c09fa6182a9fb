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
