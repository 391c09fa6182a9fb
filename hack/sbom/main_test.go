package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDescribe: packages, modules and the toolchain are there, by what scanners know them
// by, and the same is said twice.
func TestDescribe(t *testing.T) {
	root := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{
		"usr/local/bin/virtferry":      program,
		"var/lib/dpkg/status.d/zlib1g": []byte("Package: zlib1g\nVersion: 1:1.2.13+x-1\nArchitecture: arm64\nDescription: text\n Version: of something else\n"),
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, err := describe(root, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"purl": "pkg:deb/debian/zlib1g@1:1.2.13+x-1?arch=arm64&distro=debian-12"`,
		`"purl": "pkg:golang/github.com/google/uuid@v1.`,
		`"name": "stdlib"`,
		`"version": "v1.2.3"`,
		`"serialNumber": "urn:uuid:`,
	} {
		if !strings.Contains(string(first), want) {
			t.Errorf("the document lacks %s:\n%s", want, first)
		}
	}
	if second, err := describe(root, "v1.2.3"); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second document differs: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(root, "var")); err != nil {
		t.Fatal(err)
	}
	if _, err := describe(root, "v1.2.3"); err == nil {
		t.Error("an image without packages is described")
	}
}
