package xmlrewrite

import (
	"reflect"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// TestReadDisks: what there is to copy, where it is, and where the migrate data put it.
func TestReadDisks(t *testing.T) {
	mapped := &v1alpha1.MigrateData{PathMappings: []v1alpha1.PathMapping{{From: "/images", To: "/srv/guests"}}}
	moved := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
		TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: "/other/web.qcow2"}},
	}}}
	toServer := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
		TargetDevice: new("vda"), Source: &v1alpha1.VolumeSource{Block: &v1alpha1.PathSource{Path: "/dev/vg/web"}},
	}}}
	detected := &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{{
		TargetDevice: new("vda"), BackingStore: new(v1alpha1.BackingStoreDetect),
	}}}
	const target = `<target dev='vda' bus='virtio'/></disk>`
	const qcow2 = `<driver name='qemu' type='qcow2'/>`
	const source = `<source file='/images/web.qcow2'/>`
	const notLUKS = "its image is encrypted, but not as libvirt can make one: in the format qcow2, with LUKS, by one secret that is given by its UUID"
	const passphraseOf = "<secret type='passphrase' uuid='5E26D0F7-8c1e-4b57-9f0e-3a8d2a0c6b15'/>"
	encrypted := func(format, how, secrets string) string {
		return `<disk type='file' device='disk'><driver name='qemu' type='` + format + `'/><source file='/images/web.qcow2'><encryption ` + how + `>` + secrets + `</encryption></source>` + target
	}
	plain := Disk{Name: "vda", Type: "file", Format: "qcow2", SourcePath: "/images/web.qcow2", Path: "/images/web.qcow2", Writable: true}
	with := func(change func(*Disk)) Disk {
		d := plain
		change(&d)
		return d
	}
	for name, c := range map[string]struct {
		disk string
		data *v1alpha1.MigrateData
		want Disk
	}{
		"a file":                               {`<disk type='file' device='disk'>` + qcow2 + source + target, nil, plain},
		"a file in a directory that is mapped": {`<disk type='file' device='disk'>` + qcow2 + source + target, mapped, plain},
		"a file that goes elsewhere":           {`<disk type='file' device='disk'>` + qcow2 + source + target, moved, with(func(d *Disk) { d.Path = "/other/web.qcow2" })},
		"a file that is no file on the target": {`<disk type='file' device='disk'>` + qcow2 + source + target, toServer, with(func(d *Disk) {
			d.Type, d.SourcePath, d.Path = "block", "", ""
		})},
		"a device": {`<disk type='block' device='disk'>` + qcow2 + `<source dev='/dev/vg/web'/>` + target, nil, with(func(d *Disk) {
			d.Type, d.SourcePath, d.Path, d.SourceDevice, d.Device = "block", "", "", "/dev/vg/web", "/dev/vg/web"
		})},
		"a device that is another": {`<disk type='block' device='disk'>` + qcow2 + `<source dev='/dev/old/web'/>` + target, toServer, with(func(d *Disk) {
			d.Type, d.SourcePath, d.Path, d.SourceDevice, d.Device = "block", "", "", "/dev/old/web", "/dev/vg/web"
		})},
		"a device that is a file on the target": {`<disk type='block' device='disk'>` + qcow2 + `<source dev='/dev/vg/web'/>` + target, moved, with(func(d *Disk) {
			d.Type, d.SourcePath, d.Path = "block", "", ""
		})},
		"a raw file": {`<disk type='file' device='disk'><driver name='qemu' type='raw'/>` + source + target, nil, with(func(d *Disk) { d.Format, d.ChainKnown = "raw", true })},
		"another format": {`<disk type='file' device='disk'><driver name='qemu' type='vmdk'/>` + source + target, nil, with(func(d *Disk) {
			d.Format, d.Obstacle = "vmdk", "its image is neither raw nor qcow2"
		})},
		"a read-only disk": {`<disk type='file' device='disk'>` + qcow2 + source + `<readonly/>` + target, nil, with(func(d *Disk) { d.Writable = false })},
		"a medium":         {`<disk type='file' device='cdrom'>` + qcow2 + source + target, nil, with(func(d *Disk) { d.Writable = false })},
		"an empty drive":   {`<disk type='file' device='cdrom'>` + qcow2 + target, nil, with(func(d *Disk) { d.Writable, d.SourcePath, d.Path = false, "", "" })},
		"one that several guests write to": {`<disk type='file' device='disk'>` + qcow2 + source + `<shareable/>` + target, nil, with(func(d *Disk) {
			d.Obstacle = "several guests may write to it"
		})},
		"one that forgets": {`<disk type='file' device='disk'>` + qcow2 + source + `<transient/>` + target, nil, with(func(d *Disk) {
			d.Obstacle = "what is written to it is not kept"
		})},
		"an encrypted one": {`<disk type='file' device='disk'>` + qcow2 + `<source file='/images/web.qcow2'><encryption format='luks'/></source>` + target, nil, with(func(d *Disk) {
			d.Obstacle = notLUKS
		})},
		"an encrypted one that can be made": {encrypted("qcow2", "format='luks'", passphraseOf), nil, with(func(d *Disk) { d.SecretUUID = "5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b15" })},
		"one by another engine":             {encrypted("qcow2", "format='luks' engine='librbd'", passphraseOf), nil, with(func(d *Disk) { d.Obstacle = notLUKS })},
		"one in another way":                {encrypted("qcow2", "format='qcow'", passphraseOf), nil, with(func(d *Disk) { d.Obstacle = notLUKS })},
		"a raw one":                         {encrypted("raw", "format='luks'", passphraseOf), nil, with(func(d *Disk) { d.Format, d.ChainKnown, d.Obstacle = "raw", true, notLUKS })},
		"one with two passphrases":          {encrypted("qcow2", "format='luks2'", passphraseOf+passphraseOf), nil, with(func(d *Disk) { d.Obstacle = notLUKS })},
		"one by a secret for a use":         {encrypted("qcow2", "format='luks'", "<secret type='passphrase' usage='/images/web.qcow2'/>"), nil, with(func(d *Disk) { d.Obstacle = notLUKS })},
		"one with slices": {`<disk type='file' device='disk'>` + qcow2 + `<source file='/images/web.qcow2'><slices><slice type='storage' offset='0' size='512'/></slices></source>` + target, nil, with(func(d *Disk) {
			d.Obstacle = "it is but a part of its image"
		})},
		"one with a data file": {`<disk type='file' device='disk'>` + qcow2 + `<source file='/images/web.qcow2'><dataStore type='file'><format type='raw'/><source file='/images/data'/></dataStore></source>` + target, nil, with(func(d *Disk) {
			d.Obstacle = "its data are in a file of their own"
		})},
		"one of a chain": {`<disk type='file' device='disk'>` + qcow2 + source + `<backingStore type='file'><format type='raw'/><source file='/images/base'/><backingStore/></backingStore>` + target, mapped, with(func(d *Disk) {
			d.Chained, d.ChainKnown, d.BackingPath, d.BackingFormat = true, true, "/srv/guests/base", "raw"
		})},
		"one of a chain that the target is to find": {`<disk type='file' device='disk'>` + qcow2 + source + `<backingStore type='file'><format type='raw'/><source file='/images/base'/><backingStore/></backingStore>` + target, detected, with(func(d *Disk) {
			d.Chained, d.ChainKnown = true, true
		})},
		"the end of a chain": {`<disk type='file' device='disk'>` + qcow2 + source + `<backingStore/>` + target, nil, with(func(d *Disk) { d.ChainKnown = true })},
		"one based on a server's": {`<disk type='file' device='disk'>` + qcow2 + source + `<backingStore type='network'><format type='raw'/><source protocol='nbd' name='x'><host name='h'/></source></backingStore>` + target, nil, with(func(d *Disk) {
			d.Chained, d.ChainKnown = true, true
		})},
		"a network disk": {`<disk type='network' device='disk'>` + qcow2 + `<source protocol='rbd' name='pool/web'/>` + target, nil, with(func(d *Disk) {
			d.Type, d.SourcePath, d.Path = "network", "", ""
		})},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadDisks("<domain type='kvm'><name>web</name><devices>"+c.disk+"</devices></domain>", c.data, Options{})
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
	if _, err := ReadDisks("<domain", nil, Options{}); err == nil {
		t.Error("what is no definition is read")
	}
}
