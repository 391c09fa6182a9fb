package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// diskGuest has a disk of its host's own, one that all hosts see, and a medium.
func (w *world) diskGuest() {
	xml := hypervisor.DomainXML(`<domain type='kvm'><name>web</name><uuid>` + guestUUID + `</uuid>` +
		`<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
		`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/web.qcow2'/><target dev='vda' bus='virtio'/></disk>` +
		`<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/shared/data.raw'/><target dev='vdb' bus='virtio'/></disk>` +
		`<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/shared/install.iso'/><target dev='sda' bus='sata'/><readonly/></disk>` +
		`</devices></domain>`)
	w.fleet.ShareDirectory("/shared")
	a := w.fleet.Host("node-a")
	a.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, LiveXML: xml, PersistentXML: xml})
	a.AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 2 << 30})
	a.AddImage("/shared/data.raw", hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 30, AllocatedBytes: 1 << 30})
	a.AddImage("/shared/install.iso", hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 20})
}

// copies has disks copied.
func copies(o v1alpha1.StorageCopyOptions) func(*v1alpha1.LiveMigration) {
	if o.Mode == "" {
		o.Mode = v1alpha1.StorageCopyFull
	}
	return options(v1alpha1.MigrationOptions{StorageCopy: &o})
}

// files are the names of a host's files.
func (w *world) files(host string) string {
	return strings.Join(slices.Sorted(maps.Keys(w.fleet.Host(host).Images())), " ")
}

// requireFiles fails if a host has other files.
func (w *world) requireFiles(host, want string) {
	w.t.Helper()
	if got := w.files(host); got != want {
		w.t.Errorf("%s has the files %q, want %q", host, got, want)
	}
}

const ownFiles = "/images/web.qcow2"

// copied returns the disks that libvirt was asked to copy.
func (w *world) copied() []string {
	for _, c := range w.fleet.Calls() {
		if c.Method == fake.MethodMigrate {
			return c.Params.Copy.Disks
		}
	}
	return nil
}

// TestDisksThatOnlyTheSourceHasAreCopied, and no others; what was made to find out is gone.
func TestDisksThatOnlyTheSourceHasAreCopied(t *testing.T) {
	for name, c := range map[string]struct {
		options       v1alpha1.StorageCopyOptions
		before        func(w *world)
		want          []string
		source, files string
	}{
		"found out":               {v1alpha1.StorageCopyOptions{}, nil, []string{"vda"}, ownFiles, "/images/web.qcow2"},
		"named":                   {v1alpha1.StorageCopyOptions{Disks: []v1alpha1.DiskName{"vda"}}, nil, []string{"vda"}, ownFiles, "/images/web.qcow2"},
		"removed afterwards":      {v1alpha1.StorageCopyOptions{SourceImages: v1alpha1.SourceImagesRemove}, nil, []string{"vda"}, "", "/images/web.qcow2"},
		"none, as all are shared": {v1alpha1.StorageCopyOptions{SourceImages: v1alpha1.SourceImagesRemove}, func(w *world) { w.fleet.ShareDirectory("/images") }, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				if c.before != nil {
					c.before(w)
				}
				w.diskGuest()
				lm := w.settle(w.migrateWith(guestUUID, copies(c.options)))
				if lm.Status.Phase != v1alpha1.PhaseSucceeded {
					t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
				}
				if got := w.copied(); !slices.Equal(got, c.want) {
					t.Errorf("copied were %v, want %v", got, c.want)
				}
				w.requireFiles("node-a", c.source)
				w.requireFiles("node-b", c.files)
				// The API server takes no section without contents.
				if left := lm.Status.Source.Storage; left != nil && (len(left.Markers) > 0 || len(left.Images)+len(left.Shared) == 0) {
					t.Errorf("of the disks, the source says %+v", left)
				}
				w.requireOnce("node-b")
			})
		})
	}
}

// TestImagesOfAGuestThatDoesNotComeAreRemoved, whenever it turns out that it does not.
func TestImagesOfAGuestThatDoesNotComeAreRemoved(t *testing.T) {
	cancel := func(w *world, lm *v1alpha1.LiveMigration) {
		w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
			lm.Annotations = map[string]string{v1alpha1.AnnotationCancel: "now"}
		})
	}
	for name, c := range map[string]struct {
		before func(w *world)
		during func(w *world, lm *v1alpha1.LiveMigration)
		phase  v1alpha1.LiveMigrationPhase
	}{
		"libvirt fails": {func(w *world) { w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsTargetLost}) }, nil, v1alpha1.PhaseFailed},
		"a shell stays": {func(w *world) { w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsShellLeft}) }, nil, v1alpha1.PhaseFailed},
		"the guest shuts down": {
			func(w *world) { w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsPoweredOff}) }, nil, v1alpha1.PhaseFailed,
		},
		"it is cancelled while it waits for its slot": {func(w *world) { w.api.full = true }, cancel, v1alpha1.PhaseCancelled},
		"it is cancelled while it is copied": {nil, func(w *world, lm *v1alpha1.LiveMigration) {
			gate := w.fleet.Hold(guestUUID, fake.StageCopying)
			<-gate.Reached()
			cancel(w, lm)
		}, v1alpha1.PhaseCancelled},
		"libvirt takes its time to remove them": {func(w *world) {
			w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsTargetLost})
			busy := &hypervisor.Error{Op: "removing an image", Kind: hypervisor.KindOther, Message: "busy"}
			w.fleet.Host("node-b").FailNext(fake.MethodRemoveImage, busy, busy)
		}, nil, v1alpha1.PhaseFailed},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				if c.before != nil {
					c.before(w)
				}
				lm := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{SourceImages: v1alpha1.SourceImagesRemove}))
				if c.during != nil {
					time.Sleep(200 * time.Millisecond)
					synctest.Wait()
					c.during(w, lm)
				}
				lm = w.settle(lm)
				if lm.Status.Phase != c.phase {
					t.Errorf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
				}
				w.requireFiles("node-a", ownFiles)
				w.requireFiles("node-b", "")
				if images := lm.Status.Target.Images; len(images) != 2 || images[0].State != v1alpha1.TargetImageRemoved || images[0].Error != "" {
					t.Errorf("the status tells of the images %+v", images)
				}
			})
		})
	}
}

// TestAnImageThatSomebodyHasReplacedStays: the guest's was made, and then somebody has put
// another one there.
func TestAnImageThatSomebodyHasReplacedStays(t *testing.T) {
	for name, other := range map[string]hypervisor.ImageSight{
		"another size":   {Format: "qcow2", CapacityBytes: 9 << 30, AllocatedBytes: 1 << 30},
		"another format": {Format: "raw", CapacityBytes: 8 << 30, AllocatedBytes: 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				w.api.full = true
				lm := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{}))
				time.Sleep(10 * time.Second)
				w.fleet.Host("node-b").AddImage("/images/web.qcow2", other)
				w.ask(lm, v1alpha1.AnnotationCancel, "1")
				lm = w.settle(lm)
				w.requireFiles("node-b", "/images/web.qcow2")
				if images := lm.Status.Target.Images; lm.Status.Phase != v1alpha1.PhaseCancelled || images[0].State != v1alpha1.TargetImageNotOurs {
					t.Errorf("it ends in %s, with %+v", lm.Status.Phase, images)
				}
			})
		})
	}
}

// TestImagesThatCannotBeRemovedAreTold, and the migration ends all the same.
func TestImagesThatCannotBeRemovedAreTold(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		w.fleet.ScriptNext(guestUUID, fake.Script{Ending: fake.EndsTargetLost})
		denied := &hypervisor.Error{Op: "removing an image", Kind: hypervisor.KindOther, Message: "Permission denied"}
		w.fleet.Host("node-b").FailNext(fake.MethodRemoveImage, slices.Repeat([]error{denied}, 1000)...)
		lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{})))
		condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
		if lm.Status.Phase != v1alpha1.PhaseFailed || !strings.Contains(condition.Message, "/images/web.qcow2") || !strings.Contains(condition.Message, "virsh vol-delete") {
			t.Errorf("the migration ends in %s: %s", lm.Status.Phase, condition.Message)
		}
		image := lm.Status.Target.Images[0]
		if image.State != v1alpha1.TargetImageMade || image.Error != "Permission denied" {
			t.Errorf("the status tells of the image %+v", image)
		}
	})
}

// TestImagesOfAGuestThatMayHaveComeStay: its data may be in them.
func TestImagesOfAGuestThatMayHaveComeStay(t *testing.T) {
	for _, ending := range []fake.Ending{fake.EndsBothRunning, fake.EndsHeld, fake.EndsSourceKept, fake.EndsBothHeld, fake.EndsHeldAlone} {
		t.Run(fmt.Sprint(ending), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				w.fleet.ScriptNext(guestUUID, fake.Script{Ending: ending})
				lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{})))
				w.requireFiles("node-a", ownFiles)
				// What is left of them is marked as this migration's.
				want := "/images/web.qcow2"
				if lm.Status.Phase != v1alpha1.PhaseSucceeded {
					want += " /images/web.qcow2.virtferry-mark"
				}
				w.requireFiles("node-b", want)
			})
		})
	}
}

// TestWhatKeepsDisksFromBeingCopied is told before anything is made, in a dry run as well.
func TestWhatKeepsDisksFromBeingCopied(t *testing.T) {
	there := hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 5}
	for name, c := range map[string]struct {
		options v1alpha1.StorageCopyOptions
		before  func(w *world)
		code    v1alpha1.BlockerCode
		files   string
	}{
		"a disk that there is not":        {v1alpha1.StorageCopyOptions{Disks: []v1alpha1.DiskName{"vdz"}}, nil, v1alpha1.BlockerDiskUnknown, ""},
		"a medium":                        {v1alpha1.StorageCopyOptions{Disks: []v1alpha1.DiskName{"sda"}}, nil, v1alpha1.BlockerDiskNotCopyable, ""},
		"a disk that is shared after all": {v1alpha1.StorageCopyOptions{Disks: []v1alpha1.DiskName{"vdb"}}, nil, v1alpha1.BlockerImageExists, ""},
		"a file in its place": {v1alpha1.StorageCopyOptions{}, func(w *world) {
			w.fleet.Host("node-b").AddImage("/images/web.qcow2", there)
		}, v1alpha1.BlockerImageExists, "/images/web.qcow2"},
		"no space": {v1alpha1.StorageCopyOptions{}, func(w *world) { w.fleet.Host("node-b").SetSpace(1 << 30) }, v1alpha1.BlockerNoSpaceForImages, ""},
		"a directory that the target lacks": {v1alpha1.StorageCopyOptions{}, func(w *world) {
			w.fleet.Host("node-b").FailNext(fake.MethodLookAtImage, &hypervisor.Error{Kind: hypervisor.KindOther, Message: "cannot open path '/images'"})
		}, v1alpha1.BlockerImagePlaceUnusable, ""},
		"a directory in which the source cannot make files": {v1alpha1.StorageCopyOptions{}, func(w *world) {
			w.fleet.Host("node-a").FailNext(fake.MethodMakeImage, slices.Repeat([]error{&hypervisor.Error{Kind: hypervisor.KindOther, Message: "Read-only file system"}}, 9)...)
		}, v1alpha1.BlockerImagePlaceUnusable, ""},
		"a place that the target does not allow": {v1alpha1.StorageCopyOptions{}, func(w *world) { w.b.node.Receive.AllowedPaths = []string{"/shared"} }, v1alpha1.BlockerPathNotAllowed, ""},
	} {
		for _, dry := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, dry run: %v", name, dry), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.diskGuest()
					if c.before != nil {
						c.before(w)
					}
					lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
						copies(c.options)(lm)
						lm.Spec.DryRun = new(dry)
					}))
					var codes []v1alpha1.BlockerCode
					for _, p := range []*v1alpha1.Problem{lm.Status.Source.Problem, targetProblem(lm)} {
						if p != nil {
							for _, b := range p.Blockers {
								codes = append(codes, b.Code)
							}
						}
					}
					// A disk that the list leaves out is not there.
					codes = slices.DeleteFunc(codes, func(code v1alpha1.BlockerCode) bool { return code == v1alpha1.BlockerDiskMissing })
					if lm.Status.Phase != v1alpha1.PhaseFailed || !slices.Equal(codes, []v1alpha1.BlockerCode{c.code}) {
						t.Errorf("the migration ends in %s for %v, want %s: %+v", lm.Status.Phase, codes, c.code, lm.Status.Conditions)
					}
					w.requireFiles("node-a", ownFiles)
					w.requireFiles("node-b", c.files)
					if n := w.fleet.Count(fake.MethodMigrate, guestUUID); n != 0 {
						t.Errorf("%d migrations were started", n)
					}
				})
			})
		}
	}
}

// TestAnotherFileIsNotTheGuestsDisk, though a marker is beside it: it has another name, or the
// marker is that of another disk's directory. The guest would go on with what is in it.
func TestAnotherFileIsNotTheGuestsDisk(t *testing.T) {
	for name, c := range map[string]struct{ disk, to string }{
		"another name":        {"vdb", "/shared/copy.raw"},
		"another's directory": {"vda", "/shared/web.qcow2"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.diskGuest()
				w.fleet.Host("node-a").AddImage(c.to, hypervisor.ImageSight{Format: "qcow2", CapacityBytes: 8 << 30, AllocatedBytes: 5})
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					copies(v1alpha1.StorageCopyOptions{})(lm)
					lm.Spec.MigrateData = &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
						TargetDevice: new(c.disk), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: c.to}},
					}}}
				}))
				p := targetProblem(lm)
				if lm.Status.Phase != v1alpha1.PhaseFailed || p == nil || p.Blockers[0].Code != v1alpha1.BlockerImageExists {
					t.Errorf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
				}
				if n := w.fleet.Count(fake.MethodMigrate, guestUUID); n != 0 {
					t.Errorf("%d migrations were started", n)
				}
			})
		})
	}
}

// TestADiskIsCopiedToWhereTheGuestWillHaveIt, and nowhere else: libvirt copies to what the
// definition says.
func TestADiskIsCopiedToWhereTheGuestWillHaveIt(t *testing.T) {
	const there = hypervisor.DomainXML(`<domain type='kvm'><name>web</name><devices><disk type='file' device='disk'>` +
		`<driver name='qemu' type='qcow2'/><source file='/images/web.qcow2'/><target dev='vda' bus='virtio'/></disk></devices></domain>`)
	for path, fits := range map[string]bool{"/images/web.qcow2": true, "/srv/web.qcow2": false} {
		s := &sourceSession{
			lm:      &v1alpha1.LiveMigration{},
			section: &v1alpha1.SourceStatus{Guest: &v1alpha1.GuestFacts{Disks: []v1alpha1.GuestDisk{{Name: "vda", Path: path}}}},
		}
		if err := s.checkPlaces(there); (err == nil) != fits {
			t.Errorf("a disk that is to be copied to %s: %v", path, err)
		}
	}
}

// TestAnImageIsLeftAloneWhereTheSourceTellsOfNoDisks: nobody knows whose it is.
func TestAnImageIsLeftAloneWhereTheSourceTellsOfNoDisks(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fleet.Host("node-b").AddImage("/images/web.qcow2", hypervisor.ImageSight{Format: "qcow2"})
		s := &targetSession{node: w.b.node, hv: w.fleet.Host("node-b"), lm: &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
			Attempt: &v1alpha1.AttemptStatus{ID: "1"}, Source: &v1alpha1.SourceStatus{AttemptID: "1"},
		}}}
		image := &v1alpha1.TargetImage{Name: "vda", Path: "/images/web.qcow2", State: v1alpha1.TargetImagePlanned}
		if err := s.removeImage(t.Context(), image); err != nil || image.State != v1alpha1.TargetImageNotOurs {
			t.Errorf("the image is %s, %v", image.State, err)
		}
		w.requireFiles("node-b", "/images/web.qcow2")
	})
}

// TestNoImageIsMadeForAMigrationThatIsOver: nobody would remove it.
func TestNoImageIsMadeForAMigrationThatIsOver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		release := w.fleet.Host("node-b").Hang(fake.MethodLookAtImage)
		lm := w.settle(w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{Disks: []v1alpha1.DiskName{"vda"}})))
		if lm.Status.Phase != v1alpha1.PhaseFailed {
			t.Fatalf("the migration ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
		}
		release()
		time.Sleep(10 * time.Second)
		w.requireFiles("node-b", "")
	})
}

func targetProblem(lm *v1alpha1.LiveMigration) *v1alpha1.Problem {
	if lm.Status.Target == nil {
		return nil
	}
	return lm.Status.Target.Problem
}

// TestADryRunTellsWhatWouldBeCopied, how much there is room for, and makes no image.
func TestADryRunTellsWhatWouldBeCopied(t *testing.T) {
	inWorld(t, func(w *world) {
		w.diskGuest()
		lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
			copies(v1alpha1.StorageCopyOptions{})(lm)
			lm.Spec.DryRun = new(true)
		}))
		if lm.Status.Phase != v1alpha1.PhaseSucceeded {
			t.Fatalf("the dry run ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
		}
		images := lm.Status.Target.Images
		if len(images) != 2 || images[0].State != v1alpha1.TargetImagePlanned || images[0].AvailableBytes == 0 || images[1].State != v1alpha1.TargetImageShared {
			t.Errorf("the images are %+v", images)
		}
		if disks := lm.Status.Source.Guest.Disks; len(disks) != 2 || disks[0].AllocatedBytes != 2<<30 {
			t.Errorf("the disks are %+v", disks)
		}
		if load := lm.Status.Source.Load; load == nil || load.DiskBytes != 2<<30 || load.DirtyBytesPerSecond == nil {
			t.Errorf("the load is %+v", load)
		}
		if f := lm.Status.Forecast; f == nil || f.CopyBytes != lm.Status.Source.Load.MemoryBytes+2<<30 {
			t.Errorf("the forecast is %+v", f)
		}
		w.requireFiles("node-a", ownFiles)
		w.requireFiles("node-b", "")
	})
}

// TestACrashLeavesNoImageBehind: an agent is killed right before and right after each of its
// writes, whether the guest comes or not.
func TestACrashLeavesNoImageBehind(t *testing.T) {
	for name, c := range map[string]struct {
		script        fake.Script
		source, files string
	}{
		"the guest comes":         {fake.Script{}, "", "/images/web.qcow2"},
		"the guest does not come": {fake.Script{Ending: fake.EndsTargetLost}, ownFiles, ""},
	} {
		for _, moment := range []string{"before", "after"} {
			for write := 1; ; write++ {
				reached := false
				t.Run(fmt.Sprintf("%s, %s write %d", name, moment, write), func(t *testing.T) {
					inWorld(t, func(w *world) {
						crashed := make(chan *testAgent, 1)
						crash := func(n int, by *testAgent) bool {
							if n != write {
								return false
							}
							reached = true
							by.cancel()
							crashed <- by
							return true
						}
						if moment == "before" {
							w.api.before = crash
						} else {
							w.api.after = crash
						}
						w.diskGuest()
						w.fleet.ScriptNext(guestUUID, c.script)
						lm := w.migrateWith(guestUUID, copies(v1alpha1.StorageCopyOptions{SourceImages: v1alpha1.SourceImagesRemove}))
						time.Sleep(20 * time.Second)
						select {
						case victim := <-crashed:
							victim.restart()
						default:
						}
						lm = w.settle(lm)
						if w.fleet.Count(fake.MethodMigrate, guestUUID) == 0 {
							// It was killed with its intent recorded: the guest stays.
							w.requireFiles("node-a", ownFiles)
							w.requireFiles("node-b", "")
							return
						}
						w.requireFiles("node-a", c.source)
						w.requireFiles("node-b", c.files)
						if t.Failed() {
							t.Logf("%s: %+v\n%+v\n%+v", lm.Status.Phase, lm.Status.Conditions, lm.Status.Source, lm.Status.Target)
						}
					})
				})
				if !reached {
					break
				}
			}
		}
	}
}
