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

// sharedGuest has a raw disk in a directory, which both hosts may see. libvirt does not know
// that they do.
func (w *world) sharedGuest(persistentDisks string) {
	const head = `<domain type='kvm'><name>web</name><uuid>` + guestUUID + `</uuid>` +
		`<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
		`<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/images/web.raw'/><target dev='vda' bus='virtio'/></disk>`
	const tail = `</devices></domain>`
	a := w.fleet.Host("node-a")
	a.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, Unsafe: true, LiveXML: head + tail, PersistentXML: hypervisor.DomainXML(head + persistentDisks + tail)})
	a.AddImage("/images/web.raw", hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 30})
}

// overridden reports whether libvirt was told to move the guest although it takes that to be
// unsafe.
func (w *world) overridden() bool {
	for _, c := range w.fleet.Calls() {
		if c.Method == fake.MethodMigrate {
			return c.Params.AllowUnsafe
		}
	}
	return false
}

// TestWhatIsProvenToBeSharedNeedsNoConsent: nobody has to answer for a disk that both hosts have
// been seen to share; any other is libvirt's to judge.
func TestWhatIsProvenToBeSharedNeedsNoConsent(t *testing.T) {
	denied := &hypervisor.Error{Op: "making an image", Kind: hypervisor.KindOther, Message: "Permission denied"}
	late := &hypervisor.Error{Op: "making an image", Kind: hypervisor.KindTimeout, Message: "no answer"}
	for name, c := range map[string]struct {
		before     func(w *world)
		want       v1alpha1.LiveMigrationPhase
		overridden bool
		message    string
	}{
		"both see the same": {func(w *world) { w.fleet.ShareDirectory("/images") }, v1alpha1.PhaseSucceeded, true, ""},
		"the target has another": {func(w *world) {
			w.fleet.Host("node-b").AddImage("/images/web.raw", hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 30})
		}, v1alpha1.PhaseFailed, false, "node-b does not see in /images what the source has just written there"},
		"the target has none": {func(*world) {}, v1alpha1.PhaseFailed, false, "node-b does not have /images/web.raw"},
		"no marker can be made": {func(w *world) {
			w.fleet.ShareDirectory("/images")
			w.fleet.Host("node-a").FailNext(fake.MethodMakeImage, denied)
		}, v1alpha1.PhaseFailed, false, "the hosts have not compared /images/web.raw"},
		"making a marker has no answer": {func(w *world) {
			w.fleet.ShareDirectory("/images")
			w.fleet.Host("node-a").FailNext(fake.MethodMakeImage, late)
		}, v1alpha1.PhaseFailed, false, "the hosts have not compared /images/web.raw"},
		"removing a marker has no answer at first": {func(w *world) {
			w.fleet.ShareDirectory("/images")
			w.fleet.Host("node-a").FailNext(fake.MethodRemoveImage, late, late)
		}, v1alpha1.PhaseSucceeded, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c.before(w)
				w.sharedGuest("")
				lm := w.settle(w.migrate(guestUUID))
				condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
				if lm.Status.Phase != c.want || !strings.Contains(condition.Message, c.message) {
					t.Errorf("it ends in %s: %s", lm.Status.Phase, condition.Message)
				}
				if w.overridden() != c.overridden {
					t.Errorf("libvirt's check is overridden: %t", !c.overridden)
				}
				for path := range w.fleet.Host("node-a").AllImages() {
					if strings.Contains(path, "virtferry") {
						t.Errorf("%s is left", path)
					}
				}
				if s := lm.Status.Source.Storage; s != nil && (len(s.Markers) > 0 || s.ProvenSafe != c.overridden) {
					t.Errorf("of the disks, the source says %+v", s)
				}
			})
		})
	}
}

// TestASymbolicLinkIsNoSharedDisk: both hosts see the directory and the link in it, which leads
// to a file of each host's own.
func TestASymbolicLinkIsNoSharedDisk(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.ShareDirectory("/images")
		w.sharedGuest("")
		w.fleet.Host("node-b").LinkImage("/images/web.raw", hypervisor.ImageSight{
			Exists: true, Format: "raw", CapacityBytes: 1 << 30, StatusChanged: time.Now().Add(-time.Hour),
		})
		lm := w.settle(w.migrate(guestUUID))
		condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
		if lm.Status.Phase != v1alpha1.PhaseFailed || condition.Reason != v1alpha1.ReasonUnsafe || !strings.Contains(condition.Message, "symbolic link") || w.overridden() {
			t.Errorf("it ends in %s: %s", lm.Status.Phase, condition.Message)
		}
	})
}

// TestNothingIsComparedForAUserWhoAnswers for the disks.
func TestNothingIsComparedForAUserWhoAnswers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.sharedGuest("")
		lm := w.settle(w.migrateWith(guestUUID, options(v1alpha1.MigrationOptions{AllowUnsafe: new(true)})))
		if lm.Status.Phase != v1alpha1.PhaseSucceeded || len(lm.Status.Target.DiskFiles) > 0 {
			t.Errorf("it ends in %s with %+v", lm.Status.Phase, lm.Status.Target.DiskFiles)
		}
		for _, c := range w.fleet.Calls() {
			if c.Method == fake.MethodMakeImage || c.Method == fake.MethodLookAtImage {
				t.Errorf("libvirt was asked for %s", c.Method)
			}
		}
	})
}

// TestADiskThatOnlyTheDefinitionHas is not lost in silence: the guest could not be started
// there again.
func TestADiskThatOnlyTheDefinitionHas(t *testing.T) {
	const second = `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/own/data.raw'/><target dev='vdb' bus='virtio'/></disk>`
	for name, c := range map[string]struct {
		before func(w *world)
		want   v1alpha1.LiveMigrationPhase
	}{
		"only the source has it": {func(w *world) { w.fleet.Host("node-a").AddImage("/own/data.raw", hypervisor.ImageSight{Format: "raw"}) }, v1alpha1.PhaseFailed},
		"both have it": {func(w *world) {
			w.fleet.ShareDirectory("/own")
			w.fleet.Host("node-a").AddImage("/own/data.raw", hypervisor.ImageSight{Format: "raw"})
		}, v1alpha1.PhaseSucceeded},
		"nobody has it": {func(*world) {}, v1alpha1.PhaseSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.fleet.ShareDirectory("/images")
				w.b.node.Receive.AllowedPaths = append(w.b.node.Receive.AllowedPaths, "/own")
				w.sharedGuest(second)
				c.before(w)
				lm := w.settle(w.migrate(guestUUID))
				if lm.Status.Phase != c.want {
					t.Errorf("it ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
				}
				if p := lm.Status.Target.Problem; c.want == v1alpha1.PhaseFailed && (p == nil || p.Blockers[0].Code != v1alpha1.BlockerDiskMissing) {
					t.Errorf("the target says %+v, and of the files %+v", p, lm.Status.Target.DiskFiles)
				}
			})
		})
	}
}

// TestAMarkerThatStaysKeepsNobody from going on: it stays listed.
func TestAMarkerThatStaysKeepsNobody(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.ShareDirectory("/images")
		w.sharedGuest("")
		late := &hypervisor.Error{Op: "removing an image", Kind: hypervisor.KindTimeout, Message: "no answer"}
		w.fleet.Host("node-a").FailNext(fake.MethodRemoveImage, late, late, late, late, late, late)
		lm := w.settle(w.migrate(guestUUID))
		if lm.Status.Phase != v1alpha1.PhaseSucceeded || len(lm.Status.Source.Storage.Markers) != 1 {
			t.Errorf("it ends in %s with %+v", lm.Status.Phase, lm.Status.Source.Storage)
		}
	})
}
