package xmlrewrite

import (
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// TestReadDisksTellsWhereThePlanPutsThem: an image that is made elsewhere is not the guest's,
// which would be copied over whatever it finds in its own place.
func TestReadDisksTellsWhereThePlanPutsThem(t *testing.T) {
	const xml = `<domain type='kvm'><name>web</name><os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os><devices>` +
		`<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/web.qcow2'/>` +
		`<backingStore type='file'><format type='qcow2'/><source file='/images/base.qcow2'/><backingStore/></backingStore>` +
		`<target dev='vda' bus='virtio'/></disk></devices></domain>`
	mappings := []v1alpha1.PathMapping{{From: "/images", To: "/srv/guests"}}
	at := func(path string) []v1alpha1.VolumeMigrateData {
		return []v1alpha1.VolumeMigrateData{{
			TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: path}}, BackingStore: new(v1alpha1.BackingStoreKeep),
		}}
	}
	for name, data := range map[string]*v1alpha1.MigrateData{
		"nothing":            nil,
		"a mapping":          {PathMappings: mappings},
		"its own place":      {PathMappings: mappings, Volumes: at("/images/web.qcow2")},
		"another name there": {PathMappings: mappings, Volumes: at("/images/new.qcow2")},
		"elsewhere":          {PathMappings: mappings, Volumes: at("/other/web.qcow2")},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := NewPlan(xml, data, Options{})
			if err != nil {
				t.Fatal(err)
			}
			doc, err := parseGuest(plan.Apply())
			if err != nil {
				t.Fatal(err)
			}
			disks, err := ReadDisks(xml, data, Options{})
			if err != nil {
				t.Fatal(err)
			}
			disk := doc.devices("disk")[0]
			file := func(at *xmltree.Node) string { return at.Child("source").Value("file") }
			if d := disks[0]; d.Path != file(disk) || d.BackingPath != file(disk.Child("backingStore")) {
				t.Errorf("the disk is said to be at %q, on %q; the plan has it at %q, on %q", d.Path, d.BackingPath, file(disk), file(disk.Child("backingStore")))
			}
		})
	}
}
