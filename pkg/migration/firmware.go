package migration

import (
	"fmt"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// FirmwareBlockers says what of a guest's firmware is missing on a node, or has another size
// there: libvirt or QEMU would refuse the guest, the latter only when it is about to run there.
// Files that are not among the sights are not known.
func FirmwareBlockers(node string, f *v1alpha1.GuestFirmware, sights map[string]hypervisor.ImageSight) []v1alpha1.Blocker {
	if f == nil {
		return nil
	}
	var blockers []v1alpha1.Blocker
	add := func(b *v1alpha1.Blocker) {
		if b != nil {
			blockers = append(blockers, *b)
		}
	}
	if code, known := sights[f.CodePath]; known {
		add(firmwareBlocker(node, "guest's firmware", f.CodePath, f.CodeBytes, code))
	}
	switch variables, known := sights[f.VariablesPath]; {
	case !known:
	case variables.Exists && differs(f.VariablesBytes, variables):
		add(&v1alpha1.Blocker{Code: v1alpha1.BlockerFirmwareDiffers, Message: fmt.Sprintf(
			"On %s there is a file already for the variables of the guest's firmware, %s, of %d bytes, which must be %d. Ask an administrator to remove it if no other guest uses it, and then create another LiveMigration",
			node, f.VariablesPath, variables.CapacityBytes, f.VariablesBytes)})
	case !variables.Exists:
		if template, known := sights[f.TemplatePath]; known {
			add(firmwareBlocker(node, "template of the variables of the guest's firmware", f.TemplatePath, f.VariablesBytes, template))
		}
	}
	return blockers
}

// firmwareBlocker says what is wrong with a file that comes with a firmware; nil is nothing.
func firmwareBlocker(node, what, path string, bytes int64, there hypervisor.ImageSight) *v1alpha1.Blocker {
	const remedy = ". If what fits the guest is elsewhere there, create another LiveMigration that maps this path to it in migrateData.pathMappings; if not, ask an administrator to install it there, or choose another target"
	switch {
	case !there.Exists:
		return &v1alpha1.Blocker{Code: v1alpha1.BlockerFirmwareMissing, Message: fmt.Sprintf("%s does not have the %s %s", node, what, path) + remedy}
	case differs(bytes, there):
		return &v1alpha1.Blocker{Code: v1alpha1.BlockerFirmwareDiffers, Message: fmt.Sprintf(
			"The %s %s has %d bytes on %s, and must have %d", what, path, there.CapacityBytes, node, bytes) + remedy}
	default:
		return nil
	}
}

// differs reports whether a file has another size than is wanted, if that is known.
func differs(bytes int64, there hypervisor.ImageSight) bool {
	return bytes > 0 && there.CapacityBytes != uint64(bytes)
}
