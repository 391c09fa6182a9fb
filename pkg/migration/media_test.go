package migration

import (
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestMediaToEject: those in drives that the target has said to lack, where the user wants that.
func TestMediaToEject(t *testing.T) {
	t.Parallel()
	file := func(disk, path string, removable bool) v1alpha1.DiskFile {
		return v1alpha1.DiskFile{Disk: v1alpha1.DiskName(disk), Path: path, Removable: removable, Marker: "m"}
	}
	guest := &v1alpha1.GuestFacts{
		Disks:     []v1alpha1.GuestDisk{{Name: "fda"}},
		DiskFiles: []v1alpha1.DiskFile{file("sda", "/a", true), file("sdb", "/b", true), file("sdc", "/c", true), file("sdd", "/d", true), file("vda", "/e", false), file("fda", "/f", true)},
	}
	target := &v1alpha1.TargetStatus{AttemptID: "1", DiskFiles: []v1alpha1.TargetDiskFile{
		{Path: "/a", State: v1alpha1.TargetDiskFileMissing}, {Path: "/b", State: v1alpha1.TargetDiskFilePresent}, {Path: "/c", State: v1alpha1.TargetDiskFileUnknown},
		{Path: "/e", State: v1alpha1.TargetDiskFileMissing}, {Path: "/f", State: v1alpha1.TargetDiskFileMissing},
	}}
	lm := &v1alpha1.LiveMigration{}
	lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1"}
	lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", Guest: guest}
	for name, c := range map[string]struct {
		option *bool
		target *v1alpha1.TargetStatus
		want   []string
	}{
		"wanted":                      {new(true), target, []string{"/a"}},
		"not wanted":                  {new(false), target, nil},
		"not said":                    {nil, target, nil},
		"the target has said nothing": {new(true), nil, nil},
		"it was another attempt":      {new(true), &v1alpha1.TargetStatus{AttemptID: "0", DiskFiles: target.DiskFiles}, nil},
	} {
		lm.Spec.Options, lm.Status.Target = &v1alpha1.MigrationOptions{EjectMissingMedia: c.option}, c.target
		if got := MediaToEject(lm); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	var left []string
	for _, f := range OnlyMedia(guest.DiskFiles) {
		left = append(left, f.Path+f.Marker)
	}
	if got := strings.Join(left, " "); got != "/a /b /c /d /f" {
		t.Errorf("the media are %s", got)
	}
}

// TestEjectedMediaAreTold, also in a dry run, and nothing where there are none.
func TestEjectedMediaAreTold(t *testing.T) {
	t.Parallel()
	for _, dry := range []bool{false, true} {
		b := makeMigration("m").started()
		b.lm.Spec.DryRun = new(dry)
		told := func() string {
			for _, n := range b.turned(Turn{}, epoch).Status.Notices {
				if n.Reason == v1alpha1.NoticeMediaEjected {
					return n.Message
				}
			}
			return ""
		}
		if got := told(); got != "" {
			t.Errorf("without any, it says %q", got)
		}
		b.lm.Status.Source.Storage = &v1alpha1.SourceStorage{Ejected: []v1alpha1.EjectedMedium{{Name: "sda", Path: "/iso/a"}, {Name: "fda", Path: "/iso/f"}}}
		if got := told(); !strings.Contains(got, "node-b does not have these media") || !strings.Contains(got, "/iso/a (sda), /iso/f (fda)") {
			t.Errorf("it says %q", got)
		}
	}
}
