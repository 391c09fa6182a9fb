package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// write makes files below a directory.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, file := range files {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("text of "+file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTexts: those of the module and of its packages that are compiled, and of nothing else.
func TestTexts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "LICENSE.txt", "NOTICE", "PATENTS", "LICENSE.go", "licenses.md", "README", "used/inner/LICENSE-BSD", "used/COPYING", "unused/LICENSE")
	m := module{name: "example.com/m@v1.0.0", dir: dir, packages: []string{filepath.Join(dir, "used", "inner"), filepath.Join(dir, "used"), dir}}
	got, err := m.texts()
	if want := []string{"LICENSE.txt", "NOTICE", "PATENTS", "used/COPYING", "used/inner/LICENSE-BSD"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("the texts are %q, %v, not %q", got, err, want)
	}
	to := filepath.Join(t.TempDir(), "texts")
	if err := collect([]module{m}, to); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(to + "/example.com/m@v1.0.0/used/COPYING"); err != nil || string(content) != "text of used/COPYING" {
		t.Errorf("a text is %q, %v", content, err)
	}
}

func TestAModuleWithoutALicenceIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "NOTICE", "main.go")
	if got, err := (module{name: "example.com/m@v1.0.0", dir: dir, packages: []string{dir}}).texts(); err == nil {
		t.Errorf("it has %q", got)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := parse(strings.NewReader(`
{"Dir": "/go/src/fmt", "Standard": true}
{"Dir": "/m/b/x", "Module": {"Path": "b", "Version": "v1.0.0", "Dir": "/m/b"}}
{"Dir": "/m/a", "Module": {"Path": "a", "Version": "v2.0.0", "Dir": "/m/a"}}
{"Dir": "/m/b", "Module": {"Path": "b", "Version": "v1.0.0", "Dir": "/m/b"}}
{"Dir": "/src", "Module": {"Path": "ours", "Dir": "/src", "Main": true}}
`), "/go")
	var names []string
	for _, m := range got {
		names = append(names, m.name+" "+strings.Join(m.packages, " "))
	}
	if want := []string{"a@v2.0.0 /m/a", "b@v1.0.0 /m/b/x /m/b", "stdlib /go"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("the modules are %q, %v, not %q", names, err, want)
	}
}

// TestVirtferry: each module that virtferry is compiled from has a licence.
func TestVirtferry(t *testing.T) {
	t.Parallel()
	found, err := list("amd64", "libvirt_dlopen", "../../cmd/virtferry")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range found {
		name, _, _ := strings.Cut(m.name, "@")
		names[name] = true
		if _, err := m.texts(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"stdlib", "libvirt.org/go/libvirt", "sigs.k8s.io/controller-runtime"} {
		if !names[name] {
			t.Errorf("it is not compiled from %s", name)
		}
	}
	for _, name := range []string{"github.com/virtferry/virtferry", "github.com/yuin/gopher-lua"} {
		if names[name] {
			t.Errorf("it is compiled from %s", name)
		}
	}
}
