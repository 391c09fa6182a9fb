package libvirt

import (
	"path"
	"strconv"
	"strings"
	"time"

	"libvirt.org/go/libvirtxml"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// readVolume reads what libvirt says of a file.
func readVolume(text string, into *hypervisor.ImageSight) error {
	var def libvirtxml.StorageVolume
	if err := parse(text, &def); err != nil {
		return err
	}
	into.Exists = true
	if s := def.Capacity; s != nil {
		into.CapacityBytes = inBytes(s.Value, s.Unit)
	}
	if s := def.Allocation; s != nil {
		into.AllocatedBytes = inBytes(s.Value, s.Unit)
	}
	if t := def.Target; t != nil {
		if t.Format != nil {
			into.Format = t.Format.Type
		}
		if t.Timestamps != nil {
			into.Changed = readTimestamp(t.Timestamps.Mtime)
			into.StatusChanged = readTimestamp(t.Timestamps.Ctime)
		}
	}
	return nil
}

// readTimestamp reads seconds and, behind a point, nanoseconds.
func readTimestamp(text string) time.Time {
	whole, part, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}
	}
	const digits = 9
	if part += strings.Repeat("0", digits); len(part) > digits {
		part = part[:digits]
	}
	nanoseconds, err := strconv.ParseInt(part, 10, 64)
	if err != nil {
		nanoseconds = 0
	}
	return time.Unix(seconds, nanoseconds)
}

// volumeDefinition describes an image in which nothing is allocated, or everything.
func volumeDefinition(name string, image hypervisor.NewImage) *libvirtxml.StorageVolume {
	def := &libvirtxml.StorageVolume{
		Name:       name,
		Allocation: &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: 0},
		Capacity:   &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: image.CapacityBytes},
		Target:     &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: image.Format}},
	}
	if image.Preallocate {
		def.Allocation.Value = image.CapacityBytes
	}
	if image.SecretUUID != "" {
		def.Target.Encryption = &libvirtxml.StorageEncryption{
			Format: "luks", Secret: &libvirtxml.StorageEncryptionSecret{Type: "passphrase", UUID: image.SecretUUID},
		}
	}
	if image.BackingPath != "" {
		def.BackingStore = &libvirtxml.StorageVolumeBackingStore{
			Path: image.BackingPath, Format: &libvirtxml.StorageVolumeTargetFormat{Type: image.BackingFormat},
		}
	}
	return def
}

// isDirectory reports whether the definition of a pool is that of the files of a directory.
func isDirectory(text, dir string) bool {
	var def libvirtxml.StoragePool
	if parse(text, &def) != nil || def.Target == nil {
		return false
	}
	switch def.Type {
	case "dir", "fs", "netfs":
		return path.Clean(def.Target.Path) == dir
	default:
		return false
	}
}
