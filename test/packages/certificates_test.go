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
// with which a host is both a server and a client.
func TestDocumentedCertificates(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(root + "/docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n### Certificates\n")
	section, _, _ = strings.Cut(section, "\n### ")
	script := commands(section)
	if !strings.Contains(script, "openssl") {
		t.Fatalf("the page has no commands for certificates:\n%s", script)
	}
	dir := t.TempDir()
	bash := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	bash.Dir = dir
	if out, err := bash.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "node-a-cert.pem"), filepath.Join(dir, "node-a-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(filepath.Join(dir, "cacert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		t.Fatal("cacert.pem holds no certificate")
	}
	for _, name := range []string{"node-a", "192.0.2.11"} {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			options := x509.VerifyOptions{Roots: roots, DNSName: name, KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := pair.Leaf.Verify(options); err != nil {
				t.Errorf("for %s: %v", name, err)
			}
		}
	}
}

// commands returns what a page has its reader type as an ordinary user.
func commands(page string) string {
	var out []string
	continued := false
	for line := range strings.Lines(page) {
		command, typed := strings.CutPrefix(line, "$ ")
		if typed || continued {
			out = append(out, command)
			continued = strings.HasSuffix(command, "\\\n")
		}
	}
	return strings.Join(out, "")
}
