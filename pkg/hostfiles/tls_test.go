package hostfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

//nolint:gochecknoglobals // A constant.
var now = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// issuer signs certificates.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

// newIssuer makes an authority, or one below another, which ends after a while.
func newIssuer(t *testing.T, above *issuer, ends time.Duration) *issuer {
	t.Helper()
	return newIssuerFrom(t, above, -10*day, ends)
}

// newIssuerFrom makes one that begins later.
func newIssuerFrom(t *testing.T, above *issuer, begins, ends time.Duration) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: t.Name()}, NotBefore: now.Add(begins), NotAfter: now.Add(ends),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	out := &issuer{t: t, key: key}
	if above == nil {
		above = &issuer{cert: template, key: key}
	} else {
		template.Subject.CommonName += " below"
	}
	der, err := x509.CreateCertificate(rand.Reader, template, above.cert, &key.PublicKey, above.key)
	if err != nil {
		t.Fatal(err)
	}
	if out.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	out.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return out
}

// issue makes a certificate that is valid from one time to another.
func (i *issuer) issue(begins, ends time.Duration, uses ...x509.ExtKeyUsage) string {
	i.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node-a"}, DNSNames: []string{"node-a"},
		NotBefore: now.Add(begins), NotAfter: now.Add(ends), ExtKeyUsage: uses, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, &key.PublicKey, i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// onlyStates leaves out whose certificates they are.
//
//nolint:gochecknoglobals // A constant.
var onlyStates = cmp.Options{cmpopts.IgnoreFields(Credentials{}, "Authorities"), cmpopts.IgnoreUnexported(Credentials{})}

const serverAuth = x509.ExtKeyUsageServerAuth

func TestCertificates(t *testing.T) {
	t.Parallel()
	ca, other, old := newIssuer(t, nil, 100*day), newIssuer(t, nil, 100*day), newIssuer(t, nil, 5*day)
	below, belowEnded := newIssuer(t, ca, 50*day), newIssuer(t, ca, -day)
	ended, next := newIssuer(t, nil, -day), newIssuerFrom(t, nil, day, 900*day)
	server := func(i *issuer) string { return i.issue(-day, 9*day, x509.ExtKeyUsageServerAuth) }
	ready := server(ca)
	at := func(state CertificateState, ends time.Duration) Certificate {
		return Certificate{State: state, NotAfter: now.Add(ends)}
	}
	for name, tt := range map[string]struct {
		authority, server string
		noKey             bool
		wantAuthority     Certificate
		want              Certificate
	}{
		"all is well":             {authority: ca.pem, server: ready, wantAuthority: at(CertificateReady, 100*day), want: at(CertificateReady, 9*day)},
		"an authority in between": {authority: ca.pem, server: server(below) + below.pem, wantAuthority: at(CertificateReady, 100*day), want: at(CertificateReady, 9*day)},
		"an authority that is replaced": {
			authority: old.pem + ca.pem, server: server(old), wantAuthority: at(CertificateReady, 100*day), want: at(CertificateReady, 9*day),
		},
		// That the authority has ended is said of the authority, once.
		"an authority that has ended": {
			authority: ended.pem, server: server(ended), wantAuthority: at(CertificateExpired, -day), want: at(CertificateReady, 9*day),
		},
		// The next one is there already, and does not count before it begins.
		"an authority that is to come": {
			authority: ca.pem + next.pem, server: ready, wantAuthority: at(CertificateReady, 100*day), want: at(CertificateReady, 9*day),
		},
		"an authority that has ended is still there": {
			authority: ended.pem + ca.pem + next.pem, server: server(ended), wantAuthority: at(CertificateReady, 100*day), want: at(CertificateUntrusted, 9*day),
		},
		"an authority in between that has ended": {
			authority: ca.pem, server: server(belowEnded) + belowEnded.pem, wantAuthority: at(CertificateReady, 100*day), want: at(CertificateUntrusted, 9*day),
		},
		"another authority's":   {authority: other.pem, server: ready, wantAuthority: at(CertificateReady, 100*day), want: at(CertificateUntrusted, 9*day)},
		"for clients only":      {authority: ca.pem, server: ca.issue(-day, 9*day, x509.ExtKeyUsageClientAuth), wantAuthority: at(CertificateReady, 100*day), want: at(CertificateUntrusted, 9*day)},
		"it has ended":          {authority: ca.pem, server: ca.issue(-9*day, -day, serverAuth), wantAuthority: at(CertificateReady, 100*day), want: at(CertificateExpired, -day)},
		"it has not begun":      {authority: ca.pem, server: ca.issue(day, 9*day, serverAuth), wantAuthority: at(CertificateReady, 100*day), want: at(CertificateNotYetValid, 9*day)},
		"there is no key":       {authority: ca.pem, server: ready, noKey: true, wantAuthority: at(CertificateReady, 100*day), want: at(CertificateKeyMissing, 9*day)},
		"there is none":         {authority: ca.pem, wantAuthority: at(CertificateReady, 100*day), want: Certificate{State: CertificateMissing}},
		"there is nothing":      {wantAuthority: Certificate{State: CertificateMissing}, want: Certificate{State: CertificateMissing}},
		"there is no authority": {server: ready, wantAuthority: Certificate{State: CertificateMissing}, want: at(CertificateReady, 9*day)},
		"nonsense":              {authority: "x", server: strings.Replace(ready, "M", "N", 1), wantAuthority: Certificate{State: CertificateMalformed}, want: Certificate{State: CertificateMalformed}},
		"with the key in it": {
			authority: ca.pem, server: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" + ready,
			wantAuthority: at(CertificateReady, 100*day), want: at(CertificateReady, 9*day),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			texts := map[string]string{"etc/passwd": ""}
			put := func(text string, places ...string) {
				for _, place := range places {
					if text != "" {
						texts[place] = text
					}
				}
			}
			put(tt.authority, "etc/pki/CA/cacert.pem", "etc/pki/qemu/ca-cert.pem")
			put(tt.server, "etc/pki/libvirt/servercert.pem", "etc/pki/qemu/server-cert.pem")
			if !tt.noKey {
				put("key", "etc/pki/libvirt/private/serverkey.pem", "etc/pki/qemu/server-key.pem")
			}
			host := files(texts)
			want := &Credentials{Dir: "/etc/pki/libvirt", Authority: tt.wantAuthority, Server: tt.want, Client: Certificate{State: CertificateMissing}}
			if diff := cmp.Diff(want, ControlCredentials(host, now), onlyStates); diff != "" {
				t.Errorf("control (-want +got):\n%s", diff)
			}
			want.Dir = "/etc/pki/qemu"
			if diff := cmp.Diff(want, MigrationCredentials(host, nil, now), onlyStates); diff != "" {
				t.Errorf("migration (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCertificatesThatAreNotSeen are not missing.
func TestCertificatesThatAreNotSeen(t *testing.T) {
	t.Parallel()
	if c := ControlCredentials(nil, now); c != nil {
		t.Errorf("without files, got %v", c)
	}
	if c := MigrationCredentials(fstest.MapFS{}, nil, now); c != nil {
		t.Errorf("without the directory, got %v", c)
	}
	host := files(map[string]string{"etc/passwd": ""})
	host["etc/pki"] = &fstest.MapFile{Data: []byte("/srv/pki"), Mode: fs.ModeSymlink}
	if c := ControlCredentials(host, now); c.Server.State != CertificateUnreadable || c.Authority.State != CertificateUnreadable {
		t.Errorf("behind a link, got %v", c)
	}
}

func TestWhereMigrationsHaveTheirCertificates(t *testing.T) {
	t.Parallel()
	plain, own := files(map[string]string{"etc/passwd": ""}), files(map[string]string{"etc/pki/libvirt-migrate/ca-cert.pem": ""})
	for name, tt := range map[string]struct {
		host   fs.FS
		config *QEMUConfig
		want   string
	}{
		"nothing is said":                {plain, nil, "/etc/pki/qemu"},
		"they have a place of their own": {own, &QEMUConfig{TLSDir: "/a"}, "/etc/pki/libvirt-migrate"},
		"a place for everything":         {plain, &QEMUConfig{TLSDir: "/a/../b"}, "/b"},
		"a place for them":               {own, &QEMUConfig{TLSDir: "/a", MigrationTLSDir: "/c/"}, "/c"},
	} {
		if got := MigrationCredentials(tt.host, tt.config, now).Dir; got != tt.want {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
