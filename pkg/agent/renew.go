package agent

import (
	"context"
	"errors"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// What the target has said of its host is kept from becoming old while its guest waits for its turn.

// renew reads once more what was said of the host, and tells what has changed. Where something
// else runs here now, the guest is refused if that cannot run it.
func (s *targetSession) renew(ctx context.Context) time.Duration {
	host, err := s.hv.HostInfo(ctx)
	if err != nil {
		return s.observe(ctx, false) // It counts as what it was until it answers.
	}
	section := s.section.DeepCopy()
	now := keepHost(s.hostFacts(ctx, host), section.Host)
	if now.LibvirtVersion != section.Host.LibvirtVersion || now.HypervisorVersion != section.Host.HypervisorVersion {
		s.log.Info("Something else runs on this host than when the guest was prepared for", "libvirt", now.LibvirtVersion, "hypervisor", now.HypervisorVersion)
		err = s.checkReplaced(ctx, host)
	}
	var r *refusal
	switch {
	case errors.As(err, &r):
		s.log.Info("Refusing the guest", "reason", r.Reason)
		section.Problem = r.problem()
	case err != nil:
		s.log.Error(err, "Querying the hypervisor failed; trying again", "after", followInterval)
		return s.observe(ctx, false)
	}
	section.Host, s.hostRead = now, s.node.Clock.Now()
	s.section = section
	s.out.report(section, atOnce)
	if r != nil {
		return 0
	}
	return s.observe(ctx, false)
}

// checkReplaced checks what another libvirt or QEMU may not be able to do. The error is a refusal,
// or one that is worth another try.
func (s *targetSession) checkReplaced(ctx context.Context, host hypervisor.HostInfo) error {
	guest := migration.CurrentSource(s.lm).Guest
	return allOf([]error{s.checkEmulator(ctx, host, guest.Emulator), s.checkPostCopy(ctx, host), s.checkFirmware(ctx, guest.Firmware)})
}

// takeBackRefusal takes back what renew has found if the source was faster: it has recorded the
// start, and nobody refuses the guest any more.
func (s *targetSession) takeBackRefusal(section *v1alpha1.TargetStatus) {
	if migration.Started(s.lm) {
		section.Problem = nil
	}
}

// keepHost adds to what is known of a host what was known before, and cannot be read now.
func keepHost(now, before *v1alpha1.TargetHost) *v1alpha1.TargetHost {
	if now.OnlineCPUs == "" {
		now.OnlineCPUs, now.NUMANodes = before.OnlineCPUs, before.NUMANodes
	}
	if now.MigrationTLS == nil {
		now.MigrationTLS = before.MigrationTLS
	}
	return now
}
