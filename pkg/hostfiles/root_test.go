package hostfiles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// rootOf makes the files of a host: texts, links and pipes.
func rootOf(t *testing.T, texts, links map[string]string, pipes ...string) fs.FS {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, text := range texts {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range links {
		if err := os.Symlink(target, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range pipes {
		if err := syscall.Mkfifo(at(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Root(dir)
}

// TestLinksLeadWithinTheHost: a link of the host's that names a whole path means the host's,
// not the container's.
func TestLinksLeadWithinTheHost(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(outside, []byte("the container's"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := rootOf(t, map[string]string{"etc/pki/CA/cacert.pem": "the host's"}, map[string]string{
		"etc/pki/qemu/ca-cert.pem":  "/etc/pki/CA/cacert.pem",
		"etc/pki/qemu/relative.pem": "../CA/cacert.pem",
		"etc/pki/qemu/above.pem":    "../../../../../../etc/pki/CA/cacert.pem",
		"etc/pki/qemu/dir":          "/etc/pki/qemu2", "etc/pki/qemu2": "CA",
		"etc/pki/qemu/outside.pem": outside,
		"etc/pki/qemu/nowhere.pem": "/etc/letsencrypt/cert.pem",
		"etc/pki/qemu/loop.pem":    "loop.pem",
	})
	for name, readable := range map[string]bool{
		"ca-cert.pem": true, "relative.pem": true, "above.pem": true, "dir/cacert.pem": true,
		"outside.pem": false, "nowhere.pem": false, "loop.pem": false,
	} {
		name = "etc/pki/qemu/" + name
		text, err := read(host, name)
		if readable != (err == nil) || readable && text != "the host's" {
			t.Errorf("%s: got %q, %v", name, text, err)
		}
		if isMissing(host, name, err) {
			t.Errorf("%s is missing", name)
		}
		if _, err := fs.Stat(host, name); readable != (err == nil) {
			t.Errorf("%s: its description is %v", name, err)
		}
	}
	_, err := read(host, "etc/pki/qemu/server-cert.pem")
	if !isMissing(host, "etc/pki/qemu/server-cert.pem", err) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := host.Open("../etc"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a path that leads above: %v", err)
	}
}

// TestOnlyFilesAreRead: what waits for somebody to write into it would hold up the agent.
func TestOnlyFilesAreRead(t *testing.T) {
	t.Parallel()
	host := rootOf(t, map[string]string{"etc/pki/libvirt/clientcert.pem/x": ""}, nil, "etc/pki/CA/cacert.pem", "etc/libvirt/qemu.conf")
	done := make(chan Facts, 1)
	go func() { done <- Read(host, host, now) }()
	select {
	case facts := <-done:
		if facts.QEMU != nil || facts.Control.Authority.State != CertificateUnreadable || facts.Control.Client.State != CertificateUnreadable {
			t.Errorf("got %+v, %+v", facts.QEMU, facts.Control)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it waits for a pipe")
	}
}
