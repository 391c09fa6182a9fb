package xmlrewrite

import (
	"errors"
	"slices"
	"strings"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

func storageMappings() []v1alpha1.StorageMapping {
	return []v1alpha1.StorageMapping{
		{Kind: v1alpha1.StorageKindDirectory, From: "/images", To: "/srv/guests"},
		{Kind: v1alpha1.StorageKindDirectory, From: "/images/iso", To: "/images/iso"},
		{Kind: v1alpha1.StorageKindDirectory, From: "/srv/guests", To: "/third"},
		{Kind: v1alpha1.StorageKindDirectory, From: "/other", To: "/srv/guests"},
		{Kind: v1alpha1.StorageKindPool, From: "default", To: "fast & new"},
	}
}

// TestStorageIsWhereTheTargetSays where the user has said nothing about volumes.
func TestStorageIsWhereTheTargetSays(t *testing.T) {
	t.Parallel()
	const begin, end = "<domain type='kvm'><name>g</name><devices>", "</devices></domain>"
	const target = "<target dev='vda' bus='virtio'/></disk>"
	file := func(path, more string) string {
		return "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='" + path + "'/>" + more + target
	}
	based := func(path, base string) string {
		return file(path, "<backingStore type='file'><format type='raw'/><source file='"+base+"'/><backingStore/></backingStore>")
	}
	device := "<disk type='block' device='disk'><source dev='/images/lv'/>" + target
	volumes := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{TargetDevice: new("vda"), Driver: &v1alpha1.VolumeDriver{Cache: new(v1alpha1.CacheMode("none"))}}}}
	paths := &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/images/base", To: "/srv/guests/base"}, {From: "/srv/guests", To: "/nowhere"}}}
	for name, c := range map[string]struct {
		have, want string
		data       *v1alpha1.MigrateData
		used       []int
	}{
		"a file":                              {file("/images/a.qcow2", ""), file("/srv/guests/a.qcow2", ""), nil, []int{0}},
		"one further below":                   {file("/images/x/y/a", ""), file("/srv/guests/x/y/a", ""), nil, []int{0}},
		"one that is written with more":       {file("//images/./a", ""), file("/srv/guests/a", ""), nil, []int{0}},
		"one that leads out of the directory": {file("/images/../a", ""), file("/images/../a", ""), nil, nil},
		"one of a directory of its own":       {file("/images/iso/a", ""), file("/images/iso/a", ""), nil, nil},
		"one beside the directory":            {file("/imagesofmine/a", ""), file("/imagesofmine/a", ""), nil, nil},
		"what is mapped is mapped once":       {file("/srv/guests/a", ""), file("/third/a", ""), nil, []int{2}},
		"what it is based on":                 {based("/data/a", "/images/base"), based("/data/a", "/srv/guests/base"), nil, []int{0}},
		"all of a chain":                      {based("/other/a", "/images/base"), based("/srv/guests/a", "/srv/guests/base"), nil, []int{0, 3}},
		"a pool":                              {"<disk type='volume' device='disk'><source pool='default' volume='a'/>" + target, "<disk type='volume' device='disk'><source pool='fast &amp; new' volume='a'/>" + target, nil, []int{4}},
		"another pool":                        {"<disk type='volume' device='disk'><source pool='/images' volume='a'/>" + target, "<disk type='volume' device='disk'><source pool='/images' volume='a'/>" + target, nil, nil},
		"a block device":                      {device, device, nil, nil},
		"an empty drive":                      {"<disk type='file' device='cdrom'>" + target, "<disk type='file' device='cdrom'>" + target, nil, nil},
		"what its user lists":                 {file("/images/a", ""), strings.Replace(file("/images/a", ""), "type='qcow2'", "type='qcow2' cache='none'", 1), volumes, nil},
		"a base of which its user has a word": {based("/data/a", "/images/base"), based("/data/a", "/srv/guests/base"), &v1alpha1.MigrateData{PathMappings: paths.PathMappings[:1]}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := Options{Storage: storageMappings()}
			plan, err := NewPlan(begin+c.have+end, c.data, options)
			if err != nil {
				t.Fatal(err)
			}
			if got := plan.Apply(); got != begin+c.want+end {
				t.Errorf("got\n%s, want\n%s", got, begin+c.want+end)
			}
			used, meet, err := UsedStorage([]string{begin + c.have + end, begin + c.have + end}, c.data, options.Storage)
			var want []v1alpha1.StorageMapping
			for _, i := range c.used {
				want = append(want, storageMappings()[i])
			}
			sortMappings(used)
			if err != nil || len(meet) != 0 || !slices.Equal(used, want) {
				t.Errorf("used are %v, %v, want %v", used, err, want)
			}
			requireTold(t, begin+c.have+end, begin+c.want+end, c.data, options)
		})
	}
}

func sortMappings(mappings []v1alpha1.StorageMapping) {
	slices.SortFunc(mappings, func(a, b v1alpha1.StorageMapping) int {
		return slices.Index(storageMappings(), a) - slices.Index(storageMappings(), b)
	})
}

// requireTold fails if the disks' files are said to be elsewhere than the rewrite puts them.
func requireTold(t *testing.T, have, want string, data *v1alpha1.MigrateData, options Options) {
	t.Helper()
	told, err := ReadDiskFiles(have, data, options)
	if err != nil {
		t.Fatal(err)
	}
	there, err := ReadDiskFiles(want, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range told {
		for j, f := range told[i].Files {
			if f.Path != there[i].Files[j].Path {
				t.Errorf("a file is said to be at %s, and is at %s", f.Path, there[i].Files[j].Path)
			}
		}
	}
	disks, err := ReadDisks(have, data, options)
	if err != nil {
		t.Fatal(err)
	}
	after, err := ReadDisks(want, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range disks {
		if d.Path != after[i].Path || d.BackingPath != after[i].BackingPath {
			t.Errorf("a disk is said to be at %q on %q, and is at %q on %q", d.Path, d.BackingPath, after[i].Path, after[i].BackingPath)
		}
	}
}

// TestTwoDisksAreNotFoundInOnePlace: mappings that lead there are no reason to lose one of them.
func TestTwoDisksAreNotFoundInOnePlace(t *testing.T) {
	t.Parallel()
	disk := func(path, dev string) string {
		return "<disk type='file' device='disk'><source file='" + path + "'/><target dev='" + dev + "' bus='virtio'/></disk>"
	}
	for name, c := range map[string]struct {
		first, second string
		fails         bool
	}{
		"two that are mapped":           {"/images/a", "/other/a", true},
		"one that is, and one that not": {"/images/a", "/srv/guests/x/../a", true},
		"one that stays in its place":   {"/images/iso/a", "/images/a", false},
	} {
		xml := "<domain type='kvm'><name>g</name><devices>" + disk(c.first, "vda") + disk(c.second, "vdb") + "</devices></domain>"
		_, err := NewPlan(xml, nil, Options{Storage: storageMappings()})
		var problems Problems
		if errors.As(err, &problems) != c.fails || c.fails && problems[0].Kind != ProblemConflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	kept := "<domain type='kvm'><name>g</name><devices>" + disk("/images/a", "vda") + disk("/srv/a", "vdb") + "</devices></domain>"
	onto := []v1alpha1.StorageMapping{{Kind: v1alpha1.StorageKindDirectory, From: "/images", To: "/srv"}}
	if _, err := NewPlan(kept, nil, Options{Storage: onto}); err == nil {
		t.Error("a disk is mapped onto one that is kept")
	}
	if _, err := NewPlan(kept, nil, Options{Storage: []v1alpha1.StorageMapping{{Kind: v1alpha1.StorageKindDirectory, From: "/images", To: "/b\x01"}}}); err == nil {
		t.Error("a path with a control character is taken")
	}
	if _, _, err := UsedStorage([]string{"<domain"}, nil, onto); err == nil {
		t.Error("what is no definition is read")
	}
}

// TestTwoThingsAreNotFoundInOnePlace: not what two images are based on, nor two media, of which
// either may be read by several, but not instead of the other.
func TestTwoThingsAreNotFoundInOnePlace(t *testing.T) {
	t.Parallel()
	plain := func(path, dev string) string {
		return "<disk type='file' device='disk'><source file='" + path + "'/><target dev='" + dev + "' bus='virtio'/></disk>"
	}
	based := func(path, base, dev string) string {
		return "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='" + path + "'/><backingStore type='file'><format type='raw'/><source file='" + base + "'/><backingStore/></backingStore><target dev='" + dev + "' bus='virtio'/></disk>"
	}
	medium := func(path, dev string) string {
		return "<disk type='file' device='cdrom'><source file='" + path + "'/><target dev='" + dev + "' bus='sata'/><readonly/></disk>"
	}
	volume := func(pool, dev string) string {
		return "<disk type='volume' device='cdrom'><source pool='" + pool + "' volume='a'/><target dev='" + dev + "' bus='sata'/><readonly/></disk>"
	}
	store := func(path, data, dev string) string {
		return "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='" + path + "'><dataStore type='file'><format type='raw'/><source file='" + data + "'/></dataStore></source><target dev='" + dev + "' bus='virtio'/></disk>"
	}
	mappings := append(storageMappings(), v1alpha1.StorageMapping{Kind: v1alpha1.StorageKindPool, From: "old", To: "fast & new"})
	paths := &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/data/base", To: "/srv/guests/base"}}}
	for name, c := range map[string]struct {
		disks string
		data  *v1alpha1.MigrateData
		fails bool
	}{
		"what two are based on":                   {based("/data/a", "/images/base", "vda") + based("/data/b", "/other/base", "vdb"), nil, true},
		"what two are based on, one of it kept":   {based("/data/a", "/images/base", "vda") + based("/data/b", "/x/../srv/guests/base", "vdb"), nil, true},
		"what one is based on, and another":       {plain("/images/a", "vda") + based("/data/b", "/other/a", "vdb"), nil, true},
		"an image and what it is based on":        {based("/images/a", "/other/a", "vda"), nil, true},
		"what one keeps its data in, and another": {plain("/images/a", "vda") + store("/data/b", "/other/a", "vdb"), nil, true},
		"two media":                                {medium("/images/a", "sda") + medium("/other/a", "sdb"), nil, true},
		"two media of pools":                       {volume("default", "sda") + volume("old", "sdb"), nil, true},
		"what its user puts onto another":          {based("/data/a", "/images/base", "vda") + based("/data/b", "/data/base", "vdb"), paths, true},
		"what several are based on":                {based("/images/a", "/images/base", "vda") + based("/images/b", "//images/base", "vdb"), nil, false},
		"one medium in two drives":                 {medium("/images/a", "sda") + medium("/images/a", "sdb"), nil, false},
		"two empty drives":                         {medium("", "sda") + medium("", "sdb"), nil, false},
		"two pools":                                {volume("default", "sda") + volume("other", "sdb"), nil, false},
		"what is in two places, and stays in both": {based("/data/a", "/data/base", "vda") + medium("/data/base", "sda"), nil, false},
		"what its user has a word for":             {based("/data/a", "/images/base", "vda") + based("/data/b", "/other/base", "vdb"), &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			xml := "<domain type='kvm'><name>g</name><devices>" + c.disks + "</devices></domain>"
			if _, meet, err := UsedStorage([]string{xml, xml}, c.data, mappings); err != nil || len(meet) > 0 != c.fails || c.fails && len(meet) != 1 {
				t.Errorf("before, %v, %v", meet, err)
			}
			_, err := NewPlan(xml, c.data, Options{Storage: mappings})
			var problems Problems
			if errors.As(err, &problems) != c.fails || c.fails && (len(problems) != 1 || problems[0].Kind != ProblemConflict) {
				t.Errorf("%v", err)
			}
		})
	}
}
