package xmlrewrite

import (
	"reflect"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestReadDiskFiles: all that a disk's data are in, or that it is not known.
func TestReadDiskFiles(t *testing.T) {
	mapped := &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/images", To: "/srv"}}}
	moved := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
		TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/other/web"}},
	}}}
	const target = `<target dev='vda' bus='virtio'/></disk>`
	const disk = `<disk type='file' device='disk'>`
	const source = `<source file='/images/web'/>`
	const based = `<backingStore type='file'><format type='qcow2'/><source file='/images/base'/>`
	plain := DiskFiles{Name: "vda", Type: "file", Writable: true, Complete: true, Files: []DiskFile{{"/images/web", "/images/web"}}}
	with := func(change func(*DiskFiles)) DiskFiles {
		d := plain
		change(&d)
		return d
	}
	open := func(d *DiskFiles) { d.Complete = false }
	for name, c := range map[string]struct {
		disk string
		data *v1alpha1.MigrateData
		want DiskFiles
	}{
		"a raw image":                  {disk + `<driver name='qemu' type='raw'/>` + source, nil, plain},
		"one that ends":                {disk + `<driver name='qemu' type='qcow2'/>` + source + `<backingStore/>`, nil, plain},
		"one that may be based":        {disk + `<driver name='qemu' type='qcow2'/>` + source, nil, with(open)},
		"one whose format is not told": {disk + source, nil, with(open)},
		"one that goes elsewhere": {disk + `<driver name='qemu' type='raw' cache='none'/>` + source + `<shareable/>`, moved, with(func(d *DiskFiles) {
			d.Cache, d.Files = "none", []DiskFile{{"/images/web", "/other/web"}}
		})},
		"a chain": {disk + `<driver name='qemu' type='qcow2'/>` + source + based + `<backingStore/></backingStore>`, mapped, with(func(d *DiskFiles) {
			d.Files = append(d.Files[:1:1], DiskFile{"/images/base", "/srv/base"})
		})},
		"a chain whose end is not known": {disk + `<driver name='qemu' type='qcow2'/>` + source + based + `</backingStore>`, nil, with(func(d *DiskFiles) {
			d.Complete, d.Files = false, append(d.Files[:1:1], DiskFile{"/images/base", "/images/base"})
		})},
		"a chain into a network": {
			disk + `<driver name='qemu' type='qcow2'/>` + source + `<backingStore type='network'><format type='raw'/><source protocol='nbd' name='x'><host name='h'/></source><backingStore/></backingStore>`,
			nil, with(open),
		},
		"one with a data file": {disk + `<driver name='qemu' type='qcow2'/><source file='/images/web'><dataStore type='file'><format type='raw'/><source file='/images/data'/></dataStore></source>`, nil, with(func(d *DiskFiles) {
			d.Complete, d.Files = false, nil
		})},
		"a medium": {`<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='/images/web' startupPolicy='optional'/>`, nil, with(func(d *DiskFiles) {
			d.Removable, d.Writable, d.Optional = true, false, true
		})},
		"an empty drive": {`<disk type='file' device='cdrom'><driver name='qemu' type='raw'/>`, nil, DiskFiles{Name: "vda", Removable: true}},
		"a device": {`<disk type='block' device='disk'><driver name='qemu' type='raw' cache='writeback'/><source dev='/dev/vg/web'/>`, nil, DiskFiles{
			Name: "vda", Type: "block", Writable: true, Cache: "writeback",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadDiskFiles("<domain type='kvm'><name>web</name><devices>"+c.disk+target+"</devices></domain>", c.data, Options{})
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}
