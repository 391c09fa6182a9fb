package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// mediaGuest has a CD-ROM and a floppy disk in its drives, the latter of which may be unsafe to
// move, as far as libvirt knows. Its definition has another CD-ROM.
func (w *world) mediaGuest(unsafe bool) {
	definition := func(iso string) hypervisor.DomainXML {
		return hypervisor.DomainXML(fmt.Sprintf(`<domain type='kvm'><name>web</name><uuid>%s</uuid><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>`+
			`<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='%s'/><target dev='sda' bus='sata'/><readonly/></disk>`+
			`<disk type='file' device='floppy'><driver name='qemu' type='raw'/><source file='/images/floppy.img'/><target dev='fda' bus='fdc'/></disk></devices></domain>`, guestUUID, iso))
	}
	a := w.fleet.Host("node-a")
	a.AddGuest(fake.Guest{UUID: guestUUID, Name: "web", Persistent: true, Unsafe: unsafe, LiveXML: definition("/images/live.iso"), PersistentXML: definition("/images/defined.iso")})
	for _, name := range []string{"live.iso", "defined.iso", "floppy.img"} {
		a.AddImage("/images/"+name, hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 20})
	}
}

// TestMissingMediaAreEjected only if the user wants that, only those that are missing, and never
// without a word.
func TestMissingMediaAreEjected(t *testing.T) {
	sight := hypervisor.ImageSight{Format: "raw", CapacityBytes: 1 << 20}
	eject := v1alpha1.MigrationOptions{EjectMissingMedia: new(true)}
	risk := v1alpha1.MigrationOptions{EjectMissingMedia: new(true), AllowUnsafe: new(true)}
	noDirectory := &hypervisor.Error{Op: "looking at an image", Kind: hypervisor.KindOther, Message: "cannot open path '/images'"}
	for name, c := range map[string]struct {
		before  func(w *world)
		options v1alpha1.MigrationOptions
		dry     bool
		ejected []v1alpha1.DiskName
		blocked int
		unsafe  bool // As far as libvirt knows.
	}{
		"both are missing":          {options: eject, ejected: []v1alpha1.DiskName{"sda", "fda"}},
		"in a dry run":              {options: eject, ejected: []v1alpha1.DiskName{"sda", "fda"}, dry: true},
		"the user takes risks, too": {options: risk, ejected: []v1alpha1.DiskName{"sda", "fda"}},
		"nobody has said so":        {blocked: 2},
		"the target has the CD-ROM": {before: func(w *world) { w.fleet.Host("node-b").AddImage("/images/live.iso", sight) }, options: eject, ejected: []v1alpha1.DiskName{"fda"}},
		"the target has both":       {before: func(w *world) { w.fleet.ShareDirectory("/images") }, options: eject},
		"it has not the directory":  {before: func(w *world) { w.lookFrom("/images/here", noDirectory) }, options: eject, ejected: []v1alpha1.DiskName{"sda", "fda"}},
		"nobody can look into it":   {before: func(w *world) { w.lookFrom("/images/here", noDirectory, noDirectory) }, options: eject, unsafe: true},
		"the floppy disk is copied": {
			options: v1alpha1.MigrationOptions{EjectMissingMedia: new(true), StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull}},
			ejected: []v1alpha1.DiskName{"sda"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				if c.before != nil {
					c.before(w)
				}
				w.mediaGuest(c.options.StorageCopy == nil) // libvirt knows of what is copied.
				lm := w.settle(w.migrateWith(guestUUID, func(lm *v1alpha1.LiveMigration) {
					lm.Spec.Options, lm.Spec.DryRun = &c.options, new(c.dry)
				}))
				if c.blocked > 0 {
					w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
					p := lm.Status.Target.Problem
					if len(p.Blockers) != c.blocked || p.Blockers[0].Code != v1alpha1.BlockerMediumMissing || !strings.Contains(p.Message, "options.ejectMissingMedia") {
						t.Errorf("the problem is %+v", p)
					}
					w.requireCalls(fake.MethodMigrate, 0)
					return
				}
				if c.unsafe {
					w.requireEnd(lm, v1alpha1.PhaseFailed, v1alpha1.ReasonUnsafe, "")
					return
				}
				if lm.Status.Phase != v1alpha1.PhaseSucceeded {
					t.Fatalf("it ends in %s: %+v", lm.Status.Phase, lm.Status.Conditions)
				}
				var ejected []v1alpha1.DiskName
				if s := lm.Status.Source.Storage; s != nil {
					for _, m := range s.Ejected {
						ejected = append(ejected, m.Name)
					}
				}
				told := slices.ContainsFunc(lm.Status.Notices, func(n v1alpha1.Notice) bool { return n.Reason == v1alpha1.NoticeMediaEjected })
				if !slices.Equal(ejected, c.ejected) || told != (len(c.ejected) > 0) {
					t.Errorf("the status says %v (a notice: %t), want %v", ejected, told, c.ejected)
				}
				if !c.dry {
					w.requireDrives(c.ejected)
				}
			})
		})
	}
}

// lookFrom has node-b find what is in /images at another place, and libvirt there refuse looks, of
// which the first is into that.
func (w *world) lookFrom(at string, errs ...error) {
	w.api.mappings = []v1alpha1.StorageMapping{inDirectory("/images", at)}
	w.fleet.Host("node-b").FailNext(fake.MethodLookAtImage, errs...)
}

// requireDrives fails if other media are missing on node-b than those that were ejected. The
// definition has a CD-ROM that nobody has looked for.
func (w *world) requireDrives(ejected []v1alpha1.DiskName) {
	w.t.Helper()
	for form, media := range map[hypervisor.XMLForm]map[v1alpha1.DiskName]string{
		hypervisor.XMLMigratable: {"sda": "live.iso", "fda": "floppy.img"}, hypervisor.XMLInactive: {"": "defined.iso", "fda": "floppy.img"},
	} {
		text, err := w.fleet.Host("node-b").DomainXML(w.t.Context(), guestUUID, form)
		if err != nil {
			w.t.Fatal(err)
		}
		for drive, medium := range media {
			if strings.Contains(string(text), medium) == slices.Contains(ejected, drive) {
				w.t.Errorf("%v: ejected were %v, and the guest is %s", form, ejected, text)
			}
		}
	}
}
