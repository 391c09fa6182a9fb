package agent

import (
	"context"
	"fmt"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// checkPostCopy refuses a guest that may be switched to post-copy where the host certainly cannot
// receive it so: QEMU would say that it does not support it, and not why.
func (s *targetSession) checkPostCopy(ctx context.Context, host hypervisor.HostInfo) error {
	o, source := s.lm.Spec.Options, migration.CurrentSource(s.lm)
	if o == nil || !valueOr(o.AllowPostCopy, false) || source.GuestPaused || s.node.Files.System == nil {
		return nil
	}
	facts, err := s.hv.HostFacts(ctx, hypervisor.FactsCapabilities)
	if err != nil {
		return fmt.Errorf("reading what the host has: %w", err)
	}
	if facts.Capabilities == nil {
		return nil // It is not known.
	}
	found := postCopy(hostfiles.ReadUserfaultfd(s.node.Files.System, s.node.Files.Host), facts.Capabilities.Emulator, host.HypervisorVersion)
	if found == nil || found.State != v1alpha1.PostCopyUnavailable {
		return nil
	}
	return refuse(v1alpha1.ReasonTargetCheckFailed, v1alpha1.BlockerPostCopyUnavailable,
		"%s cannot receive guests in post-copy: %s. Ask an administrator to do that, or leave out spec.options.allowPostCopy, and then create another LiveMigration",
		s.node.Name, found.Message)
}
