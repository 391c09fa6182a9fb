package agent

import (
	"time"

	"github.com/virtferry/virtferry/pkg/hostfiles"
)

// CertificateEnd is when one of a host's certificates ends.
type CertificateEnd struct {
	// Use is what it is for: control, between libvirt and libvirt, or migration, between
	// QEMU and QEMU.
	Use string
	// Certificate is which one: authority, server or client.
	Certificate string
	End         time.Time
}

// CertificateEnds are those of the certificates that can be read.
func CertificateEnds(files hostfiles.Facts) []CertificateEnd {
	var ends []CertificateEnd
	note := func(use string, c *hostfiles.Credentials) {
		if c == nil {
			return
		}
		for _, one := range []struct {
			name string
			end  time.Time
		}{{"authority", c.Authority.NotAfter}, {"server", c.Server.NotAfter}, {"client", c.Client.NotAfter}} {
			if !one.end.IsZero() {
				ends = append(ends, CertificateEnd{Use: use, Certificate: one.name, End: one.end})
			}
		}
	}
	note("control", files.Control)
	note("migration", files.Migration)
	return ends
}
