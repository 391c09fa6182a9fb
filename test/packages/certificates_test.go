//go:build packages

package packages

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocumentedCertificates: what docs/install.md has its reader type makes certificates
// with which a host is both a server and a client, and puts them where libvirt looks.
func TestDocumentedCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	onHost := strings.ReplaceAll(below(t, "Certificates", true), " /etc/", " etc/")
	bash := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", below(t, "Certificates", false)+onHost)
	bash.Dir = dir
	if out, err := bash.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	authority, err := os.ReadFile(filepath.Join(dir, "etc", "pki", "CA", "cacert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		t.Fatal("cacert.pem holds no certificate")
	}
	for role, usage := range map[string]x509.ExtKeyUsage{"server": x509.ExtKeyUsageServerAuth, "client": x509.ExtKeyUsageClientAuth} {
		requireCertificate(t, filepath.Join(dir, "etc", "pki", "libvirt"), role, x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}})
	}
}

// requireCertificate fails unless a role's certificate and key, in libvirt's directory,
// belong together, are good for the page's host, and the key is nobody else's to read.
func requireCertificate(t *testing.T, dir, role string, options x509.VerifyOptions) {
	t.Helper()
	key := filepath.Join(dir, "private", role+"key.pem")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, role+"cert.pem"), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node-a", "192.0.2.11"} {
		options.DNSName = name
		if _, err := pair.Leaf.Verify(options); err != nil {
			t.Errorf("the %s's certificate for %s: %v", role, name, err)
		}
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the %s's key: %v, %v", role, info.Mode(), err)
	}
}
