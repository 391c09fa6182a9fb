package agent

import (
	"context"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/versions"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// knownFaults returns what the user has to know about the versions on the two hosts before
// the guest is moved.
func (s *sourceSession) knownFaults(ctx context.Context, live hypervisor.DomainXML) []string {
	source := versions.Host{Node: s.node.Name}
	if host, err := s.hv.HostInfo(ctx); err == nil {
		source.Libvirt, source.QEMU = host.LibvirtVersion, host.HypervisorVersion
	}
	var uses []versions.Use
	if s.mayPostCopy() {
		uses = append(uses, versions.UsePostCopy)
	}
	if needs, err := xmlrewrite.ReadNeeds(live); err == nil {
		if needs.CPUThreads {
			uses = append(uses, versions.UseCPUThreads)
		}
		if needs.VMX {
			uses = append(uses, versions.UseVMX)
		}
	}
	found := versions.Check(source, s.targetHost(), uses...)
	faults := make([]string, 0, len(found))
	for _, f := range found {
		faults = append(faults, f.String())
	}
	return migration.Warnings(faults)
}

// withheldReason says why a post-copy that was interrupted must not be resumed; empty if it
// may be.
func (s *sourceSession) withheldReason() string {
	for _, f := range versions.Check(versions.Host{Node: s.node.Name}, s.targetHost(), versions.UsePostCopy) {
		if f.Effect == versions.WithholdPostCopyResume {
			return migration.Shorten(f.String(), migration.MaxMessage)
		}
	}
	return ""
}

// targetHost is what the target's agent has said last about its versions.
func (s *sourceSession) targetHost() versions.Host {
	out := versions.Host{Node: s.lm.Status.TargetNode}
	if target := migration.CurrentTarget(s.lm); target != nil && target.Host != nil {
		out.Libvirt, out.QEMU = target.Host.LibvirtVersion, target.Host.HypervisorVersion
	}
	return out
}
