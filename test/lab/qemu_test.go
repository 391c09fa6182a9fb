//go:build linux

package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestQEMUWrapperMakesPlainMemoryOdd(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"wrapper/" + qemuFile: qemuWrapper,
		"real/" + qemuFile:    []byte("#!/bin/sh\nfor a; do echo \"$a\"; done\n"),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const ram = `{"qom-type":"memory-backend-ram","id":"pc.ram","size":134217728}`
	const odd = `{"qom-type":"memory-backend-ram","id":"pc.ram","size":134225920}`
	for _, c := range []struct {
		name       string
		args, want []string
	}{
		{"probing", []string{"-machine", "none,accel=tcg", "-qmp", "unix:/a b"}, nil},
		{"plain memory", []string{"-name", "a b", "-m", "128", "-object", ram, ""}, []string{"-name", "a b", "-m", "size=131080k", "-object", odd, ""}},
		{
			"slots", []string{"-m", "size=131072k,slots=2,maxmem=262144k", "-object", ram},
			[]string{"-m", "size=131080k,slots=2,maxmem=262144k", "-object", odd},
		},
		{
			"shared memory", []string{"-m", "128", "-object", `{"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,"size":134217728,"x":1}`},
			[]string{"-m", "size=131080k", "-object", `{"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,"size":134225920,"x":1}`},
		},
		{"huge pages", []string{"-m", "128", "-object", `{"qom-type":"memory-backend-memfd","id":"pc.ram","hugetlb":true,"size":134217728}`}, nil},
		{"a file", []string{"-m", "128", "-object", `{"qom-type":"memory-backend-file","id":"pc.ram","size":134217728}`}, nil},
		{"NUMA nodes", []string{"-m", "128", "-object", `{"qom-type":"memory-backend-ram","id":"ram-node0","size":134217728}`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.want == nil {
				c.want = c.args
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "wrapper", qemuFile), c.args...)
			cmd.Env = []string{"PATH=" + filepath.Join(dir, "wrapper") + ":" + filepath.Join(dir, "real")}
			out, err := cmd.CombinedOutput()
			if got, want := string(out), strings.Join(c.want, "\n")+"\n"; err != nil || got != want {
				t.Errorf("got %v\n%swant\n%s", err, got, want)
			}
		})
	}
}
