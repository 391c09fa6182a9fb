package migration

import (
	"fmt"
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TransferFacts are what decides how a guest is sent. TLS is nil where the agent of the node
// does not see its host's certificates.
type TransferFacts struct {
	Options                *v1alpha1.TransferOptions
	SourceNode, TargetNode string
	Source, Target         *v1alpha1.MigrationTLS
	// SourceLinkMbps and TargetLinkMbps are how fast the nodes' links are, in Mbit/s, and
	// TargetCPUs is how many CPUs the target has; zero is not known.
	SourceLinkMbps, TargetLinkMbps int32
	TargetCPUs                     int
	// PostCopy is whether the guest may be switched to post-copy.
	PostCopy bool
}

// DecideTransfer decides how a guest is sent. Whether both hosts can encrypt is told by their
// certificates before anything is touched, because of those that do not fit, libvirt says
// neither which they are nor where. The blocker is nil if the guest can be sent like that.
func DecideTransfer(f TransferFacts) (v1alpha1.TransferPlan, *v1alpha1.Blocker) {
	o := f.Options
	if o == nil {
		o = &v1alpha1.TransferOptions{}
	}
	out := asAsked(o)
	if o.ParallelConnections == nil {
		out.ParallelConnections = f.connections(o)
	}
	if o.Encryption == v1alpha1.EncryptionDisabled {
		out.UnencryptedReason = "spec.options.transfer.encryption is Disabled"
		return out, nil
	}
	required := o.Encryption == v1alpha1.EncryptionRequired
	why := f.cannotEncrypt()
	unknown := f.unseen()
	switch {
	case why != "" && required:
		return out, &v1alpha1.Blocker{Code: v1alpha1.BlockerEncryptionUnavailable, Message: fmt.Sprintf(
			"spec.options.transfer.encryption is Required, but %s. Ask an administrator to put that right, and then create another LiveMigration", why)}
	case why != "":
		out.UnencryptedReason = Shorten(why, MaxMessage)
		return out, nil
	case unknown != "" && !required:
		out.UnencryptedReason = unknown
		return out, nil
	}
	out.Encrypted, out.TLSDestination = true, o.TLSDestination
	if out.TLSDestination == "" && f.Target != nil {
		out.TLSDestination = f.Target.ServerName
	}
	return out, nil
}

// asAsked is what does not depend on the hosts.
func asAsked(o *v1alpha1.TransferOptions) v1alpha1.TransferPlan {
	out := v1alpha1.TransferPlan{ZeroCopy: o.ZeroCopy != nil && *o.ZeroCopy}
	if o.SwitchoverBandwidthMiBps != nil {
		out.SwitchoverBandwidthMiBps = *o.SwitchoverBandwidthMiBps
	}
	if o.ParallelConnections != nil {
		out.ParallelConnections = *o.ParallelConnections
	}
	if o.Compression != nil {
		out.Compression = o.Compression.Method
	}
	return out
}

// cannotEncrypt says why the two hosts certainly cannot; empty if they may be able to.
func (f TransferFacts) cannotEncrypt() string {
	switch {
	case f.Target != nil && !f.Target.Ready:
		return fmt.Sprintf("on %s, %s", f.TargetNode, f.Target.Problem)
	case f.Source != nil && !f.Source.Ready:
		return fmt.Sprintf("on %s, %s", f.SourceNode, f.Source.Problem)
	case f.Source == nil || f.Target == nil || len(f.Source.Authorities) == 0 || len(f.Target.Authorities) == 0:
		return ""
	case !slices.ContainsFunc(f.Source.Authorities, func(a string) bool { return slices.Contains(f.Target.Authorities, a) }):
		return fmt.Sprintf("the QEMUs on %s and %s trust no certificate authority in common", f.SourceNode, f.TargetNode)
	}
	return ""
}

// unseen says whose certificates are not known; empty if both are.
func (f TransferFacts) unseen() string {
	const unseen = "the agent on %s does not see its host's certificates"
	switch {
	case f.Target == nil:
		return fmt.Sprintf(unseen, f.TargetNode)
	case f.Source == nil:
		return fmt.Sprintf(unseen, f.SourceNode)
	}
	return ""
}

const (
	// connectionMbps is what one connection can be expected to carry, in Mbit/s. oVirt goes by
	// the same.
	connectionMbps = 10_000
	// maxConnections is how many are opened where nobody says how many.
	maxConnections = 8
)

// connections is how many connections fill the slower link; none where the one that carries
// everything else does, or the links are not known.
func (f TransferFacts) connections(o *v1alpha1.TransferOptions) int32 {
	if f.PostCopy || o.Compression != nil {
		return 0
	}
	n := min(f.SourceLinkMbps/connectionMbps, f.TargetLinkMbps/connectionMbps, maxConnections, int32(min(f.TargetCPUs/2, maxConnections))) //nolint:gosec // It is small.
	if n < 2 {
		return 0
	}
	return n
}
