package agent

import (
	"errors"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestWhereAnImageMayBe: the paths come from another node.
func TestWhereAnImageMayBe(t *testing.T) {
	t.Parallel()
	c := ReceiveConfig{AllowedPaths: []string{"/images"}}
	for path, may := range map[string]bool{
		"/images/a": true, "images/a": false, "/images/../etc/a": false, "/images//a": false, "/etc/a": false, "": false,
	} {
		if got := c.mayHold(v1alpha1.GuestDisk{Path: path}); got != may {
			t.Errorf("%q: %t", path, got)
		}
		based := v1alpha1.GuestDisk{Path: "/images/b", Backing: &v1alpha1.DiskBacking{Path: path}}
		if got := c.mayHold(based); got != may {
			t.Errorf("based on %q: %t", path, got)
		}
	}
}

// TestAPlaceIsLookedAt, and the marker beside it, if that is the name of a file there.
func TestAPlaceIsLookedAt(t *testing.T) {
	no := &hypervisor.Error{Kind: hypervisor.KindOther, Message: "cannot open"}
	late := &hypervisor.Error{Kind: hypervisor.KindTimeout, Message: "no answer"}
	for name, c := range map[string]struct {
		path, marker    string
		fail            []error
		looks           int
		seen, fails, no bool
	}{
		"without a marker":           {"/images/a", "", nil, 1, false, false, false},
		"with one that is there":     {"/images/a", "marker", nil, 1, true, false, false},
		"with one that is not":       {"/images/a", "other", nil, 1, false, false, false},
		"with one that is elsewhere": {"/images/a", "../images/marker", nil, 1, false, false, false},
		"where none may be":          {"/etc/a", "marker", nil, 0, false, false, false},
		"libvirt says no":            {"/images/a", "marker", []error{no}, 1, false, false, true},
		"libvirt says nothing":       {"/images/a", "marker", []error{late}, 1, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				b := w.fleet.Host("node-b")
				b.AddImage("/images/marker", hypervisor.ImageSight{Format: "raw"})
				b.FailNext(fake.MethodLookAtImage, c.fail...)
				s := &targetSession{node: w.b.node, hv: b}
				disks := []v1alpha1.GuestDisk{{Name: "vda", Path: c.path, Marker: c.marker}}
				seen, err := s.lookAtPlaces(t.Context(), disks, nil)
				if (err != nil) != c.fails {
					t.Fatal(err)
				}
				if n := b.Count(fake.MethodLookAtImage, ""); n != c.looks {
					t.Errorf("it was looked %d times", n)
				}
				if err != nil {
					return
				}
				place := seen.places(disks, w.b.node.Receive)[0]
				if (place.Problem != "") != c.no || place.MarkerSeen != c.seen || place.Allowed != (c.looks > 0) {
					t.Errorf("%+v", place)
				}
			})
		})
	}
}

// TestWhichImageIsMade, and what counts as made when something is in its place.
func TestWhichImageIsMade(t *testing.T) {
	planned := time.Now()
	ours := hypervisor.ImageSight{Exists: true, Format: "raw", CapacityBytes: 1 << 30, Changed: planned}
	other := hypervisor.ImageSight{Exists: true, Format: "raw", CapacityBytes: 2 << 30, Changed: planned}
	late := &hypervisor.Error{Kind: hypervisor.KindTimeout, Message: "no answer"}
	disk := v1alpha1.GuestDisk{Name: "vda", Path: "/images/a", Format: "raw", CapacityBytes: 1 << 30}
	change := func(do func(*v1alpha1.GuestDisk)) []v1alpha1.GuestDisk {
		d := disk
		do(&d)
		return []v1alpha1.GuestDisk{d}
	}
	for name, c := range map[string]struct {
		disks     []v1alpha1.GuestDisk
		there     hypervisor.ImageSight
		maybeMade bool
		fail      map[fake.Method]error
		state     v1alpha1.TargetImageState
		code      v1alpha1.BlockerCode
		again     bool
	}{
		"nothing is there":                  {change(func(*v1alpha1.GuestDisk) {}), hypervisor.ImageSight{}, false, nil, v1alpha1.TargetImageMade, "", false},
		"nothing is there after a try":      {change(func(*v1alpha1.GuestDisk) {}), hypervisor.ImageSight{}, true, nil, v1alpha1.TargetImageMade, "", false},
		"ours is there after a try":         {change(func(*v1alpha1.GuestDisk) {}), ours, true, nil, v1alpha1.TargetImageMade, "", false},
		"one like it is there without":      {change(func(*v1alpha1.GuestDisk) {}), ours, false, nil, v1alpha1.TargetImageNotOurs, v1alpha1.BlockerImageExists, false},
		"another is there after a try":      {change(func(*v1alpha1.GuestDisk) {}), other, true, nil, v1alpha1.TargetImageNotOurs, v1alpha1.BlockerImageExists, false},
		"it cannot be looked at":            {change(func(*v1alpha1.GuestDisk) {}), ours, true, map[fake.Method]error{fake.MethodLookAtImage: late}, v1alpha1.TargetImagePlanned, "", true},
		"libvirt says nothing":              {change(func(*v1alpha1.GuestDisk) {}), hypervisor.ImageSight{}, true, map[fake.Method]error{fake.MethodMakeImage: late}, v1alpha1.TargetImagePlanned, "", true},
		"the source tells of no disk":       {nil, hypervisor.ImageSight{}, false, nil, v1alpha1.TargetImagePlanned, v1alpha1.BlockerDiskNotCopyable, false},
		"the source tells of another":       {change(func(d *v1alpha1.GuestDisk) { d.Name = "vdb" }), hypervisor.ImageSight{}, false, nil, v1alpha1.TargetImagePlanned, v1alpha1.BlockerDiskNotCopyable, false},
		"it was to be elsewhere":            {change(func(d *v1alpha1.GuestDisk) { d.Path = "/images/b" }), hypervisor.ImageSight{}, false, nil, v1alpha1.TargetImagePlanned, v1alpha1.BlockerDiskNotCopyable, false},
		"it is based on what it may not be": {change(func(d *v1alpha1.GuestDisk) { d.Backing = &v1alpha1.DiskBacking{Path: "/etc/a"} }), hypervisor.ImageSight{}, false, nil, v1alpha1.TargetImagePlanned, v1alpha1.BlockerDiskNotCopyable, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				b := w.fleet.Host("node-b")
				if c.there.Exists {
					b.AddImage("/images/a", c.there)
				}
				for method, err := range c.fail {
					b.FailNext(method, err)
				}
				s := &targetSession{node: w.b.node, hv: b, log: w.b.node.Log, maybeMade: c.maybeMade, lm: &v1alpha1.LiveMigration{
					Status: v1alpha1.LiveMigrationStatus{
						Attempt: &v1alpha1.AttemptStatus{ID: "1"},
						Source:  &v1alpha1.SourceStatus{AttemptID: "1", Guest: &v1alpha1.GuestFacts{Disks: c.disks}},
					},
				}}
				image := &v1alpha1.TargetImage{Name: "vda", Path: "/images/a", State: v1alpha1.TargetImagePlanned, PlannedTime: new(metav1.NewMicroTime(planned))}
				err := s.makeImage(t.Context(), image)
				var r *refusal
				refused := errors.As(err, &r)
				if image.State != c.state || refused != (c.code != "") || refused && r.Blockers[0].Code != c.code || (err != nil && !refused) != c.again {
					t.Errorf("the image is %s, %v", image.State, err)
				}
			})
		})
	}
}

// TestImagesOfSharedDisks are neither made nor removed, and keep no other from that.
func TestImagesOfSharedDisks(t *testing.T) {
	for _, ending := range []fake.Ending{fake.EndsWell, fake.EndsTargetLost} {
		inWorld(t, func(w *world) {
			xml := hypervisor.DomainXML(`<domain type='kvm'><name>web</name><uuid>` + guestUUID + `</uuid><devices>` +
				`<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/shared/a.raw'/><target dev='vda' bus='virtio'/></disk>` +
				`<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/images/b.raw'/><target dev='vdb' bus='virtio'/></disk>` +
				`</devices></domain>`)
			w.fleet.ShareDirectory("/shared")
			a := w.fleet.Host("node-a")
			a.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: xml})
			for _, file := range []string{"/shared/a.raw", "/images/b.raw"} {
				a.AddImage(file, hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 30})
			}
			w.fleet.ScriptNext(guestUUID, fake.Script{Ending: ending})
			lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{})))
			var states []v1alpha1.TargetImageState
			for _, i := range lm.Status.Target.Images {
				states = append(states, i.State)
			}
			want, files := v1alpha1.TargetImageMade, "/images/b.raw"
			if ending != fake.EndsWell {
				want, files = v1alpha1.TargetImageRemoved, ""
			}
			if !slices.Equal(states, []v1alpha1.TargetImageState{v1alpha1.TargetImageShared, want}) || !slices.Equal(w.copied(), []string{"vdb"}) {
				t.Errorf("the images are %v, and copied were %v", states, w.copied())
			}
			w.requireFiles("node-b", files)
		})
	}
}
