package migration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// sharedImage is a disk in a file that both hosts may have.
func sharedImage(change func(*SharingFacts)) SharingFacts {
	d := SharingFacts{Disk: "vda", Type: "file", Writable: true, Complete: true, Files: []FilePlace{{"/s/web", "/t/web"}}}
	if change != nil {
		change(&d)
	}
	return d
}

// TestWhichFilesTheTargetIsToSee: all but those of disks that are copied in any case and of
// those that libvirt leaves out.
func TestWhichFilesTheTargetIsToSee(t *testing.T) {
	based := func(d *SharingFacts) { d.Files = append(slices.Clone(d.Files), FilePlace{"/b/base", "/b/base"}) }
	medium := sharedImage(func(d *SharingFacts) { d.Disk, d.Writable, d.Files = "hda", false, []FilePlace{{"/iso/a", "/iso/a"}} })
	second := sharedImage(func(d *SharingFacts) { d.Disk, d.Files = "vdb", []FilePlace{{"/s/second", "/t/other"}} })
	for name, c := range map[string]struct {
		copied        []v1alpha1.DiskName
		live, defined []SharingFacts
		want, markers string
	}{
		"an image":                        {nil, []SharingFacts{sharedImage(nil)}, nil, "Image /t/web m.0.marker", "/s/m.0.marker"},
		"one that is copied":              {[]v1alpha1.DiskName{"vda"}, []SharingFacts{sharedImage(nil)}, nil, "", ""},
		"what a copied one is based on":   {[]v1alpha1.DiskName{"vda"}, []SharingFacts{sharedImage(based)}, nil, "Backing /b/base m.0.marker", "/b/m.0.marker"},
		"a chain":                         {nil, []SharingFacts{sharedImage(based)}, nil, "Image /t/web m.0.marker, Backing /b/base m.1.marker", "/s/m.0.marker /b/m.1.marker"},
		"one that gets another name":      {nil, []SharingFacts{second}, nil, "Image /t/other ", ""},
		"a medium":                        {nil, []SharingFacts{medium}, nil, "Medium /iso/a ", ""},
		"a medium that may be missing":    {nil, []SharingFacts{sharedImage(func(d *SharingFacts) { d.Writable, d.Optional = false, true })}, nil, "", ""},
		"one of the definition":           {nil, []SharingFacts{sharedImage(nil)}, []SharingFacts{sharedImage(nil), second}, "Image /t/web m.0.marker, Definition /t/other ", "/s/m.0.marker"},
		"a copied one, of the definition": {[]v1alpha1.DiskName{"vda"}, []SharingFacts{sharedImage(nil)}, []SharingFacts{sharedImage(nil)}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			markers := NewMarkers("m")
			var got []string
			for _, f := range DiskFilesOf(&v1alpha1.StorageCopyOptions{Disks: c.copied}, c.live, c.defined, markers) {
				got = append(got, fmt.Sprintf("%s %s %s", f.Role, f.Path, f.Marker))
			}
			if strings.Join(got, ", ") != c.want || strings.Join(markers.Paths(), " ") != c.markers {
				t.Errorf("got %q with %q, want %q with %q", got, markers.Paths(), c.want, c.markers)
			}
		})
	}
	var many []SharingFacts
	for i := range 300 {
		many = append(many, sharedImage(func(d *SharingFacts) { d.Files = []FilePlace{{fmt.Sprintf("/d%d/a", i), fmt.Sprintf("/d%d/a", i)}} }))
	}
	if files := DiskFilesOf(nil, many, nil, NewMarkers("m")); len(files) != maxDiskFiles || files[maxMarkers-1].Marker == "" || files[maxMarkers].Marker != "" {
		t.Errorf("of many, there are %d", len(files))
	}
}

// TestWhatTheTargetHasToHave: what is missing there is told, unless it is going to be copied.
func TestWhatTheTargetHasToHave(t *testing.T) {
	image := v1alpha1.DiskFile{Disk: "vda", Role: v1alpha1.DiskFileImage, Path: "/t/web"}
	backing := v1alpha1.DiskFile{Disk: "vda", Role: v1alpha1.DiskFileBacking, Path: "/b/base"}
	medium := v1alpha1.DiskFile{Disk: "hda", Role: v1alpha1.DiskFileMedium, Path: "/iso/a"}
	iso := v1alpha1.DiskFile{Disk: "hda", Role: v1alpha1.DiskFileMedium, Path: "/iso/a", Removable: true}
	floppy := v1alpha1.DiskFile{Disk: "fda", Role: v1alpha1.DiskFileImage, Path: "/iso/f", Removable: true}
	eject := &v1alpha1.LiveMigration{Spec: v1alpha1.LiveMigrationSpec{Options: &v1alpha1.MigrationOptions{EjectMissingMedia: new(true)}}}
	defined := v1alpha1.DiskFile{Disk: "vdb", Role: v1alpha1.DiskFileDefinition, Path: "/t/other"}
	full := []v1alpha1.GuestDisk{{Name: "vda", Path: "/t/web"}}
	incremental := []v1alpha1.GuestDisk{{Name: "vda", Path: "/t/web", Backing: &v1alpha1.DiskBacking{Path: "/b/base", Format: "raw"}}}
	missing, present := v1alpha1.TargetDiskFileMissing, v1alpha1.TargetDiskFilePresent
	for name, c := range map[string]struct {
		file  v1alpha1.DiskFile
		disks []v1alpha1.GuestDisk
		state v1alpha1.TargetDiskFileState
		want  []v1alpha1.BlockerCode
		lm    *v1alpha1.LiveMigration
	}{
		"a medium in a drive":              {file: iso, state: missing, want: []v1alpha1.BlockerCode{v1alpha1.BlockerMediumMissing}},
		"a floppy disk":                    {file: floppy, state: missing, want: []v1alpha1.BlockerCode{v1alpha1.BlockerMediumMissing}},
		"one that is to be ejected":        {file: iso, state: missing, lm: eject},
		"a floppy disk that is":            {file: floppy, state: missing, lm: eject},
		"a floppy disk that is copied":     {file: floppy, disks: []v1alpha1.GuestDisk{{Name: "fda", Path: "/iso/f"}}, state: missing},
		"a disk, where media are ejected":  {file: medium, state: missing, lm: eject, want: []v1alpha1.BlockerCode{v1alpha1.BlockerMediumMissing}},
		"an image":                         {image, nil, missing, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskMissing}, nil},
		"an image that is there":           {image, nil, present, nil, nil},
		"one of which nothing is known":    {image, nil, v1alpha1.TargetDiskFileUnknown, nil, nil},
		"one that is copied":               {image, full, missing, nil, nil},
		"what one is based on":             {backing, nil, missing, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskMissing}, nil},
		"the same, if all is copied":       {backing, full, missing, nil, nil},
		"the same, if the top is copied":   {backing, incremental, missing, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskMissing}, nil},
		"a medium":                         {medium, full, missing, []v1alpha1.BlockerCode{v1alpha1.BlockerMediumMissing}, nil},
		"one that only the definition has": {defined, full, missing, []v1alpha1.BlockerCode{v1alpha1.BlockerDiskMissing}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			guest := &v1alpha1.GuestFacts{Disks: c.disks, DiskFiles: []v1alpha1.DiskFile{c.file}}
			blockers := MissingFiles(cmp.Or(c.lm, &v1alpha1.LiveMigration{}), "node-b", guest, []v1alpha1.TargetDiskFile{{Path: c.file.Path, State: c.state}})
			if !slices.Equal(codesOf(blockers), c.want) {
				t.Errorf("got %+v, want %v", blockers, c.want)
			}
			if len(blockers) > 0 && (!strings.Contains(blockers[0].Message, c.file.Path) || !strings.Contains(blockers[0].Message, "node-b")) {
				t.Errorf("the message is %q", blockers[0].Message)
			}
		})
	}
	if blockers := MissingFiles(&v1alpha1.LiveMigration{}, "node-b", &v1alpha1.GuestFacts{DiskFiles: []v1alpha1.DiskFile{image}}, nil); blockers != nil {
		t.Errorf("an agent that does not tell is taken to have said %+v", blockers)
	}
}

// TestWhenLibvirtsCheckIsOverridden: only if each disk to which the guest writes is known to be
// safe, and a file is by more than its path.
func TestWhenLibvirtsCheckIsOverridden(t *testing.T) {
	before, seen, now := time.Unix(100, 0), time.Unix(101, 500), time.Unix(102, 0)
	other := func(d *SharingFacts) { d.Disk, d.Files = "vdb", []FilePlace{{"/s/second", "/t/second"}} }
	marked := v1alpha1.TargetDiskFileMarked
	type world struct {
		disks  []SharingFacts
		source *v1alpha1.SourceStatus
		target *v1alpha1.TargetStatus
		looks  map[string]time.Time
	}
	one := func(change func(*SharingFacts)) func(*world) {
		return func(w *world) { w.disks[0] = sharedImage(change) }
	}
	for name, c := range map[string]struct {
		change func(*world)
		safe   bool
		doubt  string
	}{
		"all is proven":                        {nil, true, ""},
		"nobody writes to it":                  {func(w *world) { w.looks["/s/web"], w.target.DiskFiles[0].ChangeTime = before, ChangeTime(before) }, true, ""},
		"the marker is not seen":               {func(w *world) { w.target.DiskFiles[0].State = v1alpha1.TargetDiskFilePresent }, false, "does not see"},
		"there was no marker":                  {func(w *world) { w.source.Guest.DiskFiles[0].Marker = "" }, false, "not compared"},
		"the target does not tell":             {func(w *world) { w.target.DiskFiles = nil }, false, "not compared"},
		"the source has not told":              {func(w *world) { w.source.Guest.DiskFiles = nil }, false, "not compared"},
		"the file there is older":              {func(w *world) { w.target.DiskFiles[0].ChangeTime = ChangeTime(before.Add(-time.Second)) }, false, "symbolic link"},
		"the file there is newer":              {func(w *world) { w.target.DiskFiles[0].ChangeTime = ChangeTime(now.Add(time.Second)) }, false, "symbolic link"},
		"no time is known there":               {func(w *world) { w.target.DiskFiles[0].ChangeTime = nil }, false, "not known when"},
		"no time is known here":                {func(w *world) { w.source.Guest.DiskFiles[0].ChangeTime = nil }, false, "not known when"},
		"no time is known now":                 {func(w *world) { w.looks = nil }, false, "not known when"},
		"another path than was compared":       {one(func(d *SharingFacts) { d.Files = []FilePlace{{"/s/web", "/t/new"}} }), false, "not compared"},
		"its chain is not known":               {one(func(d *SharingFacts) { d.Complete = false }), false, "what files"},
		"what it is based on was not compared": {one(func(d *SharingFacts) { d.Files = append(d.Files, FilePlace{"/b", "/b"}) }), false, "not compared"},
		"nothing is ever written out":          {one(func(d *SharingFacts) { d.Cache = "unsafe" }), false, "cache mode is unsafe"},
		"the host's cache is used":             {one(func(d *SharingFacts) { d.Cache = "writeback" }), true, ""},
		"another disk is not proven":           {func(w *world) { w.disks = append(w.disks, sharedImage(other)) }, false, "not compared"},
		"another disk is copied": {func(w *world) {
			w.disks = append(w.disks, sharedImage(other))
			w.source.Storage = &v1alpha1.SourceStorage{Images: []v1alpha1.SourceImage{{Name: "vdb"}}}
		}, true, ""},
		"another disk is only read": {func(w *world) { w.disks = append(w.disks, SharingFacts{Disk: "hda", Type: "file"}) }, true, ""},
		"a drive is empty":          {func(w *world) { w.disks = append(w.disks, SharingFacts{Disk: "fda", Writable: true}) }, true, ""},
		"another disk is on a network": {func(w *world) {
			w.disks = append(w.disks, SharingFacts{Disk: "vdb", Type: "network", Writable: true, Cache: "unsafe"})
		}, true, ""},
		"another disk is a block device":  {func(w *world) { w.disks = append(w.disks, SharingFacts{Disk: "vdb", Type: "block", Writable: true}) }, true, ""},
		"another disk is of a host's own": {func(w *world) { w.disks = append(w.disks, SharingFacts{Disk: "vdb", Type: "nvme", Writable: true}) }, false, "neither in a file"},
		"nothing needs to be proven":      {func(w *world) { w.disks = []SharingFacts{{Disk: "vdb", Type: "network", Writable: true}} }, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := world{
				disks: []SharingFacts{sharedImage(nil)},
				source: &v1alpha1.SourceStatus{AttemptID: "a", Guest: &v1alpha1.GuestFacts{DiskFiles: []v1alpha1.DiskFile{
					{Disk: "vda", Role: v1alpha1.DiskFileImage, Path: "/t/web", Marker: "m.0.marker", ChangeTime: ChangeTime(before)},
				}}},
				target: &v1alpha1.TargetStatus{AttemptID: "a", DiskFiles: []v1alpha1.TargetDiskFile{{Path: "/t/web", State: marked, ChangeTime: ChangeTime(seen)}}},
				looks:  map[string]time.Time{"/s/web": now},
			}
			if c.change != nil {
				c.change(&w)
			}
			lm := &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
				TargetNode: "node-b", Attempt: &v1alpha1.AttemptStatus{ID: "a"}, Source: w.source, Target: w.target,
			}}
			got := ProveSharing(lm, w.source, w.disks, w.looks)
			var said []string
			for _, d := range got.Disks {
				if d.Doubt != "" {
					said = append(said, d.Doubt)
				}
			}
			if got.Safe != c.safe || (c.doubt == "") != (len(said) == 0) || !strings.Contains(strings.Join(said, "; "), c.doubt) {
				t.Errorf("got %+v, want safe %t with the doubt %q", got, c.safe, c.doubt)
			}
		})
	}
}
