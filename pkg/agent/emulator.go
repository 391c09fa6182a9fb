package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/versions"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// As much as the API takes: of the path of an emulator, of a guest's CPU, and of words.
const (
	maxPath = 4096
	maxCPU  = 16384
	maxWord = 64
)

// emulatorOf is what the target has to have to run a guest, where its paths are mapped. It
// is nil, and so not asked about, where the API does not take it.
func emulatorOf(needs xmlrewrite.Needs, data *v1alpha1.MigrateData) *v1alpha1.GuestEmulator {
	out := &v1alpha1.GuestEmulator{
		Path: xmlrewrite.MapPath(data, needs.Emulator), VirtType: needs.VirtType, Arch: needs.Arch, Machine: needs.Machine, CPU: needs.CPU,
	}
	if len(out.Path) > maxPath || max(len(out.VirtType), len(out.Arch), len(out.Machine)) > maxWord {
		return nil
	}
	if len(out.CPU) > maxCPU {
		out.CPU = ""
	}
	return out
}

// checkEmulator refuses a guest that the host cannot run: what libvirt would refuse as well,
// but only when the guest is on its way. Where it does not answer the question, that is left
// to it.
func (s *targetSession) checkEmulator(ctx context.Context, host hypervisor.HostInfo, guest *v1alpha1.GuestEmulator) error {
	if guest == nil {
		return nil // From an agent that does not tell.
	}
	if !s.node.Receive.mayBeRun(guest.Path, host) {
		return nil // If it is the migrate data that name it, it is refused for its path.
	}
	needs := hypervisor.EmulatorNeeds{
		Emulator: guest.Path, VirtType: guest.VirtType, Arch: guest.Arch, Machine: guest.Machine, CPU: guest.CPU,
	}
	if s.skipsCPUCheck(host) {
		needs.CPU = ""
	}
	fit, err := s.hv.CheckEmulator(ctx, needs)
	node := s.node.Name
	if fit.Missing == "" {
		s.noEmulatorSince = time.Time{}
	}
	switch {
	case err != nil:
		s.log.Error(err, "libvirt cannot be asked whether it can run the guest; it will say so itself")
		return nil
	case fit.Missing != "":
		return s.noEmulator(guest, fit.Missing)
	case fit.Unsupported != "":
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerEmulatorUnsupported,
			"QEMU on %s cannot run the guest (%s, machine type %s): %s. Create another LiveMigration with another target, or ask an administrator to update QEMU there or to start the guest anew with another machine type",
			node, guest.Arch, guest.Machine, migration.Shorten(fit.Unsupported, migration.MaxMessage))
	case fit.CPUProblem != "":
		return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerCPUIncompatible,
			"%s cannot give the guest its CPU: %s. Create another LiveMigration with another target, or ask an administrator to start the guest anew with a CPU model that all of its hosts have. If this is wrong, create another LiveMigration with options.skipCPUCheck",
			node, migration.Shorten(fit.CPUProblem, migration.MaxMessage))
	default:
		return nil
	}
}

// emulatorPatience is how long an emulator that is not there is waited for: its package may
// be being replaced. It leaves room within migration.PrepareTimeout to say so.
const emulatorPatience = 10 * time.Second

// noEmulator refuses a guest whose emulator has not been there for too long. Before that, its
// error is worth another try.
func (s *targetSession) noEmulator(guest *v1alpha1.GuestEmulator, why string) error {
	now := s.node.Clock.Now()
	if s.noEmulatorSince.IsZero() {
		s.noEmulatorSince = now
	}
	if now.Sub(s.noEmulatorSince) < emulatorPatience {
		return fmt.Errorf("looking for the guest's emulator: %s", why)
	}
	return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerEmulatorUnsupported,
		"libvirt on %s does not find the guest's emulator: %s. If QEMU is elsewhere there, create another LiveMigration that maps %s to its path in migrateData.pathMappings; if not, ask an administrator to install it there, or choose another target",
		s.node.Name, migration.Shorten(why, migration.MaxMessage), guest.Path)
}

// skipsCPUCheck reports whether the user does not want the guest's CPU to be compared, or the
// host's libvirt is known to be wrong about that.
func (s *targetSession) skipsCPUCheck(host hypervisor.HostInfo) bool {
	if o := s.lm.Spec.Options; o != nil && valueOr(o.SkipCPUCheck, false) {
		return true
	}
	found := foundFaults(s.lm, versions.Host{}, versions.Host{Libvirt: host.LibvirtVersion, QEMU: host.HypervisorVersion})
	return slices.ContainsFunc(found, func(f versions.Finding) bool { return f.Effect == versions.SkipCPUCheck })
}
