package agent

import (
	"context"
	"fmt"
	"path"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
	"github.com/virtferry/virtferry/pkg/pins"
)

// decideTransfer decides how the guest is sent, and notes it in section.
func (s *sourceSession) decideTransfer(ctx context.Context) error {
	facts := migration.TransferFacts{
		Options: transferOptions(s.lm), SourceNode: s.node.Name, TargetNode: s.lm.Status.TargetNode, Source: sendingTLS(s.node.credentials(ctx)),
	}
	facts.SourceLinkMbps, facts.PostCopy = s.node.Receive.LinkMbps, s.mayPostCopy()
	if target := migration.CurrentTarget(s.lm); target.Host != nil {
		facts.Target, facts.TargetLinkMbps = target.Host.MigrationTLS, target.Host.MigrationLinkMbps
		online, _ := pins.Parse(string(target.Host.OnlineCPUs)) // What makes no sense counts as not known.
		facts.TargetCPUs = online.Count()
	}
	transfer, blocker := migration.DecideTransfer(facts)
	if blocker != nil {
		return refuse(v1alpha1.ReasonSourceCheckFailed, blocker.Code, "%s", blocker.Message)
	}
	s.section.Transfer = &transfer
	return nil
}

func transferOptions(lm *v1alpha1.LiveMigration) *v1alpha1.TransferOptions {
	if lm.Spec.Options == nil {
		return nil
	}
	return lm.Spec.Options.Transfer
}

// transferral is how the guest is sent, as it was decided before the start: a migration that
// is resumed has to be sent as it was, whatever has become of the certificates.
func (s *sourceSession) transferral() hypervisor.Transferral {
	t := s.section.Transfer
	if t == nil {
		return hypervisor.Transferral{}
	}
	out := hypervisor.Transferral{
		TLS: t.Encrypted, TLSDestination: t.TLSDestination, ZeroCopy: t.ZeroCopy,
		ParallelConnections:      uint32(t.ParallelConnections),      //nolint:gosec // Positive by validation.
		SwitchoverBandwidthMiBps: uint64(t.SwitchoverBandwidthMiBps), //nolint:gosec // Positive by validation.
	}
	switch t.Compression {
	case v1alpha1.CompressionXBZRLE:
		out.Compression = hypervisor.CompressionXBZRLE
	case v1alpha1.CompressionZlib:
		out.Compression = hypervisor.CompressionZlib
	case v1alpha1.CompressionZstd:
		out.Compression = hypervisor.CompressionZstd
	}
	if o := transferOptions(s.lm); o != nil && o.Compression != nil {
		out.CompressionLevel = uint32(valueOr(o.Compression.Level, 0)) //nolint:gosec // Positive by validation.
	}
	return out
}

// credentials reads the certificates of the host's QEMU as they are now; nil where they are
// not seen.
func (n *Node) credentials(ctx context.Context) *hostfiles.Credentials {
	files, now := n.Files.Host, n.Clock.Now()
	if files == nil {
		return nil
	}
	c, ok := readHost(ctx, n, func() *hostfiles.Credentials {
		return hostfiles.MigrationCredentials(files, hostfiles.ReadQEMUConfig(files), now)
	})
	if !ok {
		return nil
	}
	return c
}

// receivingTLS is whether a host can receive encrypted migrations at an address, and disks at
// another if there is one; nil is unknown. The source holds both to one name.
func receivingTLS(c *hostfiles.Credentials, address, disks string) *v1alpha1.MigrationTLS {
	if c == nil {
		return nil
	}
	out := tlsOf(c, c.Server, "server-cert.pem")
	if out == nil || !out.Ready || c.ServerIs(address) && (disks == "" || c.ServerIs(disks)) {
		return out
	}
	if out.ServerName = c.ServerName(); CheckAddress(out.ServerName) != nil {
		return &v1alpha1.MigrationTLS{Problem: fmt.Sprintf("QEMU's certificate %s names neither %s nor any other host",
			fitting(path.Join(c.Dir, "server-cert.pem"), longestPathTold), fitting(address, longestWord))}
	}
	return out
}

// sendingTLS is whether a host can send guests encrypted; nil is unknown.
func sendingTLS(c *hostfiles.Credentials) *v1alpha1.MigrationTLS {
	if c == nil {
		return nil
	}
	return tlsOf(c, c.Client, "client-cert.pem")
}

// longestPathTold is how long a path may be in a message.
const longestPathTold = 256

// tlsOf is what follows from a host's authority and from one of its certificates.
func tlsOf(c *hostfiles.Credentials, own hostfiles.Certificate, file string) *v1alpha1.MigrationTLS {
	if c.Authority.State == hostfiles.CertificateUnreadable || own.State == hostfiles.CertificateUnreadable {
		return nil
	}
	at := func(name string) string { return fitting(path.Join(c.Dir, name), longestPathTold) }
	if c.Authority.State != hostfiles.CertificateReady {
		return &v1alpha1.MigrationTLS{Problem: fmt.Sprintf("QEMU's certificate authority %s %s", at("ca-cert.pem"), stateInWords(c.Authority.State))}
	}
	if own.State != hostfiles.CertificateReady {
		return &v1alpha1.MigrationTLS{Problem: fmt.Sprintf("QEMU's certificate %s %s", at(file), stateInWords(own.State))}
	}
	return &v1alpha1.MigrationTLS{Ready: true, Authorities: c.Authorities[:min(len(c.Authorities), maxAuthorities)]}
}

// maxAuthorities is how many the API takes. Hosts that trust more are taken for able to
// encrypt only if one of the first is common; nobody has that many for QEMU.
const maxAuthorities = 16

func stateInWords(state hostfiles.CertificateState) string {
	switch state {
	case hostfiles.CertificateMissing:
		return "is missing"
	case hostfiles.CertificateMalformed:
		return "is not a certificate in PEM"
	case hostfiles.CertificateKeyMissing:
		return "has no key beside it"
	case hostfiles.CertificateExpired:
		return "has expired"
	case hostfiles.CertificateNotYetValid:
		return "is not valid yet"
	case hostfiles.CertificateUntrusted:
		return "is not signed by the authority in ca-cert.pem, or not for this use"
	case hostfiles.CertificateUnreadable, hostfiles.CertificateReady:
	}
	return "cannot be used"
}
