package hostfiles

import (
	"io/fs"
	"path"
	"strings"
)

// MappedDevices returns the device mapper's devices of a host, which are those of volume groups
// and of paths to one device, by their names, each with what the device mapper knows it by. It
// is nil where that is not known.
func MappedDevices(system fs.FS) map[string]string {
	const devices = "sys/class/block"
	entries, err := fs.ReadDir(system, devices)
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "dm-") {
			continue
		}
		name, err := read(system, path.Join(devices, e.Name(), "dm/name"))
		if err != nil {
			continue // It has gone meanwhile.
		}
		id, err := read(system, path.Join(devices, e.Name(), "dm/uuid"))
		if err == nil {
			out[strings.TrimSpace(name)] = strings.TrimSpace(id)
		}
	}
	return out
}

// MappedName returns what the device mapper calls the device at a path below /dev, if it is one
// of its own: /dev/mapper has the names themselves, and a volume's path is made of those of its
// group and its own.
func MappedName(file string) (name string, ok bool) {
	parts := strings.Split(file, "/")
	if len(parts) != 4 || parts[0] != "" || parts[1] != "dev" || parts[2] == "" || parts[3] == "" {
		return "", false
	}
	switch parts[2] {
	case "mapper":
		return parts[3], true
	case "disk", "drbd", "md", "rbd": // Others have these, so that no volume group can.
		return "", false
	}
	double := func(s string) string { return strings.ReplaceAll(s, "-", "--") }
	return double(parts[2]) + "-" + double(parts[3]), true
}

// IsIdentity reports whether what the device mapper knows a device by is the same on all hosts
// that see the device, and on no other: that of a volume, or of the paths to a device.
func IsIdentity(id string) bool {
	return strings.HasPrefix(id, "LVM-") || strings.HasPrefix(id, "mpath-")
}
