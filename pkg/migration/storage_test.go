package migration

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func codesOf(blockers []v1alpha1.Blocker) []v1alpha1.BlockerCode {
	var codes []v1alpha1.BlockerCode
	for _, b := range blockers {
		codes = append(codes, b.Code)
	}
	return codes
}

// TestChooseDisks: exactly those are copied that are named or, where none is, that are to be
// looked for.
func TestChooseDisks(t *testing.T) {
	file := DiskFacts{
		Name: "vda", Type: "file", Format: "qcow2", SourcePath: "/a/disk", Path: "/b/disk", Writable: true,
		Size: hypervisor.DiskSize{CapacityBytes: 100, AllocatedBytes: 30},
	}
	with := func(change func(*DiskFacts)) DiskFacts {
		d := file
		change(&d)
		return d
	}
	readOnly := with(func(d *DiskFacts) { d.Name, d.Writable = "vdb", false })
	network := with(func(d *DiskFacts) { d.Name, d.Type, d.SourcePath, d.Path = "vdc", "network", "", "" })
	empty := with(func(d *DiskFacts) { d.Name, d.SourcePath, d.Path = "fda", "", "" })
	moved := with(func(d *DiskFacts) { d.Name, d.Type, d.Path = "vdd", "block", "" })
	chained := with(func(d *DiskFacts) { d.Name, d.Chained, d.BackingPath, d.BackingFormat = "vde", true, "/base", "raw" })
	locked := with(func(d *DiskFacts) { d.Name, d.SecretUUID = "vdg", "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b15" })
	lockedChain := with(func(d *DiskFacts) {
		d.Name, d.SecretUUID, d.Chained, d.BackingPath = "vdh", locked.SecretUUID, true, "/base"
	})
	odd := with(func(d *DiskFacts) { d.Name, d.Obstacle = "vdi", "several guests may write to it" })
	onServer := with(func(d *DiskFacts) { d.Name, d.Chained = "vdf", true })
	all := []DiskFacts{file, readOnly, network, empty, moved, chained, onServer, locked, lockedChain, odd}
	for name, c := range map[string]struct {
		mode   v1alpha1.StorageCopyMode
		named  []v1alpha1.DiskName
		want   string
		marker bool
		codes  []v1alpha1.BlockerCode
	}{
		"none is named":          {v1alpha1.StorageCopyFull, nil, "vda vde vdf vdg vdh vdi", true, nil},
		"one is named":           {v1alpha1.StorageCopyFull, []v1alpha1.DiskName{"vda"}, "vda", false, nil},
		"one that is not":        {v1alpha1.StorageCopyFull, []v1alpha1.DiskName{"vdz"}, "", false, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskUnknown}},
		"an encrypted one":       {v1alpha1.StorageCopyFull, []v1alpha1.DiskName{"vdg", "vdh"}, "vdg vdh", false, nil},
		"one based on another":   {v1alpha1.StorageCopyIncremental, []v1alpha1.DiskName{"vdg", "vdh"}, "vdg", false, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskNotCopyable}},
		"one with an obstacle":   {v1alpha1.StorageCopyFull, []v1alpha1.DiskName{"vdi"}, "", false, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskNotCopyable}},
		"what is only read":      {v1alpha1.StorageCopyFull, []v1alpha1.DiskName{"vdb"}, "", false, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskNotCopyable}},
		"what is no file":        {v1alpha1.StorageCopyFull, []v1alpha1.DiskName{"vdc"}, "", false, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskNotCopyable}},
		"an empty drive":         {v1alpha1.StorageCopyFull, []v1alpha1.DiskName{"fda"}, "", false, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskNotCopyable}},
		"what is a file no more": {v1alpha1.StorageCopyFull, []v1alpha1.DiskName{"vdd"}, "", false, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskNotCopyable}},
		"all that is wrong": {v1alpha1.StorageCopyIncremental, []v1alpha1.DiskName{"vdz", "vda", "vdb"}, "vda", false, []v1alpha1.BlockerCode{
			v1alpha1.BlockerDiskNotCopyable, v1alpha1.BlockerDiskUnknown,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, blockers := ChooseDisks(&v1alpha1.StorageCopyOptions{Mode: c.mode, Disks: c.named}, all, NewMarkers("marker"))
			var names []string
			for _, d := range chosen {
				names = append(names, string(d.Name))
				if (d.Marker != "") != c.marker || d.Path != "/b/disk" || d.CapacityBytes != 100 {
					t.Errorf("chosen is %+v", d)
				}
			}
			if got := strings.Join(names, " "); got != c.want || !slices.Equal(codesOf(blockers), c.codes) {
				t.Errorf("chosen are %q, and %v; want %q, and %v", got, codesOf(blockers), c.want, c.codes)
			}
		})
	}
	incremental, _ := ChooseDisks(&v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyIncremental}, all, NewMarkers("m"))
	if d := incremental[1]; d.Backing == nil || *d.Backing != (v1alpha1.DiskBacking{Path: "/base", Format: "raw"}) || d.AllocatedBytes != 30 || d.Obstacle != "" {
		t.Errorf("incrementally, a chain is %+v", d)
	}
	if d := incremental[2]; d.Obstacle == "" || d.Backing != nil {
		t.Errorf("incrementally, a chain on a server is %+v", d)
	}
	unknown := with(func(d *DiskFacts) { d.ChainUnknown = true })
	for mode, obstacle := range map[v1alpha1.StorageCopyMode]bool{v1alpha1.StorageCopyIncremental: true, v1alpha1.StorageCopyFull: false} {
		if chosen, _ := ChooseDisks(&v1alpha1.StorageCopyOptions{Mode: mode}, []DiskFacts{unknown}, NewMarkers("m")); (chosen[0].Obstacle != "") != obstacle {
			t.Errorf("%s, one of which nobody knows what it is based on is %+v", mode, chosen[0])
		}
	}
	full, _ := ChooseDisks(&v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull}, all, NewMarkers("m"))
	if d := full[1]; d.Backing != nil || d.AllocatedBytes != 100 || d.Obstacle != "" {
		t.Errorf("in full, a chain is %+v", d)
	}
	if chosen, blockers := ChooseDisks(&v1alpha1.StorageCopyOptions{}, slices.Repeat([]DiskFacts{file}, 65), NewMarkers("m")); len(chosen) != 0 || len(blockers) != 1 {
		t.Errorf("of 65 disks, %d are chosen, and %v", len(chosen), blockers)
	}
}

// TestMarkers: there is one for each directory, and none for a disk that gets another name.
func TestMarkers(t *testing.T) {
	disk := func(name, from, to string) DiskFacts {
		return DiskFacts{Name: name, Type: "file", SourcePath: from, Path: to, Writable: true}
	}
	chosen, _ := ChooseDisks(&v1alpha1.StorageCopyOptions{}, []DiskFacts{
		disk("vda", "/a/one", "/a/one"), disk("vdb", "/b/two", "/a/two"), disk("vdc", "/a/three", "/a/four"), disk("vdd", "/a/five", "/c/five"),
	}, NewMarkers("m"))
	var markers []string
	for _, d := range chosen {
		markers = append(markers, d.Marker)
	}
	if want := []string{"m.0.marker", "m.1.marker", "", "m.0.marker"}; !slices.Equal(markers, want) {
		t.Errorf("the markers are %q, want %q", markers, want)
	}
}

// TestPlanImages: an image is planned only where there is nothing, and all that is in the way is
// told.
func TestPlanImages(t *testing.T) {
	disk := v1alpha1.GuestDisk{Name: "vda", Path: "/images/a", Format: "raw", CapacityBytes: 100, AllocatedBytes: 60, Marker: "m"}
	named := disk
	named.Marker = ""
	second, odd, unknown := disk, disk, disk
	second.Name, second.Path = "vdb", "/images/b"
	odd.Obstacle = "its image is encrypted"
	unknown.CapacityBytes = 0
	again := second
	again.Path = disk.Path
	space := NewSpace(map[string]FileSystemSight{"/images": {200, 100, 100}}, nil, nil)
	free := ImagePlace{Allowed: true}
	there := ImagePlace{Allowed: true, Image: hypervisor.ImageSight{Exists: true}}
	shared := there
	shared.MarkerSeen = true
	besides := free
	besides.MarkerSeen = true
	const planned, isShared = v1alpha1.TargetImagePlanned, v1alpha1.TargetImageShared
	for name, c := range map[string]struct {
		disks  []v1alpha1.GuestDisk
		places []ImagePlace
		states []v1alpha1.TargetImageState
		codes  []v1alpha1.BlockerCode
	}{
		"nothing is there":                     {[]v1alpha1.GuestDisk{disk}, []ImagePlace{free}, []v1alpha1.TargetImageState{planned}, nil},
		"the same disk is there":               {[]v1alpha1.GuestDisk{disk}, []ImagePlace{shared}, []v1alpha1.TargetImageState{isShared}, nil},
		"the same directory, by another name":  {[]v1alpha1.GuestDisk{disk}, []ImagePlace{besides}, []v1alpha1.TargetImageState{planned}, nil},
		"another file is there":                {[]v1alpha1.GuestDisk{disk}, []ImagePlace{there}, nil, []v1alpha1.BlockerCode{v1alpha1.BlockerImageExists}},
		"a file is there, of a named disk":     {[]v1alpha1.GuestDisk{named}, []ImagePlace{there}, nil, []v1alpha1.BlockerCode{v1alpha1.BlockerImageExists}},
		"it is not allowed":                    {[]v1alpha1.GuestDisk{disk}, []ImagePlace{{}}, nil, []v1alpha1.BlockerCode{v1alpha1.BlockerPathNotAllowed}},
		"a link leads elsewhere":               {[]v1alpha1.GuestDisk{disk}, []ImagePlace{{Allowed: true, LinkedTo: "/etc/a"}}, nil, []v1alpha1.BlockerCode{v1alpha1.BlockerPathNotAllowed}},
		"a link leads to the same disk":        {[]v1alpha1.GuestDisk{disk}, []ImagePlace{{Allowed: true, LinkedTo: "/etc/a", MarkerSeen: true, Image: shared.Image}}, nil, []v1alpha1.BlockerCode{v1alpha1.BlockerPathNotAllowed}},
		"it cannot be looked at":               {[]v1alpha1.GuestDisk{disk}, []ImagePlace{{Allowed: true, Problem: "no such directory"}}, nil, []v1alpha1.BlockerCode{v1alpha1.BlockerImagePlaceUnusable}},
		"it cannot be copied":                  {[]v1alpha1.GuestDisk{odd}, []ImagePlace{free}, nil, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskNotCopyable}},
		"it cannot be copied, and need not be": {[]v1alpha1.GuestDisk{odd}, []ImagePlace{shared}, []v1alpha1.TargetImageState{isShared}, nil},
		"nobody knows its size":                {[]v1alpha1.GuestDisk{unknown}, []ImagePlace{free}, nil, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskNotCopyable}},
		"one fits, but not both":               {[]v1alpha1.GuestDisk{disk, second}, []ImagePlace{free, free}, []v1alpha1.TargetImageState{planned, planned}, []v1alpha1.BlockerCode{v1alpha1.BlockerNoSpaceForImages}},
		"what is shared takes no space":        {[]v1alpha1.GuestDisk{disk, second}, []ImagePlace{free, shared}, []v1alpha1.TargetImageState{planned, isShared}, nil},
		"two would be one":                     {[]v1alpha1.GuestDisk{disk, again}, []ImagePlace{free, free}, []v1alpha1.TargetImageState{planned}, []v1alpha1.BlockerCode{v1alpha1.BlockerImageExists}},
		"all that is wrong": {[]v1alpha1.GuestDisk{disk, second}, []ImagePlace{there, {}}, nil, []v1alpha1.BlockerCode{
			v1alpha1.BlockerImageExists, v1alpha1.BlockerPathNotAllowed,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			images, blockers := PlanImages("node-b", c.disks, c.places, space, epoch)
			var states []v1alpha1.TargetImageState
			for _, i := range images {
				states = append(states, i.State)
				if (i.State == planned) != (i.PlannedTime != nil) {
					t.Errorf("planned is %+v", i)
				}
			}
			if !slices.Equal(states, c.states) || !slices.Equal(codesOf(blockers), c.codes) {
				t.Errorf("got %v and %v, want %v and %v", states, codesOf(blockers), c.states, c.codes)
			}
		})
	}
}

// copying is a migration that copies vda.
func (b builder) copying(state v1alpha1.TargetImageState) builder {
	b.lm.Spec.Options = &v1alpha1.MigrationOptions{StorageCopy: &v1alpha1.StorageCopyOptions{Mode: v1alpha1.StorageCopyFull}}
	b.lm.Status.Source.Guest.Disks = []v1alpha1.GuestDisk{{Name: "vda", Path: "/b", Format: "raw", CapacityBytes: 100, Marker: "m"}}
	b.lm.Status.Source.Storage = &v1alpha1.SourceStorage{Images: []v1alpha1.SourceImage{{Name: "vda", Path: "/a"}}}
	b.lm.Status.Target.Images = []v1alpha1.TargetImage{{Name: "vda", Path: "/b", State: state}}
	return b
}

// TestCopyPlan: the source takes from the target only which of its own disks have images.
func TestCopyPlan(t *testing.T) {
	fact := DiskFacts{Name: "vda", SourcePath: "/a", Path: "/b", Size: hypervisor.DiskSize{CapacityBytes: 100}}
	grown, elsewhere := fact, fact
	grown.Size.CapacityBytes++
	elsewhere.Path = "/c"
	made := func() builder {
		return makeMigration("m").admitted().checked().ready().copying(v1alpha1.TargetImageMade)
	}
	other := made()
	other.lm.Status.Target.Images[0].Path = "/etc/passwd"
	silent := made()
	silent.lm.Status.Target.Images = nil
	named := makeMigration("m").admitted().checked().ready().copying(v1alpha1.TargetImageShared)
	named.lm.Status.Source.Guest.Disks[0].Marker = ""
	state := func(s v1alpha1.TargetImageState) builder {
		return makeMigration("m").admitted().checked().ready().copying(s)
	}
	for name, c := range map[string]struct {
		lm    builder
		facts []DiskFacts
		want  int
		wrong bool
	}{
		"it was made":                            {made(), []DiskFacts{fact}, 1, false},
		"it is shared":                           {state(v1alpha1.TargetImageShared), []DiskFacts{fact}, 0, false},
		"it is planned":                          {state(v1alpha1.TargetImagePlanned), []DiskFacts{fact}, 0, true},
		"it would be made":                       {state(v1alpha1.TargetImagePlanned).dry(), []DiskFacts{fact}, 1, false},
		"it was removed":                         {state(v1alpha1.TargetImageRemoved), []DiskFacts{fact}, 0, true},
		"it is somebody else's":                  {state(v1alpha1.TargetImageNotOurs), []DiskFacts{fact}, 0, true},
		"it was named, and is said to be shared": {named, []DiskFacts{fact}, 0, true},
		"it is elsewhere":                        {other, []DiskFacts{fact}, 0, true},
		"nothing is said of it":                  {silent, []DiskFacts{fact}, 0, true},
		"the disk has grown":                     {made(), []DiskFacts{grown}, 0, true},
		"the disk has moved":                     {made(), []DiskFacts{elsewhere}, 0, true},
		"the disk is gone":                       {made(), nil, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			images, err := CopyPlan(c.lm.obj(), c.facts)
			if len(images) != c.want || (err != nil) != c.wrong {
				t.Errorf("got %v, %v", images, err)
			}
		})
	}
}

// TestTheTopmostImageIsNotCopiedOntoAnotherBase: the guest would lose what is in its own.
func TestTheTopmostImageIsNotCopiedOntoAnotherBase(t *testing.T) {
	lm := makeMigration("m").admitted().checked().ready().copying(v1alpha1.TargetImageMade).obj()
	d := &lm.Status.Source.Guest.Disks[0]
	fact := DiskFacts{Name: string(d.Name), Path: d.Path, Chained: true, BackingPath: "/base"}
	fact.Size.CapacityBytes = uint64(d.CapacityBytes)
	unknown := fact
	unknown.Chained, unknown.ChainUnknown = false, true
	for name, c := range map[string]struct {
		mode  v1alpha1.StorageCopyMode
		told  *v1alpha1.DiskBacking
		fact  DiskFacts
		wrong bool
	}{
		"the same":         {v1alpha1.StorageCopyIncremental, &v1alpha1.DiskBacking{Path: "/base"}, fact, false},
		"another":          {v1alpha1.StorageCopyIncremental, &v1alpha1.DiskBacking{Path: "/other"}, fact, true},
		"none was told":    {v1alpha1.StorageCopyIncremental, nil, fact, true},
		"it is not known":  {v1alpha1.StorageCopyIncremental, nil, unknown, true},
		"all is copied":    {v1alpha1.StorageCopyFull, nil, fact, false},
		"and of the other": {v1alpha1.StorageCopyFull, nil, unknown, false},
	} {
		lm.Spec.Options.StorageCopy.Mode, d.Backing = c.mode, c.told
		if _, err := CopyPlan(lm, []DiskFacts{c.fact}); (err != nil) != c.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFlattenedDisks are those that were copied as a whole.
func TestFlattenedDisks(t *testing.T) {
	for state, want := range map[v1alpha1.TargetImageState]int{v1alpha1.TargetImageMade: 1, v1alpha1.TargetImagePlanned: 1, v1alpha1.TargetImageShared: 0} {
		lm := makeMigration("m").admitted().checked().ready().copying(state).obj()
		lm.Spec.Options.StorageCopy.Mode = v1alpha1.StorageCopyFull
		if got := FlattenedDisks(lm); len(got) != want || want > 0 && got[0] != "vda" {
			t.Errorf("%s: %v", state, got)
		}
		lm.Spec.Options.StorageCopy.Mode = v1alpha1.StorageCopyIncremental
		if got := FlattenedDisks(lm); len(got) != 0 {
			t.Errorf("%s, incrementally: %v", state, got)
		}
		lm.Spec.Options.StorageCopy = nil
		if got := FlattenedDisks(lm); len(got) != 0 {
			t.Errorf("%s, but nothing is copied: %v", state, got)
		}
	}
}

func TestDiskCopy(t *testing.T) {
	lm := makeMigration("m").admitted().checked().ready().copying(v1alpha1.TargetImageMade).obj()
	if got := DiskCopy(lm, lm.Status.Source); !slices.Equal(got.Disks, []string{"vda"}) || got.Incremental || got.SynchronousWrites {
		t.Errorf("got %+v", got)
	}
	o := lm.Spec.Options.StorageCopy
	if DiskCopy(lm, lm.Status.Source).DetectZeroes {
		t.Error("zeroes are looked for that nobody has asked for")
	}
	o.Mode, o.SynchronousWrites, o.DetectZeroes = v1alpha1.StorageCopyIncremental, new(true), new(true)
	if got := DiskCopy(lm, lm.Status.Source); !got.Incremental || !got.SynchronousWrites || !got.DetectZeroes {
		t.Errorf("got %+v", got)
	}
	for name, got := range map[string]hypervisor.DiskCopy{
		"no options": DiskCopy(makeMigration("m").obj(), lm.Status.Source), "nothing recorded": DiskCopy(lm, &v1alpha1.SourceStatus{}), "no section": DiskCopy(lm, nil),
	} {
		if len(got.Disks) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestIsOurs: a file is taken for an image of ours only if it can be nothing else.
func TestIsOurs(t *testing.T) {
	disk := v1alpha1.GuestDisk{Format: "qcow2", CapacityBytes: 100 << 20}
	image := v1alpha1.TargetImage{PlannedTime: new(metav1.NewMicroTime(epoch))}
	ours := hypervisor.ImageSight{Exists: true, Format: "qcow2", CapacityBytes: 100 << 20, AllocatedBytes: 200 << 10, Changed: epoch}
	for name, change := range map[string]func(*hypervisor.ImageSight){
		"it is gone":                 func(s *hypervisor.ImageSight) { *s = hypervisor.ImageSight{} },
		"it has another format":      func(s *hypervisor.ImageSight) { s.Format = "raw" },
		"it has another size":        func(s *hypervisor.ImageSight) { s.CapacityBytes++ },
		"it was written to":          func(s *hypervisor.ImageSight) { s.AllocatedBytes = 1 << 20 },
		"it is older":                func(s *hypervisor.ImageSight) { s.Changed = epoch.Add(-2 * time.Second) },
		"nobody knows how old it is": func(s *hypervisor.ImageSight) { s.Changed = time.Time{} },
	} {
		sight := ours
		change(&sight)
		if IsOurs(disk, image, sight) {
			t.Errorf("%s, and it is taken for ours", name)
		}
	}
	locked, opened := disk, ours
	locked.EncryptionSecretUUID, opened.AllocatedBytes = new(v1alpha1.UUID("5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b15")), 2297856 // As libvirt 9.0.0 makes it.
	if !IsOurs(locked, image, opened) || IsOurs(disk, image, opened) {
		t.Error("an encrypted image is not ours, or one is in the place of one that is not")
	}
	if !IsOurs(disk, image, ours) || IsOurs(disk, v1alpha1.TargetImage{}, ours) {
		t.Error("what is ours is not, or what was not planned is")
	}
}

// TestImagesAreRemovedOnlyIfTheGuestHasNeverCome, whatever the two sides show.
func TestImagesAreRemovedOnlyIfTheGuestHasNeverCome(t *testing.T) {
	const failed, succeeded, unknown = v1alpha1.CallFailed, v1alpha1.CallSucceeded, v1alpha1.CallUnknown
	arrived := func(b builder) builder {
		b.lm.Status.Target.ArrivedTime = new(metav1.NewMicroTime(epoch))
		return b
	}
	for name, c := range map[string]struct {
		b    builder
		want bool
	}{
		"it runs on the source":            {makeMigration("m").ended(failed, "Other", "Running/Booted").onTarget("Absent", true), true},
		"it went on there":                 {makeMigration("m").ended(unknown, "PeerLost", "Running/MigrationCanceled").onTarget("Shutoff/Failed", true), true},
		"the target was not read since":    {makeMigration("m").ended(failed, "Other", "Running/Booted").onTarget("Absent", false), false},
		"the target still has a shell":     {makeMigration("m").ended(failed, "Other", "Running/Booted").onTarget("Paused/Migration", true), false},
		"it runs on the target":            {makeMigration("m").ended(succeeded, "", "Absent").onTarget("Running/Migrated", true), false},
		"libvirt says that it has moved":   {makeMigration("m").ended(succeeded, "", "Running/Booted").onTarget("Absent", true), false},
		"it runs on both":                  {makeMigration("m").ended(failed, "Other", "Running/MigrationCanceled").onTarget("Running/Migrated", true), false},
		"it runs on neither":               {makeMigration("m").ended(unknown, "Other", "Shutoff/Migrated").onTarget("Absent", true), false},
		"it was moved on from the target":  {makeMigration("m").ended(failed, "Other", "Running/Booted").onTarget("Shutoff/Migrated", true), false},
		"it was seen on the target":        {arrived(makeMigration("m").ended(failed, "Other", "Running/MigrationCanceled").onTarget("Absent", true)), false},
		"the source holds it":              {makeMigration("m").ended(failed, "Other", "Paused/Migration").onTarget("Absent", true), false},
		"it has shut itself down":          {makeMigration("m").ended(failed, "Other", "Shutoff/Shutdown").onTarget("Absent", true), true},
		"it has stopped, nobody knows why": {makeMigration("m").ended(failed, "Other", "Shutoff/Unknown").onTarget("Absent", true), false},
		"its emulator has crashed there":   {makeMigration("m").ended(unknown, "Other", "Shutoff/Crashed").onTarget("Absent", true), false},
		"it was destroyed on the source":   {makeMigration("m").ended(failed, "Other", "Shutoff/Destroyed").onTarget("Absent", true), false},
		"it was in post-copy":              {makeMigration("m").ended(failed, "Other", "Shutoff/Shutdown").inPostCopy().onTarget("Absent", true), false},
		"the image is not there any more":  {makeMigration("m").ended(failed, "Other", "Running/Booted").onTarget("Absent", true), false},
	} {
		t.Run(name, func(t *testing.T) {
			state := v1alpha1.TargetImageMade
			if strings.Contains(name, "not there") {
				state = v1alpha1.TargetImageRemoved
			}
			out := Judge(c.b.copying(state).obj(), epoch.Add(time.Second))
			if out.RemoveImages != c.want || c.want && out.Verdict != VerdictPending {
				t.Errorf("removed: %v, verdict %s: %s", out.RemoveImages, out.Verdict, out.Message)
			}
		})
	}
	late := Judge(makeMigration("m").ended(failed, "Other", "Running/Booted").onTarget("Absent", true).copying(v1alpha1.TargetImageMade).obj(), epoch.Add(2*ConfirmTimeout))
	if late.Verdict != VerdictFailed || !strings.Contains(late.Message, "/b") || !strings.Contains(late.Message, "virsh vol-delete") {
		t.Errorf("after a minute the verdict is %s: %s", late.Verdict, late.Message)
	}
}

// TestSourceImagesAreRemovedOnlyIfTheGuestRunsElsewhere and the user wants it.
func TestSourceImagesAreRemovedOnlyIfTheGuestRunsElsewhere(t *testing.T) {
	moved := func(source, target string) builder {
		b := makeMigration("m").ended(v1alpha1.CallSucceeded, "", source).onTarget(target, true).copying(v1alpha1.TargetImageMade)
		b.lm.Status.Target.IncomingTime, b.lm.Status.Target.ArrivedTime = new(metav1.NewMicroTime(epoch)), new(metav1.NewMicroTime(epoch))
		b.lm.Spec.Options.StorageCopy.SourceImages = v1alpha1.SourceImagesRemove
		return b
	}
	kept := moved("Absent", "Running/Migrated")
	kept.lm.Spec.Options.StorageCopy.SourceImages = ""
	gone := moved("Absent", "Running/Migrated")
	gone.lm.Status.Source.Storage.Images[0].RemovedTime = new(metav1.NewMicroTime(epoch))
	for name, c := range map[string]struct {
		b       builder
		remove  bool
		verdict Verdict
	}{
		"it runs on the target":             {moved("Absent", "Running/Migrated"), true, VerdictPending},
		"it has moved on from the source":   {moved("Shutoff/Migrated", "Running/Migrated"), true, VerdictPending},
		"it has stopped on the source":      {moved("Shutoff/Shutdown", "Running/Migrated"), false, VerdictSucceeded},
		"it has a definition on the source": {moved("Shutoff/Migrated*", "Running/Migrated*"), false, VerdictPending},
		"it is paused on the target":        {moved("Absent", "Paused/User"), false, VerdictSucceeded},
		"the user keeps them":               {kept, false, VerdictSucceeded},
		"they are removed":                  {gone, false, VerdictSucceeded},
		"the source still has an old copy":  {moved("Paused/Migration", "Running/Migrated"), false, VerdictPending},
	} {
		t.Run(name, func(t *testing.T) {
			out := Judge(c.b.obj(), epoch.Add(time.Second))
			if out.RemoveSourceImages != c.remove || out.Verdict != c.verdict {
				t.Errorf("removed: %v, verdict %s: %s", out.RemoveSourceImages, out.Verdict, out.Message)
			}
		})
	}
	late := Judge(moved("Absent", "Running/Migrated").obj(), epoch.Add(2*ConfirmTimeout))
	if late.Verdict != VerdictSucceeded || !strings.Contains(late.Message, "/a") {
		t.Errorf("after a minute the verdict is %s: %s", late.Verdict, late.Message)
	}
}

// TestAnAttemptThatEndsBeforeItsStartIsClearedUp: it is given up at once, so that it is not
// started any more, and ends when nothing is left, or after a minute.
func TestAnAttemptThatEndsBeforeItsStartIsClearedUp(t *testing.T) {
	prepared := func(state v1alpha1.TargetImageState) builder {
		b := makeMigration("m").admitted().checked().ready().copying(state)
		b.lm.Status.Source.Storage.Images = nil
		return b.deleted()
	}
	nodes := NewInventory(Node{Name: "node-a", Ready: true}, Node{Name: "node-b", Ready: true})
	summarize := func(lm *v1alpha1.LiveMigration, after time.Duration) Summary {
		return Summarize(ManagerFacts{Object: lm, Nodes: nodes}, epoch.Add(after))
	}
	lm := prepared(v1alpha1.TargetImageMade).obj()
	out := summarize(lm, time.Second)
	if out.Status.Phase != v1alpha1.PhaseCancelling || out.Status.Attempt.AbandonedTime == nil || !out.Recheck.Equal(epoch.Add(time.Second+ConfirmTimeout)) {
		t.Errorf("while there is an image: %s, %+v, recheck %s", out.Status.Phase, out.Status.Attempt, out.Recheck)
	}
	lm.Status.Attempt = out.Status.Attempt
	if a := DecideTarget(TargetFacts{Object: lm, Section: lm.Status.Target}, epoch); a != TargetRemoveImages {
		t.Errorf("the target's act is %s", a)
	}
	if a := DecideSource(SourceFacts{Object: lm, Section: lm.Status.Source, Call: CallNone}, epoch); a != SourceWait {
		t.Errorf("the source's act is %s", a)
	}
	late := summarize(lm, 2*ConfirmTimeout)
	if late.Status.Phase != v1alpha1.PhaseCancelled || !strings.Contains(late.Status.Conditions[0].Message, "/b") {
		t.Errorf("after a minute: %s, %+v", late.Status.Phase, late.Status.Conditions)
	}
	lm.Status.Target.Images[0].State = v1alpha1.TargetImageRemoved
	if a := DecideTarget(TargetFacts{Object: lm, Section: lm.Status.Target}, epoch); a != TargetWait {
		t.Errorf("once it is removed, the target's act is %s", a)
	}
	if out := summarize(lm, 2*time.Second); out.Status.Phase != v1alpha1.PhaseCancelled {
		t.Errorf("once it is removed: %s", out.Status.Phase)
	}

	marked := prepared(v1alpha1.TargetImageShared).obj()
	marked.Status.Source.Storage.Markers = []string{"/a/m"}
	if out := summarize(marked, time.Second); out.Status.Phase != v1alpha1.PhaseCancelling {
		t.Errorf("while there is a marker: %s", out.Status.Phase)
	}
	if a := DecideSource(SourceFacts{Object: marked, Section: marked.Status.Source, Call: CallNone}, epoch); a != SourceRemoveMarkers {
		t.Errorf("while there is a marker, the source's act is %s", a)
	}
	if out := summarize(marked, time.Second); len(out.Status.Conditions) == 0 {
		t.Error("nothing is said")
	}

	// What is given up because time was up stays so, though the agents go on.
	slow := makeMigration("m").admitted().checked().ready().copying(v1alpha1.TargetImageMade)
	slow.lm.Status.Attempt.AbandonedTime = new(metav1.NewMicroTime(epoch))
	if out := summarize(slow.obj(), time.Second); out.Status.Phase != v1alpha1.PhaseCancelling {
		t.Errorf("what was given up is %s", out.Status.Phase)
	}
}
