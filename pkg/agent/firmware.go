package agent

import (
	"context"
	"math"
	"path"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// How the agents find out together whether the target has a guest's firmware.

// firmwareOf is what the guest boots from; nil if that is not of files, or of such as the API
// does not take.
func (s *sourceSession) firmwareOf(ctx context.Context, needs xmlrewrite.Needs) *v1alpha1.GuestFirmware {
	var here []string
	for _, file := range []string{needs.Firmware, needs.Variables} {
		if path.IsAbs(file) && path.Clean(file) == file {
			here = append(here, file)
		}
	}
	if len(here) == 0 {
		return nil
	}
	sights, _ := lookAtFiles(ctx, s.hv, here) // What it fails for is not known.
	there := func(file string) string { return xmlrewrite.MapPath(s.lm.Spec.MigrateData, file) }
	out := &v1alpha1.GuestFirmware{
		CodePath: there(needs.Firmware), CodeBytes: fileBytes(sights[needs.Firmware]),
		VariablesPath: there(needs.Variables), VariablesBytes: fileBytes(sights[needs.Variables]), TemplatePath: there(needs.Template),
	}
	if max(len(out.CodePath), len(out.VariablesPath), len(out.TemplatePath)) > maxPath {
		return nil
	}
	return out
}

// fileBytes is how large a file is for a guest; zero if that is not known.
func fileBytes(file hypervisor.ImageSight) int64 {
	if !file.Exists || file.CapacityBytes > math.MaxInt64 {
		return 0
	}
	return int64(file.CapacityBytes)
}

// checkFirmware refuses a guest whose firmware is not here. What libvirt does not tell, or must
// not look for, is left to it.
func (s *targetSession) checkFirmware(ctx context.Context, f *v1alpha1.GuestFirmware) error {
	if f == nil {
		return nil
	}
	var files []string
	for _, file := range []string{f.CodePath, f.VariablesPath, f.TemplatePath} {
		if s.node.Receive.mayHoldFirmware(file) {
			files = append(files, file)
		}
	}
	sights, failed := lookAtFiles(ctx, s.hv, files)
	for file, err := range failed {
		s.log.Info("It is not known whether a file of the guest's firmware is here", "file", file, "reason", messageOf(err))
	}
	return refuseFor(v1alpha1.ReasonTargetCheckFailed, migration.FirmwareBlockers(s.node.Name, f, sights))
}

// mayHoldFirmware reports whether libvirt may look for a file of a firmware, whose path comes
// from another node: where packages and libvirt itself have such, or what guests may use.
func (c ReceiveConfig) mayHoldFirmware(file string) bool {
	usual := strings.HasPrefix(file, "/usr/share/") || strings.HasPrefix(file, "/var/lib/libvirt/qemu/nvram/")
	return usual && path.Clean(file) == file || c.mayLook(file)
}
