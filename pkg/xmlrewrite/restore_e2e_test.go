//go:build e2e

package xmlrewrite

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// These tests have a real libvirt and a real QEMU save a running guest and
// restore it with the rewritten XML. A restore is the target's side of a
// migration: libvirt compares what the guest can see, and QEMU takes the same
// stream.

// savedGuest is a guest that was started and saved.
type savedGuest struct {
	libvirt embedded
	image   string
	xml     string // Of the running guest, as for a migration.
}

// runningLibvirt is one that can start guests. Its sockets are below its
// directory, whose name must therefore be short.
func runningLibvirt(t *testing.T) embedded {
	t.Helper()
	dir, err := os.MkdirTemp("", "vf") //nolint:usetesting // That of the test is too long.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	const conf = "stdio_handler = \"file\"\nsecurity_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\n" +
		"namespaces = []\ncgroup_controllers = []\nremember_owner = 0\n"
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "etc", "qemu.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return embedded{uri: "qemu:///embed?root=" + dir}
}

// saveGuest starts a guest and saves it.
func saveGuest(t *testing.T, libvirt embedded, xml string) savedGuest {
	t.Helper()
	dir := t.TempDir()
	g := savedGuest{libvirt: libvirt, image: filepath.Join(dir, "image")}
	file := filepath.Join(dir, "guest.xml")
	if err := os.WriteFile(file, []byte(xml), 0o600); err != nil {
		t.Fatal(err)
	}
	out, problem := g.libvirt.do(t, "create "+file, "dumpxml --migratable guest", "save guest "+g.image)
	if problem != "" {
		t.Fatalf("the guest cannot be started and saved: %s", problem)
	}
	g.xml = out
	return g
}

// restore restores the guest with another XML. It returns the XML that it then
// has, or what libvirt says against it.
func (g savedGuest) restore(t *testing.T, xml string) (restored, problem string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rewritten.xml")
	if err := os.WriteFile(file, []byte(xml), 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(g.image)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "image") // libvirt removes what it has restored.
	if err := os.WriteFile(copied, image, 0o600); err != nil {
		t.Fatal(err)
	}
	return g.libvirt.do(t, "restore "+copied+" --xml "+file, "dumpxml --migratable guest", "destroy guest")
}

// do runs commands in one process, since that holds the whole of libvirt, and
// returns what they print, or what goes wrong.
func (e embedded) do(t *testing.T, commands ...string) (out, problem string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := e.virsh(t, strings.Join(commands, "; "))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var problems []string
	if err := cmd.Run(); err != nil {
		problems = append(problems, err.Error())
	}
	for line := range strings.Lines(stderr.String()) {
		if text, isError := strings.CutPrefix(line, "error: "); isError {
			problems = append(problems, strings.TrimSpace(text))
		}
	}
	return stdout.String(), strings.Join(problems, "; ")
}

// savable is a guest that starts in no time.
func savable(machine, parts, cpu string) string {
	return `<domain type='qemu'>
  <name>guest</name>
  <uuid>5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11</uuid>
  <memory unit='MiB'>32</memory>
  <vcpu placement='static'>2</vcpu>
` + parts + `
  <os>
    <type arch='x86_64' machine='` + machine + `'>hvm</type>
  </os>
  ` + cpu + `
  <devices>
    <memballoon model='none'/>
  </devices>
</domain>
`
}

const twoCells = `<cpu>
    <numa>
      <cell id='0' cpus='0' memory='16' unit='MiB'/>
      <cell id='1' cpus='1' memory='16' unit='MiB'/>
    </numa>
  </cpu>`

// TestRestoreBindsMemory: cells and pins of a running guest move, whether they
// were bound before or not; where QEMU would not take that, the planner does not
// either.
func TestRestoreBindsMemory(t *testing.T) {
	libvirt, node := runningLibvirt(t), v1alpha1.CPUSet("0")
	data := &v1alpha1.MigrateData{NUMA: &v1alpha1.NUMAMigrateData{
		VCPUPins:    []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: "1"}, {VCPU: 1, HostCPUs: "0-1"}},
		EmulatorPin: &node,
		CellPins:    []v1alpha1.CellPin{{Cell: 0, HostNodes: "0"}, {Cell: 1, HostNodes: "0"}},
		MemoryNodes: &node,
	}}
	const pins = "<cputune><vcpupin vcpu='0' cpuset='0'/><emulatorpin cpuset='0'/></cputune>"
	const bound = "<numatune><memory mode='strict' nodeset='0'/><memnode cellid='1' mode='preferred' nodeset='0'/></numatune>"
	for _, test := range []struct{ name, machine, parts string }{
		{"bound already", "pc-q35-7.2", pins + bound},
		{"bound anew", "pc-q35-7.2", pins},
		{"bound anew, the oldest machine type for it", "pc-q35-5.1", ""},
		{"bound anew, a machine type too old for it", "pc-q35-5.0", ""},
		{"bound already, an old machine type", "pc-i440fx-4.2", bound},
		{"bound anew, an old machine type, memory in an anonymous file", "pc-i440fx-4.2",
			"<memoryBacking><source type='memfd'/></memoryBacking>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := saveGuest(t, libvirt, savable(test.machine, test.parts, twoCells))
			_, refusal := NewPlan(g.xml, data, Options{})
			plan, err := NewPlan(g.xml, data, Options{Inactive: true}) // Refuses less.
			if err != nil {
				t.Fatal(err)
			}
			restored, problem := g.restore(t, plan.Apply())
			if (refusal != nil) != (problem != "") {
				t.Fatalf("the planner says %v; libvirt says %q", refusal, problem)
			}
			for _, want := range [...]string{
				"<vcpupin vcpu='0' cpuset='1'/>", "<vcpupin vcpu='1' cpuset='0-1'/>", "<emulatorpin cpuset='0'/>",
				"<memory mode='strict' nodeset='0'/>", "<memnode cellid='0' mode='strict' nodeset='0'/>", "<memnode cellid='1' mode=",
			} {
				if problem == "" && !strings.Contains(restored, want) {
					t.Errorf("the guest lacks %s:\n%s", want, restored)
				}
			}
		})
	}
}

// TestRestoreKeepsMemoryWhereItIs: libvirt refuses to move a running guest's
// memory into files and out of them, and so does the planner. What becomes of
// the files may change.
func TestRestoreKeepsMemoryWhereItIs(t *testing.T) {
	libvirt, discard := runningLibvirt(t), v1alpha1.ToggleEnabled
	required := v1alpha1.MemoryBackingMigrateData{FileBacking: v1alpha1.FileBackingRequired, Discard: &discard}
	none := v1alpha1.MemoryBackingMigrateData{FileBacking: v1alpha1.FileBackingNone}
	for _, test := range []struct {
		name, parts string
		want        v1alpha1.MemoryBackingMigrateData
		refused     bool
	}{
		{"ordinary memory into files", "", required, true},
		{"ordinary memory not into files", "", none, false},
		{"anonymous memory into files", "<memoryBacking><source type='anonymous'/></memoryBacking>", required, true},
		{"anonymous memory not into files", "<memoryBacking><source type='anonymous'/></memoryBacking>", none, false},
		{"an anonymous file stays", "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>", none, false},
		{"files stay", "<memoryBacking><source type='file'/><access mode='private'/></memoryBacking>", required, false},
		{"files go", "<memoryBacking><source type='file'/><access mode='shared'/><allocation mode='immediate'/></memoryBacking>", none, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := saveGuest(t, libvirt, savable("pc-q35-7.2", test.parts, ""))
			data := &v1alpha1.MigrateData{MemoryBacking: &test.want}
			_, refusal := NewPlan(g.xml, data, Options{})
			plan, err := NewPlan(g.xml, data, Options{Inactive: true}) // Refuses less.
			if err != nil {
				t.Fatal(err)
			}
			_, problem := g.restore(t, plan.Apply())
			if (refusal != nil) != test.refused || (problem != "") != test.refused {
				t.Errorf("refused should be %t; the planner says %v; libvirt says %q", test.refused, refusal, problem)
			}
		})
	}
}
