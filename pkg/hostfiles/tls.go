package hostfiles

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// CertificateState says whether a certificate serves its purpose.
type CertificateState string

// The states of a certificate, the worst first.
const (
	// CertificateUnreadable: it is not known.
	CertificateUnreadable CertificateState = "Unreadable"
	CertificateMissing    CertificateState = "Missing"
	CertificateMalformed  CertificateState = "Malformed"
	// CertificateKeyMissing: it is there, but not the key that belongs to it.
	CertificateKeyMissing  CertificateState = "KeyMissing"
	CertificateExpired     CertificateState = "Expired"
	CertificateNotYetValid CertificateState = "NotYetValid"
	// CertificateUntrusted: it is not signed by the authority beside it, or not for this
	// use.
	CertificateUntrusted CertificateState = "Untrusted"
	CertificateReady     CertificateState = "Ready"
)

// Certificate is all that is told of one.
type Certificate struct {
	State CertificateState
	// NotAfter is when it ends; zero where it cannot be read.
	NotAfter time.Time
}

// Credentials are the certificates by which a host shows who it is.
type Credentials struct {
	// Dir is where those of the host are.
	Dir                       string
	Authority, Server, Client Certificate
	// Authorities are those that the host trusts, each as the SHA-256 of its certificate.
	Authorities []string
	// server is the host's own certificate; nil where it cannot be read.
	server *x509.Certificate
}

// ServerIs reports whether the server's certificate is for a host name or address.
func (c *Credentials) ServerIs(host string) bool {
	return c.server != nil && c.server.VerifyHostname(host) == nil
}

// ServerName returns a name for which the server's certificate is; empty if it has none that
// names a single host.
func (c *Credentials) ServerName() string {
	if c.server == nil {
		return ""
	}
	for _, name := range c.server.DNSNames {
		if !strings.Contains(name, "*") {
			return strings.ToLower(name)
		}
	}
	for _, ip := range c.server.IPAddresses {
		return ip.String()
	}
	return ""
}

// Where certificates are unless libvirt is configured otherwise.
const (
	controlDir    = "etc/pki/libvirt"
	authorityFile = "etc/pki/CA/cacert.pem"
	qemuDir       = "etc/pki/qemu"
	migrateDir    = "etc/pki/libvirt-migrate"
)

// ControlCredentials reads those by which libvirt on one host talks to libvirt on another; nil
// where nothing of the host's configuration is seen.
func ControlCredentials(host fs.FS, now time.Time) *Credentials {
	if !exists(host, "etc") {
		return nil
	}
	c := &Credentials{Dir: "/" + controlDir}
	authorities := c.readAuthority(host, authorityFile, now)
	c.Server = readCertificate(host, controlDir+"/servercert.pem", controlDir+"/private/serverkey.pem", authorities, x509.ExtKeyUsageServerAuth, now)
	c.Client = readCertificate(host, controlDir+"/clientcert.pem", controlDir+"/private/clientkey.pem", authorities, x509.ExtKeyUsageClientAuth, now)
	return c
}

// MigrationCredentials reads those by which QEMU on one host talks to QEMU on another; nil
// where nothing of the host's configuration is seen. The configuration may be nil.
func MigrationCredentials(host fs.FS, config *QEMUConfig, now time.Time) *Credentials {
	if !exists(host, "etc") {
		return nil
	}
	dir := qemuDir
	switch {
	case config != nil && config.MigrationTLSDir != "":
		dir = relative(config.MigrationTLSDir)
	case exists(host, migrateDir):
		dir = migrateDir
	case config != nil && config.TLSDir != "":
		dir = relative(config.TLSDir)
	}
	c := &Credentials{Dir: "/" + dir}
	authorities := c.readAuthority(host, path.Join(dir, "ca-cert.pem"), now)
	at := func(name string) string { return path.Join(dir, name) }
	c.Server = readCertificate(host, at("server-cert.pem"), at("server-key.pem"), authorities, x509.ExtKeyUsageServerAuth, now)
	if chain, _ := certificates(host, at("server-cert.pem")); len(chain) > 0 {
		c.server = chain[0]
	}
	c.Client = readCertificate(host, at("client-cert.pem"), at("client-key.pem"), authorities, x509.ExtKeyUsageClientAuth, now)
	return c
}

// relative makes a path one of a file system.
func relative(dir string) string { return strings.TrimPrefix(path.Clean("/"+dir), "/") }

func exists(fsys fs.FS, name string) bool {
	if fsys == nil {
		return false
	}
	_, err := fs.Stat(fsys, name)
	return err == nil
}

// readAuthority reads the authorities that are trusted. Of several, the one that ends last
// counts, since the others are on their way out; but one that is valid counts before those
// that are not, since the next is put beside it before it begins. It returns them unless
// none is valid: then nothing is signed by one that is.
func (c *Credentials) readAuthority(host fs.FS, file string, now time.Time) []*x509.Certificate {
	all, state := certificates(host, file)
	c.Authority.State = state
	if len(all) == 0 {
		return nil
	}
	for _, cert := range all {
		sum := sha256.Sum256(cert.Raw)
		c.Authorities = append(c.Authorities, hex.EncodeToString(sum[:]))
	}
	last := slices.MaxFunc(all, func(a, b *x509.Certificate) int {
		return cmp.Or(cmp.Compare(oneIfValid(a, now), oneIfValid(b, now)), a.NotAfter.Compare(b.NotAfter))
	})
	c.Authority = Certificate{State: validity(last, now), NotAfter: last.NotAfter.UTC()}
	if c.Authority.State != CertificateReady {
		return nil
	}
	return all
}

func oneIfValid(cert *x509.Certificate, now time.Time) int {
	if validity(cert, now) == CertificateReady {
		return 1
	}
	return 0
}

func validity(cert *x509.Certificate, now time.Time) CertificateState {
	switch {
	case now.After(cert.NotAfter):
		return CertificateExpired
	case now.Before(cert.NotBefore):
		return CertificateNotYetValid
	default:
		return CertificateReady
	}
}

// certificates reads those of a file, without anything else that may be in it.
func certificates(host fs.FS, file string) ([]*x509.Certificate, CertificateState) {
	text, err := read(host, file)
	switch {
	case err != nil && isMissing(host, file, err):
		return nil, CertificateMissing
	case err != nil:
		return nil, CertificateUnreadable
	}
	var out []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, CertificateMalformed
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, CertificateMalformed
	}
	return out, CertificateReady
}

// readCertificate reads a certificate of the host's own. Of its key, only whether it is there
// matters.
func readCertificate(host fs.FS, file, key string, authorities []*x509.Certificate, use x509.ExtKeyUsage, now time.Time) Certificate {
	chain, state := certificates(host, file)
	if len(chain) == 0 {
		return Certificate{State: state}
	}
	out := Certificate{State: validity(chain[0], now), NotAfter: chain[0].NotAfter.UTC()}
	_, err := fs.Stat(host, key)
	switch {
	case err != nil && isMissing(host, key, err):
		out.State = CertificateKeyMissing
	case out.State != CertificateReady, authorities == nil:
		// That the authority is missing or not valid, its own entry says.
	case !trusted(chain, authorities, use, now):
		out.State = CertificateUntrusted
	}
	return out
}

func trusted(chain, authorities []*x509.Certificate, use x509.ExtKeyUsage, now time.Time) bool {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use},
	}
	for _, authority := range authorities {
		options.Roots.AddCert(authority)
	}
	for _, cert := range chain[1:] {
		options.Intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(options)
	return err == nil
}
