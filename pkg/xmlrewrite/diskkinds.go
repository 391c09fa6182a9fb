package xmlrewrite

import (
	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// fatFormat is the format of directories, and of nothing else.
const fatFormat = "fat"

// formatFor returns the format that a disk gets; empty if it stays. The shape is nil if the
// data stay where they are.
func (p *planner) formatFor(disk *xmltree.Node, want *v1alpha1.VolumeDriver, shape *sourceShape, field *place) string {
	given := ""
	if want != nil {
		given = stringOf(want.Format)
	}
	kind := disk.Value("type")
	if shape != nil {
		kind = shape.kind
	}
	if kind == "dir" {
		if given != "" && given != fatFormat {
			p.report(ProblemConflict, field, disk, "libvirt shows a directory to the guest as a FAT file system, and in no other format; leave the format out")
		} else if shape != nil {
			return fatFormat
		}
		return given
	}
	switch {
	case given == fatFormat && kind != "volume":
		p.report(ProblemConflict, field, disk, "the format fat is that of directories only; give the format of the data, such as raw")
	case given == "" && shape != nil && disk.Child("driver").Value("type") == fatFormat:
		p.report(ProblemMissingData, field, disk, "the disk was a directory, which libvirt shows as a FAT file system; give the format of the data on the target, such as raw")
	}
	return given
}

// checkIOMode reports settings that exclude one another, if one of them is given.
func (p *planner) checkIOMode(disk *xmltree.Node, want *v1alpha1.VolumeDriver, field *place) {
	if want.Cache == nil && want.IO == nil {
		return
	}
	if disk.Value("type") == "vhostuser" {
		p.report(ProblemConflict, field, disk, "the daemon behind the vhost-user socket reads and writes the data as it is set up to; remove cache and io")
		return
	}
	driver := disk.Child("driver")
	cache, io := driver.Value("cache"), driver.Value("io")
	if want.Cache != nil {
		cache = string(*want.Cache)
	}
	if want.IO != nil {
		io = string(*want.IO)
	}
	if io == "native" && cache != "none" && cache != "directsync" {
		name := "io"
		if want.IO == nil {
			name = "cache"
		}
		p.report(ProblemConflict, field.dot(name), disk, "native I/O needs the cache mode none or directsync; give one of those as cache, or threads as io")
	}
}

// fitEncryption has the encryption of the guest's disk fit where the data will be, unless
// the migrate data say that they are not encrypted there.
func (p *planner) fitEncryption(disk *xmltree.Node, want *v1alpha1.VolumeEncryption, shape *sourceShape, field *place) {
	if shape == nil || want != nil && want.SecretUUID == nil {
		return
	}
	have := disk.Child("source").Child("encryption")
	if have == nil {
		have = disk.Child("encryption")
	}
	switch {
	case shape.kind == "dir" && (have != nil || want != nil):
		p.report(ProblemConflict, field.dot("encryption"), disk, "a directory cannot be decrypted as a disk can; set encryption to {}, or choose another kind of source")
	case have.Value("engine") != "librbd" || shape.protocol == "rbd":
	case have.Value("format") == "luks":
		have.RemoveAttr("engine") // QEMU opens it itself.
	default:
		p.report(ProblemConflict, field.dot("source"), have, "only the protocol rbd can open data that is encrypted like this; choose that, or set encryption to {} if the data is not encrypted on the target")
	}
}
