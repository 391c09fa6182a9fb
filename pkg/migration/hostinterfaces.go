package migration

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// What becomes of a guest's interfaces that are PCI devices of its host, where its user wants
// them taken from it for the migration.

// DetachesInterfaces reports whether they are.
func DetachesInterfaces(lm *v1alpha1.LiveMigration) bool {
	o := lm.Spec.Options
	return o != nil && o.DetachHostInterfaces != nil && *o.DetachHostInterfaces
}

// InterfacesTaken are those that were taken from the guest on the source, or may have been, and
// not given back there.
func InterfacesTaken(source *v1alpha1.SourceStatus) []v1alpha1.MACAddress {
	var taken []v1alpha1.MACAddress
	if source == nil {
		return taken
	}
	for _, i := range source.HostInterfaces {
		if i.State != v1alpha1.HostInterfaceAttached {
			taken = append(taken, i.MACAddress)
		}
	}
	return taken
}

// InterfacesDue are those of them that the target is still to give the guest.
func InterfacesDue(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) []v1alpha1.MACAddress {
	return slices.DeleteFunc(InterfacesTaken(source), func(mac v1alpha1.MACAddress) bool {
		return slices.ContainsFunc(target.HostInterfaces, func(i v1alpha1.HostInterface) bool {
			return i.MACAddress == mac && i.State == v1alpha1.HostInterfaceAttached
		})
	})
}

// detachDue reports whether interfaces are still to be taken from the guest before the start.
func detachDue(section *v1alpha1.SourceStatus) bool {
	return slices.ContainsFunc(section.Guest.HostInterfaces, func(mac v1alpha1.MACAddress) bool {
		return !slices.ContainsFunc(section.HostInterfaces, func(i v1alpha1.HostInterface) bool {
			return i.MACAddress == mac && i.State == v1alpha1.HostInterfaceDetached
		})
	})
}

// giveBackDue reports whether the guest is to get back what was taken from it, for a migration
// that is not started.
func giveBackDue(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) bool {
	return section != nil && section.StartRequestedTime == nil && len(InterfacesTaken(section)) > 0 &&
		(CancelRequested(lm) || Abandoned(lm) || section.Problem != nil)
}

// lacksInterfaces reports whether the guest runs on the source, which it has never left, without
// what was taken from it.
func lacksInterfaces(f SourceFacts) bool {
	return neverLeft(f.Section) && f.Domain != nil && f.Domain.State == hypervisor.StateRunning && len(InterfacesTaken(f.Section)) > 0
}

// withInterfacesHere makes a failure pend while the guest lacks interfaces on the source, where
// it runs.
func withInterfacesHere(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, out Outcome, now time.Time) Outcome {
	taken := InterfacesTaken(source)
	if len(taken) == 0 || SideOf(&source.End.Domain) != SideLive {
		return out
	}
	out.AttachSource = true
	return withInterfaces(lm, lm.Status.SourceNode, taken, out, now)
}

// withInterfacesThere does so for a success and the target.
func withInterfacesThere(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, out Outcome, now time.Time) Outcome {
	target := CurrentTarget(lm)
	due := InterfacesDue(source, target)
	if len(due) == 0 || SideOf(target.Domain) != SideLive {
		return out
	}
	out.AttachTarget = true
	return withInterfaces(lm, lm.Status.TargetNode, due, out, now)
}

func withInterfaces(lm *v1alpha1.LiveMigration, node string, macs []v1alpha1.MACAddress, out Outcome, now time.Time) Outcome {
	pends := out.Verdict == VerdictPending
	if recheck := cleanUpBy(lm, now); now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		return out
	}
	if !pends {
		out.Message += interfacesMissing(node, macs)
	}
	return out
}

// interfacesMissing says, to be put behind a message, which interfaces a guest lacks.
func interfacesMissing(node string, macs []v1alpha1.MACAddress) string {
	names := make([]string, 0, len(macs))
	for _, mac := range macs {
		names = append(names, string(mac))
	}
	return fmt.Sprintf("; the guest does not have these interfaces, which were taken from it for the migration: %s. %s", strings.Join(names, ", "),
		capital(ask(node, "attach them there as in its definition, with `virsh attach-device`")))
}
