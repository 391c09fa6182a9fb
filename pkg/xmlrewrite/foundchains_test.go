package xmlrewrite

import (
	"reflect"
	"strings"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

const (
	foundBegin = "<domain type='kvm'><name>g</name><devices>"
	foundEnd   = "<target dev='vda' bus='virtio'/></disk></devices></domain>"
	foundTop   = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/a'/>"
	foundData  = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/a'><dataStore type='file'><format type='raw'/><source file='/d'/></dataStore></source>"
	foundBase  = "<backingStore type='file'><format type='raw'/><source file='/images/base'/><backingStore/></backingStore>"
)

// TestWhatLibvirtHasFound in images is not in the definition that migrates.
func TestWhatLibvirtHasFound(t *testing.T) {
	t.Parallel()
	elsewhere := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
		TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/srv/a"}},
	}}}
	mapped := Options{Storage: storageMappings()}
	for name, c := range map[string]struct {
		migrates, running string
		data              *v1alpha1.MigrateData
		options           Options
		base              string // Of a copy.
		known             bool
		files             int
		complete          bool
	}{
		"that it is based on another":      {foundTop, foundTop + foundBase, nil, Options{}, "/images/base", true, 2, true},
		"that it is based on nothing":      {foundTop, foundTop + "<backingStore/>", nil, Options{}, "", true, 1, true},
		"nothing":                          {foundTop, foundTop, nil, Options{}, "", false, 1, false},
		"what it was told":                 {foundTop + foundBase, foundTop + strings.Replace(foundBase, "base", "other", 1), nil, Options{}, "/images/base", true, 2, true},
		"of another image":                 {foundTop, strings.Replace(foundTop, "/images/a", "/images/b", 1) + foundBase, nil, Options{}, "", false, 1, false},
		"of one that is elsewhere there":   {foundTop, foundTop + foundBase, elsewhere, Options{}, "/images/base", true, 1, false},
		"of one that is mapped, as it is":  {foundTop, foundTop + foundBase, nil, mapped, "/srv/guests/base", true, 1, false},
		"that its data are in another one": {foundTop, foundData, nil, Options{}, "", false, 1, false},
	} {
		migrates, running := foundBegin+c.migrates+foundEnd, foundBegin+c.running+foundEnd
		disks, err := ReadDisks(migrates, c.data, c.options)
		if err != nil {
			t.Fatal(err)
		}
		found, err := ReadDisks(running, c.data, c.options)
		if err != nil {
			t.Fatal(err)
		}
		d := WithFoundChains(disks, found)[0]
		if d.Chained != (c.base != "") || d.BackingPath != c.base || d.ChainKnown != c.known {
			t.Errorf("%s: a copy is %+v", name, d)
		}
		files, err := ReadDiskFiles(migrates, c.data, c.options)
		if err != nil {
			t.Fatal(err)
		}
		foundFiles, err := ReadDiskFiles(running, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		f := WithFoundFiles(files, foundFiles)[0]
		if len(f.Files) != c.files || f.Complete != c.complete {
			t.Errorf("%s: its files are %+v", name, f)
		}
	}
}

// TestWhatIsInOneImage is based on nothing, in both of the guest's definitions, whatever is said
// of what it was based on.
func TestWhatIsInOneImage(t *testing.T) {
	t.Parallel()
	told, flat := foundBegin+foundTop+foundBase+foundEnd, foundBegin+foundTop+foundEnd
	other := strings.Replace(told, "/images/a", "/images/b", 1)
	entry := func(store *v1alpha1.BackingStorePolicy) *v1alpha1.MigrateData {
		return &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
			TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/images/c"}}, BackingStore: store,
		}}}
	}
	there := strings.Replace(flat, "/images/a", "/images/c", 1)
	for name, c := range map[string]struct {
		have    string
		data    *v1alpha1.MigrateData
		options Options
		want    string
	}{
		"what is copied":                {told, nil, Options{}, flat},
		"what is mapped":                {told, nil, Options{Storage: storageMappings()}, strings.Replace(flat, "/images", "/srv/guests", 1)},
		"what is copied elsewhere":      {told, entry(nil), Options{}, there},
		"what was to be kept":           {told, entry(new(v1alpha1.BackingStoreKeep)), Options{}, there},
		"what was to be found":          {told, entry(new(v1alpha1.BackingStoreDetect)), Options{}, there},
		"what it is based on elsewhere": {told, &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/images/base", To: "/srv/base"}}}, Options{}, flat},
		"the same when it is defined":   {told, nil, Options{Inactive: true, Other: told}, flat},
		"another that is defined":       {other, nil, Options{Inactive: true, Other: told}, other},
		"one that is defined only":      {told, nil, Options{Inactive: true}, told},
	} {
		c.options.Flattened = []string{"vda"}
		plan, err := NewPlan(c.have, c.data, c.options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := plan.Apply(); got != c.want {
			t.Errorf("%s: got\n%s, want\n%s", name, got, c.want)
		}
	}
	plan, err := NewPlan(told, nil, Options{Flattened: []string{"vdb"}})
	if err != nil || !reflect.DeepEqual(plan.Apply(), told) {
		t.Errorf("another disk is changed: %v", err)
	}
}
