package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestWhichImageIsRemoved: one that was made for the guest, unless somebody has put another in
// its place; of one that was planned, it must be certain that it was made.
func TestWhichImageIsRemoved(t *testing.T) {
	planned := time.Now()
	as := func(change func(*hypervisor.ImageSight)) hypervisor.ImageSight {
		sight := hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, Changed: planned}
		change(&sight)
		return sight
	}
	same := as(func(*hypervisor.ImageSight) {})
	for name, c := range map[string]struct {
		state v1alpha1.TargetImageState
		known bool
		sight hypervisor.ImageSight
		want  v1alpha1.TargetImageState
	}{
		"made":                           {v1alpha1.TargetImageMade, true, same, v1alpha1.TargetImageRemoved},
		"made, and filled since":         {v1alpha1.TargetImageMade, true, as(func(s *hypervisor.ImageSight) { s.AllocatedBytes = 4 << 30 }), v1alpha1.TargetImageRemoved},
		"made, and replaced":             {v1alpha1.TargetImageMade, true, as(func(s *hypervisor.ImageSight) { s.CapacityBytes = 1 << 30 }), v1alpha1.TargetImageNotOurs},
		"made, for nobody knows what":    {v1alpha1.TargetImageMade, false, as(func(s *hypervisor.ImageSight) { s.CapacityBytes = 1 << 30 }), v1alpha1.TargetImageRemoved},
		"planned, and made":              {v1alpha1.TargetImagePlanned, true, same, v1alpha1.TargetImageRemoved},
		"planned, and filled":            {v1alpha1.TargetImagePlanned, true, as(func(s *hypervisor.ImageSight) { s.AllocatedBytes = 4 << 30 }), v1alpha1.TargetImageNotOurs},
		"planned, for nobody knows what": {v1alpha1.TargetImagePlanned, false, same, v1alpha1.TargetImageNotOurs},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				b := w.fleet.Host("node-b")
				b.AddImage("/images/web.qcow2", c.sight)
				s := &targetSession{node: w.b.node, hv: b, log: w.b.node.Log, lm: &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
					Attempt: &v1alpha1.AttemptStatus{ID: "1"}, Source: &v1alpha1.SourceStatus{AttemptID: "1"},
				}}}
				if c.known {
					s.lm.Status.Source.Guest = &v1alpha1.GuestFacts{Disks: []v1alpha1.GuestDisk{
						{Name: "vda", Path: "/images/web.qcow2", Format: "qcow2", CapacityBytes: 8 << 30},
					}}
				}
				image := &v1alpha1.TargetImage{Name: "vda", Path: "/images/web.qcow2", State: c.state, PlannedTime: new(metav1.NewMicroTime(planned))}
				if err := s.removeImage(t.Context(), image); err != nil || image.State != c.want {
					t.Errorf("the image is %s, %v", image.State, err)
				}
				if there := len(b.Images()) > 0; there != (c.want == v1alpha1.TargetImageNotOurs) {
					t.Errorf("it is there: %t", there)
				}
			})
		})
	}
}

// twoDisks is a guest with two disks of its host's own.
func (w *world) twoDisks() {
	disk := func(dev, file string) string {
		return `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='` + file + `'/><target dev='` + dev + `' bus='virtio'/></disk>`
	}
	xml := hypervisor.DomainXML(`<domain type='kvm'><name>web</name><uuid>` + guestUUID + `</uuid>` +
		`<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` + disk("vda", "/images/a.qcow2") + disk("vdb", "/images/b.qcow2") + `</devices></domain>`)
	a := w.fleet.Host("node-a")
	a.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: xml})
	for _, file := range []string{"/images/a.qcow2", "/images/b.qcow2"} {
		a.AddImage(file, hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 1 << 30})
	}
}

// TestAnImageThatIsNotRemovedKeepsNoOther, and is told.
func TestAnImageThatIsNotRemovedKeepsNoOther(t *testing.T) {
	busy := &hypervisor.Error{Op: "removing an image", Kind: hypervisor.KindOther, Message: "busy"}
	inWorld(t, func(w *world) {
		w.twoDisks()
		// Whichever is tried next is removed, and nothing else is after that.
		w.fleet.Host("node-a").FailNext(fake.MethodRemoveImage, slices.Concat([]error{busy, nil}, slices.Repeat([]error{busy}, 1000))...)
		lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{
			Disks: []v1alpha1.DiskName{"vda", "vdb"}, SourceImages: v1alpha1.SourceImagesRemove,
		})))
		w.requireFiles("node-a", "/images/a.qcow2")
		images := lm.Status.Source.Storage.Images
		if len(images) != 2 || images[0].RemovedTime != nil || images[0].Error == "" || images[1].RemovedTime == nil || images[1].Error != "" {
			t.Errorf("the images are %+v", images)
		}
		w.requireOnce("node-b")
	})
}

// TestOnlyDisksThatCanBeWrittenAreMeasured: libvirt waits for the guest's QEMU for it.
func TestOnlyDisksThatCanBeWrittenAreMeasured(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		xml, err := w.fleet.Host("node-a").DomainXML(t.Context(), guestUUID, hypervisor.XMLMigratable)
		if err != nil {
			t.Fatal(err)
		}
		s := &sourceSession{hv: w.fleet.Host("node-a"), lm: &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{DomainUUID: guestUUID}}}
		facts, err := s.diskFacts(t.Context(), xml, xml)
		if err != nil || len(facts) != 3 || facts[0].Size.CapacityBytes != 8<<30 || facts[2].Size != (hypervisor.DiskSize{}) {
			t.Errorf("the disks are %+v, %v", facts, err)
		}
		if n := w.fleet.Count(fake.MethodDiskSize, guestUUID); n != 2 {
			t.Errorf("%d disks were measured", n)
		}
	})
}

// TestNothingIsLeftOfAGuestThatIsRefused: its disks are looked for, for all to be told that is in
// their way, but nothing is made on the target, nor promised, and what the source has made is removed.
func TestNothingIsLeftOfAGuestThatIsRefused(t *testing.T) {
	for _, dry := range []bool{false, true} {
		inWorld(t, func(w *world) {
			w.diskGuest()
			w.fleet.Host("node-a").SetTies(guestUUID, hypervisor.Ties{Snapshots: 1})
			lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
				copies(v1alpha1.StorageCopyOptions{})(lm)
				lm.Spec.DryRun = new(dry)
			}))
			w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonSourceCheckFailed, "")
			if told := lm.Status.Target != nil && len(lm.Status.Target.Images) > 0; told != dry {
				t.Errorf("a dry run: %t, the target tells of images: %t", dry, told)
			}
			if target := lm.Status.Target; !dry && (target == nil || target.CheckedTime == nil || target.ReadyTime != nil) {
				t.Errorf("the target has not looked, or has prepared itself: %+v", target)
			}
			if made := w.fleet.Host("node-b").Count(fake.MethodMakeImage, ""); made > 0 {
				t.Errorf("a dry run: %t, and %d files were made on the target", dry, made)
			}
			w.requireFiles("node-a", ownFiles)
			w.requireFiles("node-b", "")
		})
	}
}

// TestAnImageThatMayBeOursIsTold: nobody can tell an image that takes all of its space from a disk
// that is full. If its making had no answer, it stays, and its user hears of it.
func TestAnImageThatMayBeOursIsTold(t *testing.T) {
	for name, preallocate := range map[string]bool{"preallocated": true, "not": false} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.twoDisks()
				// The agent ends before it can say that the image was made.
				ended := make(chan struct{})
				w.api.before = func(_ int, by *testAgent) bool {
					if _, made := w.fleet.Host("node-b").Images()["/images/a.qcow2"]; by != w.b || !made {
						return false
					}
					w.api.before = nil
					by.cancel()
					close(ended)
					return true
				}
				lm := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{Disks: []v1alpha1.DiskName{"vda", "vdb"}, Preallocate: &preallocate}))
				time.Sleep(30 * time.Second)
				select {
				case <-ended:
				default:
					t.Fatalf("%+v", w.api.get(lm).Status)
				}
				w.b.stop()
				w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) { lm.Annotations = map[string]string{v1alpha1.AnnotationCancel: "now"} })
				w.b.start()
				end := w.settle(lm)
				message := meta.FindStatusCondition(end.Status.Conditions, v1alpha1.ConditionSucceeded).Message
				_, left := w.fleet.Host("node-b").Images()["/images/a.qcow2"]
				if left != preallocate || strings.Contains(message, "may have been made for it, or be somebody else's (/images/a.qcow2") != left {
					t.Errorf("it is left: %t, and its user is told: %s, %+v", left, message, end.Status.Target)
				}
			})
		})
	}
}
