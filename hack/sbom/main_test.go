package main

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"path/filepath"
	"runtime"
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
		"usr/local/bin/virtferry":        program,
		"usr/share/doc/zlib1g/copyright": []byte("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: Zlib\n of the text\n"),
		"var/lib/dpkg/status.d/zlib1g":   []byte("Package: zlib1g\nVersion: 1:1.2.13+x-1\nArchitecture: arm64\nDescription: text\n Version: of something else\n"),
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	licence := texts(t, root)
	first, err := describe(root, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"purl": "pkg:deb/debian/zlib1g@1:1.2.13+x-1?arch=arm64&distro=debian-12"`,
		`"purl": "pkg:golang/github.com/google/uuid@v1.`,
		`"name": "stdlib"`,
		`"id": "BSD-3-Clause"`,
		`"name": "Zlib"`,
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
	if err := os.WriteFile(licence, []byte("Ask us before you use it."), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := describe(root, "v1.2.3"); err == nil || !strings.Contains(err.Error(), "is no text that is known") {
		t.Errorf("of a licence that is none, the error is %v", err)
	}
	if err := os.RemoveAll(filepath.Join(root, "var")); err != nil {
		t.Fatal(err)
	}
	if _, err := describe(root, "v1.2.3"); err == nil {
		t.Error("an image without packages is described")
	}
}

// texts puts the licences of what this program is compiled from where the image has those of
// virtferry, and returns the path of one.
func texts(t *testing.T, root string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	// It is that of Go and of most that is written in it.
	content, err := os.ReadFile(filepath.Join(runtime.GOROOT(), "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	var path string
	for _, name := range append(moduleNames(info), "stdlib") {
		path = filepath.Join(root, "usr/share/doc/virtferry/third-party", filepath.FromSlash(name), "LICENSE")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func moduleNames(info *buildinfo.BuildInfo) []string {
	var out []string
	for _, m := range info.Deps {
		out = append(out, m.Path+"@"+m.Version)
	}
	return out
}

// TestLicencesOfPackages: what Debian says for machines is taken as it is, anything else is
// read.
func TestLicencesOfPackages(t *testing.T) {
	bsd, err := os.ReadFile(filepath.Join(runtime.GOROOT(), "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"for machines":           {"Format: x\n\nLicense: LGPL-2.1+\n text\n\nLicense: GPL-2+\n\nLicense: LGPL-2.1+\n", "GPL-2+ LGPL-2.1+"},
		"a text":                 {"This package was made by somebody.\n\n" + string(bsd), "BSD-3-Clause"},
		"by the licence's place": {"See /usr/share/common-licenses/GPL-3.\n", ""},
	} {
		path := filepath.Join(t.TempDir(), "copyright")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		licences, err := ofPackage(path)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if licences != nil {
			for _, l := range *licences {
				got = append(got, l.License.Name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: the licences are %q, not %q", name, got, c.want)
		}
	}
}
