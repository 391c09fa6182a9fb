package xmlrewrite

import (
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestDrivesAreEmptied, of which that is said, and nothing else is.
func TestDrivesAreEmptied(t *testing.T) {
	t.Parallel()
	const begin, end = "<domain type='kvm'><name>g</name><devices>", "</devices></domain>"
	const drive = "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/iso/a' startupPolicy='mandatory'/><backingStore/><target dev='sda' bus='sata'/><readonly/><serial>x</serial></disk>"
	const empty = "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/><readonly/><serial>x</serial></disk>"
	const disk = "<disk type='file' device='disk'><source file='/iso/a'/><target dev='sda' bus='sata'/><readonly/></disk>"
	elsewhere := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{Serial: new("x"), Source: &v1alpha1.VolumeSource{Block: &v1alpha1.PathSource{Path: "/dev/vg/iso"}}}}}
	for name, c := range map[string]struct {
		have, want string
		emptied    []string
		data       *v1alpha1.MigrateData
	}{
		"a drive":                       {drive, empty, []string{"sda"}, nil},
		"another drive":                 {drive, drive, []string{"sdb"}, nil},
		"a drive that is listed":        {drive, empty, []string{"sda"}, elsewhere},
		"a disk of that name":           {disk, disk, []string{"sda"}, nil},
		"a floppy drive":                {"<disk type='file' device='floppy'><source file='/f'/><target dev='fda' bus='fdc'/></disk>", "<disk type='file' device='floppy'><target dev='fda' bus='fdc'/></disk>", []string{"fda"}, nil},
		"a drive that is empty already": {empty, empty, []string{"sda"}, nil},
	} {
		options := Options{EmptyDrives: c.emptied}
		plan, err := NewPlan(begin+c.have+end, c.data, options)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := plan.Apply(); got != begin+c.want+end {
			t.Errorf("%s: got\n%s, want\n%s", name, got, begin+c.want+end)
		}
		files, err := ReadDiskFiles(begin+c.have+end, c.data, options)
		if err != nil || (files[0].Type == "") != (c.want != c.have || c.have == empty) || files[0].Removable != (c.have != disk) {
			t.Errorf("%s: of the drive is read %+v, %v", name, files, err)
		}
	}
}
