package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"testing/fstest"
	"time"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string // Its own certificate.
}

// certificateValidity is how long, in both directions, everything here is valid.
const certificateValidity = 24 * time.Hour

// newAuthority makes an authority whose certificates are valid around a time.
func newAuthority(t *testing.T, now time.Time) *authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: t.Name()}, NotBefore: now.Add(-certificateValidity), NotAfter: now.Add(certificateValidity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &authority{t: t, key: newKey(t)}
	a.pem, a.cert = sign(t, template, template, a.key, a.key)
	return a
}

// issue makes a certificate for servers and clients with these names, which may be IP
// addresses.
func (a *authority) issue(names ...string) string {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	text, _ := sign(a.t, template, a.cert, newKey(a.t), a.key)
	return text
}

// qemuHost returns the files of a host whose QEMU has certificates of the authority, with
// these names.
func (a *authority) qemuHost(names ...string) fstest.MapFS {
	a.t.Helper()
	const dir = "etc/pki/qemu/"
	own := a.issue(names...)
	files := fstest.MapFS{"etc/libvirt/qemu.conf": {}}
	for name, text := range map[string]string{
		"ca-cert.pem": a.pem, "server-cert.pem": own, "client-cert.pem": own, "server-key.pem": "key", "client-key.pem": "key",
	} {
		files[dir+name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, above *x509.Certificate, key, by *ecdsa.PrivateKey) (string, *x509.Certificate) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, above, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), cert
}
