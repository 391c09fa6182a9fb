package agent

import (
	"context"
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/versions"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// largeGuest is the memory from which on so much may be sent that TLS changes its keys on the
// way: the least with which that was seen to fail.
const largeGuest = 16 << 30

// versionFaults returns what the user has to know about the versions on the two hosts before
// the guest is moved. The error is a refusal.
func (s *sourceSession) versionFaults(ctx context.Context, live hypervisor.DomainXML, memoryBytes uint64) ([]string, error) {
	source := versions.Host{Node: s.node.Name}
	if host, err := s.hv.HostInfo(ctx); err == nil {
		source.Libvirt, source.QEMU = host.LibvirtVersion, host.HypervisorVersion
	}
	var faults []string
	var refused []error
	for _, f := range foundFaults(s.lm, source, s.targetHost(), s.uses(live, memoryBytes)...) {
		if f.ID == string(v1alpha1.FaultEncryptedDiskCopyInParallel) && !s.asksForConnections() {
			s.section.Transfer.ParallelConnections = 0 // It was but a default.
			continue
		}
		if err := s.refusalOf(f); err != nil {
			refused = append(refused, err)
			continue
		}
		faults = append(faults, f.String())
	}
	return migration.Warnings(faults), allOf(refused)
}

// refusalOf returns why a migration with a known fault is refused; nil if its user is told only.
func (s *sourceSession) refusalOf(f versions.Finding) error {
	switch {
	case f.Effect == versions.Refuse:
		return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerVersionUnsupported, "%s", f)
	case f.ID == string(v1alpha1.FaultDisksUnencrypted) && s.mustEncrypt():
		return refuse(v1alpha1.ReasonSourceCheckFailed, v1alpha1.BlockerEncryptionUnavailable,
			"spec.options.transfer.encryption is Required, but %s. Create another LiveMigration once that is done", f)
	default:
		return nil
	}
}

// asksForConnections reports whether the user says over how many the memory is sent.
func (s *sourceSession) asksForConnections() bool {
	o := transferOptions(s.lm)
	return o != nil && o.ParallelConnections != nil
}

// mustEncrypt reports whether nothing of the guest may be sent in plain.
func (s *sourceSession) mustEncrypt() bool {
	o := transferOptions(s.lm)
	return o != nil && o.Encryption == v1alpha1.EncryptionRequired
}

// uses returns what the migration and the guest make use of.
func (s *sourceSession) uses(live hypervisor.DomainXML, memoryBytes uint64) []versions.Use {
	var uses []versions.Use
	note := func(is bool, use versions.Use) {
		if is {
			uses = append(uses, use)
		}
	}
	note(s.mayPostCopy(), versions.UsePostCopy)
	t := s.transferral()
	note(t.TLS, versions.UseEncryption)
	note(t.TLS && memoryBytes >= largeGuest, versions.UseLongEncryption)
	target := migration.CurrentTarget(s.lm)
	copied := slices.ContainsFunc(target.Images, func(i v1alpha1.TargetImage) bool { return i.State != v1alpha1.TargetImageShared })
	if target.Problem != nil || target.CheckedTime != nil { // It may not have told of images.
		copied = len(s.section.Guest.Disks) > 0
	}
	note(copied, versions.UseCopiedDisks)
	o := migration.StorageCopy(s.lm)
	note(copied && o != nil && valueOr(o.DetectZeroes, false), versions.UseDetectZeroes)
	note(t.ParallelConnections > 0, versions.UseParallelConnections)
	note(t.ZeroCopy, versions.UseZeroCopy)
	note(t.SwitchoverBandwidthMiBps != 0, versions.UseSwitchoverBandwidth)
	note(t.Compression == hypervisor.CompressionZlib || t.Compression == hypervisor.CompressionZstd, versions.UseParallelCompression)
	if needs, err := xmlrewrite.ReadNeeds(live); err == nil {
		note(needs.CPUThreads, versions.UseCPUThreads)
		note(needs.VMX, versions.UseVMX)
		note(needs.Virtio, versions.UseVirtioDevices)
		note(needs.VirtType == "qemu", versions.UseEmulation)
	}
	return uses
}

// withheldReason says why a post-copy that was interrupted must not be resumed; empty if it
// may be.
func (s *sourceSession) withheldReason() string {
	for _, f := range foundFaults(s.lm, versions.Host{Node: s.node.Name}, s.targetHost(), versions.UsePostCopy) {
		if f.Effect == versions.WithholdPostCopyResume {
			return migration.Shorten(f.String(), migration.MaxMessage)
		}
	}
	return ""
}

// foundFaults returns what goes wrong between two versions, but for what the user says does
// not.
func foundFaults(lm *v1alpha1.LiveMigration, source, target versions.Host, uses ...versions.Use) []versions.Finding {
	found := versions.Check(source, target, uses...)
	if o := lm.Spec.Options; o != nil {
		found = slices.DeleteFunc(found, func(f versions.Finding) bool { return slices.Contains(o.IgnoreKnownFaults, v1alpha1.KnownFault(f.ID)) })
	}
	return found
}

// targetHost is what the target's agent has said last about its versions.
func (s *sourceSession) targetHost() versions.Host {
	out := versions.Host{Node: s.lm.Status.TargetNode}
	if target := migration.CurrentTarget(s.lm); target != nil && target.Host != nil {
		out.Libvirt, out.QEMU = target.Host.LibvirtVersion, target.Host.HypervisorVersion
	}
	return out
}
