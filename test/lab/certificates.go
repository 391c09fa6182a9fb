//go:build linux

package lab

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// migrationPKI is where QEMU has its certificates.
const migrationPKI = "/etc/pki/qemu/"

// certificates returns the host's TLS credentials by path: libvirt's, and QEMU's
// for native TLS. One certificate serves as server's and as client's, until a time; zero is
// for longer than any lab runs. All hosts of a lab trust its authority.
func (h *Host) certificates(ends time.Time) (map[string]string, error) {
	host, err := h.lab.authority.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: h.name},
		DNSNames:    []string{h.name},
		IPAddresses: []net.IP{h.address.AsSlice()},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotAfter:    ends,
	})
	if err != nil {
		return nil, err
	}
	ca, cert, key := string(h.lab.authority.pem), string(host.cert), string(host.key)
	return map[string]string{
		"/etc/pki/CA/cacert.pem":                 ca,
		"/etc/pki/libvirt/servercert.pem":        cert,
		"/etc/pki/libvirt/private/serverkey.pem": key,
		"/etc/pki/libvirt/clientcert.pem":        cert,
		"/etc/pki/libvirt/private/clientkey.pem": key,
		migrationPKI + "ca-cert.pem":             ca,
		migrationPKI + "server-cert.pem":         cert,
		migrationPKI + "server-key.pem":          key,
		migrationPKI + "client-cert.pem":         cert,
		migrationPKI + "client-key.pem":          key,
	}, nil
}

// ReplaceMigrationCertificates gives the host's QEMU other certificates, which end then; zero
// is for longer than any lab runs. QEMU reads them for each migration.
func (h *Host) ReplaceMigrationCertificates(ends time.Time) error {
	files, err := h.certificates(ends)
	if err != nil {
		return err
	}
	for inside, content := range files {
		if !strings.HasPrefix(inside, migrationPKI) {
			continue
		}
		if err := os.WriteFile(h.Path(inside), []byte(content), 0o600); err != nil {
			return fmt.Errorf("replacing certificates of %s: %w", h.name, err)
		}
	}
	return nil
}
