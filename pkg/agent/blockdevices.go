package agent

import (
	"fmt"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// How the agents find out that a name is another block device's on the target. libvirt takes
// block devices to be shared, whatever is behind their names.

// maxBlockDevices and longestIdentity are what the API takes.
const maxBlockDevices, longestIdentity = 64, 256

// blockDevices are the running guest's disks on block devices of which this host can tell which
// ones they are.
func (s *sourceSession) blockDevices(live hypervisor.DomainXML) ([]v1alpha1.BlockDevice, error) {
	if s.takesRisks() || s.node.Files.System == nil {
		return nil, nil
	}
	disks, err := xmlrewrite.ReadDisks([]byte(live), s.lm.Spec.MigrateData, xmlrewrite.Options{Storage: s.storageMappings()})
	if err != nil {
		return nil, s.unreadable(err)
	}
	var out []v1alpha1.BlockDevice
	var have map[string]string
	for _, d := range disks {
		if d.Device == "" || len(d.Device) > maxDevicePath || len(out) == maxBlockDevices {
			continue
		}
		if have == nil {
			have = hostfiles.MappedDevices(s.node.Files.System)
		}
		if id := identityOf(have, d.SourceDevice); id != "" {
			out = append(out, v1alpha1.BlockDevice{Disk: v1alpha1.DiskName(d.Name), Path: d.Device, Identity: id})
		}
	}
	return out, nil
}

// maxDevicePath is how long a path the API takes.
const maxDevicePath = 4096

// identityOf is what a device is known by on all hosts that see it; empty if that is not known.
func identityOf(have map[string]string, file string) string {
	name, mapped := hostfiles.MappedName(file)
	id := have[name]
	if !mapped || !hostfiles.IsIdentity(id) || len(id) > longestIdentity {
		return ""
	}
	return id
}

// checkBlockDevices refuses a guest whose disks would be others here, or are not there. Of a name that is not
// the device mapper's, nothing is known.
func (s *targetSession) checkBlockDevices(devices []v1alpha1.BlockDevice) error {
	if len(devices) == 0 || s.node.Files.System == nil {
		return nil
	}
	have := hostfiles.MappedDevices(s.node.Files.System)
	problems := make([]error, 0, len(devices))
	for _, d := range devices {
		problems = append(problems, s.checkBlockDevice(d, have))
	}
	return allOf(problems)
}

func (s *targetSession) checkBlockDevice(d v1alpha1.BlockDevice, have map[string]string) error {
	name, mapped := hostfiles.MappedName(d.Path)
	if _, there := have[name]; mapped && have != nil && !there {
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerDiskMissing,
			"There is no block device %s on %s, for the guest's disk %s. Ask an administrator to make it available there, as by activating the volume, or give its name there by migrateData.volumes; if something makes it available when the guest is to start there, set options.allowUnsafe; and then create another LiveMigration",
			d.Path, s.node.Name, d.Disk)
	}
	if here := identityOf(have, d.Path); here != "" && here != d.Identity {
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerDiskDiffers,
			"%s on %s is another block device than the guest's disk %s: %s there, and %s on %s. Ask an administrator to make the guest's device available on %[2]s, or give its name there by migrateData.volumes; if both have the same contents at all times, set options.allowUnsafe; and then create another LiveMigration",
			d.Path, s.node.Name, d.Disk, shortIdentity(here), shortIdentity(d.Identity), s.lm.Status.SourceNode)
	}
	return nil
}

// shortIdentity is enough of an identity to tell it from others, as a rule. It comes from another
// node.
func shortIdentity(id string) string { return fmt.Sprintf("%q", fitting(id, maxLongName)) }
