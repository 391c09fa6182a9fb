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

// checkIOMode reports settings that exclude one another or the kind of disk, if one of them
// is given.
func (p *planner) checkIOMode(disk *xmltree.Node, want *v1alpha1.VolumeDriver, field *place) {
	if disk.Value("type") == "vhostuser" {
		if want.Cache != nil || want.IO != nil || want.Discard != nil {
			p.report(ProblemConflict, field, disk, "the daemon behind the vhost-user socket reads and writes the data as it is set up to; remove cache, io and discard")
		}
		return
	}
	if want.Cache != nil || want.IO != nil {
		p.checkNativeIO(disk, want, field)
	}
}

// checkNativeIO reports native I/O with a cache, which libvirt refuses.
func (p *planner) checkNativeIO(disk *xmltree.Node, want *v1alpha1.VolumeDriver, field *place) {
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

// checkData checks the format and the encryption of an entry.
func (p *planner) checkData(disk *xmltree.Node, v *v1alpha1.VolumeMigrateData, shape *sourceShape, field *place) {
	kind, format := disk.Value("type"), ""
	if shape != nil {
		kind = shape.kind
	}
	if v.Driver != nil {
		format = stringOf(v.Driver.Format)
	}
	p.checkFormat(disk, format, field.dot("driver.format"))
	p.checkDecryption(disk, v, format, kind, field.dot("encryption"))
}

// checkFormat refuses a format that is given and that libvirt does not take for the guest's
// device.
func (p *planner) checkFormat(disk *xmltree.Node, format string, field *place) {
	if format == "" || format == rawFormat {
		return
	}
	switch {
	case disk.Value("device") == "lun":
		p.report(ProblemConflict, field, disk, "the guest sends its SCSI commands to the disk itself, which libvirt lets it do with raw data only; leave the format out")
	case disk.Child("shareable") != nil && disk.Child("readonly") == nil:
		p.report(ProblemConflict, field, disk, "other guests write to the disk, too, which only raw data can stand; leave the format out")
	}
}

// checkDecryption refuses to have data decrypted where libvirt does not do that, if the
// migrate data say so or change the format.
func (p *planner) checkDecryption(disk *xmltree.Node, v *v1alpha1.VolumeMigrateData, format, kind string, field *place) {
	opens := v.Encryption != nil && v.Encryption.SecretUUID != nil
	switch {
	case opens && disk.Value("device") == "lun":
		p.report(ProblemConflict, field, disk, "the guest sends its SCSI commands to the disk itself, so nothing can decrypt its data; remove encryption")
	case opens && kind == "vhostuser":
		p.report(ProblemConflict, field, disk, "the daemon behind the vhost-user socket reads the data, so libvirt cannot decrypt it; remove encryption")
	case canDecrypt(disk, format, kind):
	case opens, format != "" && v.Encryption == nil && encryptionOf(disk) != nil:
		p.report(ProblemConflict, field, disk, "QEMU decrypts data of the formats raw and qcow2 only; give one of them in driver.format, or set encryption to {} if the data is not encrypted on the target")
	}
}

const rawFormat = "raw"

// encryptionOf returns how a disk's data are encrypted; nil if they are not.
func encryptionOf(disk *xmltree.Node) *xmltree.Node {
	if have := disk.Child("source").Child("encryption"); have != nil {
		return have
	}
	return disk.Child("encryption")
}

// canDecrypt reports whether QEMU can decrypt data of the format that is given, or else of
// the one that the disk has. The target's pool knows that of a volume.
func canDecrypt(disk *xmltree.Node, format, kind string) bool {
	if format == "" && kind != "volume" {
		format = disk.Child("driver").Value("type")
	}
	return isOneOf(format, "", rawFormat, "qcow2")
}

// fitEncryption has the encryption of the guest's disk fit where the data will be, unless
// the migrate data say that they are not encrypted there.
func (p *planner) fitEncryption(disk *xmltree.Node, want *v1alpha1.VolumeEncryption, shape *sourceShape, field *place) {
	if shape == nil || want != nil && want.SecretUUID == nil {
		return
	}
	have := encryptionOf(disk)
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
