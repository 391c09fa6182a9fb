//go:build e2e

package xmlrewrite

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/beevik/etree"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/guestgen"
)

// TestLibvirtAccepts defines guests before and after the rewrite with a real
// libvirt: what it takes before it must take after, and what it then writes
// must be the same but for what belongs to the host. It uses libvirt's
// embedded driver, which needs root but no daemon.
func TestLibvirtAccepts(t *testing.T) {
	for _, program := range []string{"virsh", "tini"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("this test needs virsh, libvirt's QEMU driver and tini: %v", err)
		}
	}
	libvirt := runningLibvirt(t)
	accepted, refused := 0, 0
	check := func(t *testing.T, name string, guest, result []byte, data *v1alpha1.MigrateData) {
		t.Helper()
		before, problem := libvirt.define(t, guest)
		if problem != "" {
			refused++
			t.Logf("%s: the guest itself is refused: %s", name, problem)
			return
		}
		after, problem := libvirt.define(t, result)
		if problem != "" {
			t.Errorf("%s: the guest is accepted, the result is not: %s", name, problem)
			return
		}
		accepted++
		checkFacts(t, before, string(after), data)
	}
	files, err := filepath.Glob("testdata/golden/*.want.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files found: %v", err)
	}
	for _, file := range files {
		guest, c := readGolden(t, strings.TrimSuffix(file, ".want.xml"))
		check(t, filepath.Base(file), guest, readFile(t, file), c.MigrateData)
	}
	for seed := range uint64(40) {
		c := guestgen.New(seed, guestgen.Typical())
		plan, err := NewPlan(c.XML(), c.MigrateData(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, c.Name, c.XML(), []byte(plan.Apply()), c.MigrateData())
	}
	t.Logf("%d results accepted; %d guests refused by libvirt before the rewrite", accepted, refused)
	if accepted < 3*refused {
		t.Error("too few guests are accepted for this test to mean anything")
	}
}

type embedded struct{ uri string }

// define returns the guest as libvirt writes it, or what libvirt says against it.
func (e embedded) define(t *testing.T, xml []byte) (written []byte, problem string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "guest.xml")
	if err := os.WriteFile(file, definable(t, xml), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := e.virsh(t, "define", file).CombinedOutput(); err != nil {
		return nil, fmt.Sprintf("%v: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	out, err := e.virsh(t, "dumpxml", "--security-info", "guest").CombinedOutput()
	if err != nil {
		t.Fatalf("the guest is defined but cannot be read: %v: %s", err, out)
	}
	return out, ""
}

// virsh returns a command that is ended after a minute. The QEMUs that libvirt asks
// what they can do daemonize, and it waits until they are gone: tini reaps them, as
// the first process of a container may not.
func (e embedded) virsh(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "tini", append([]string{"-s", "--", "virsh", "-q", "-c", e.uri}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// definable gives a guest what every guest of the QEMU driver needs, and takes
// away what depends on this machine. Nothing that a rewrite touches changes.
func definable(t *testing.T, xml []byte) []byte {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(xml); err != nil {
		t.Fatal(err)
	}
	domain := doc.Root()
	domain.CreateAttr("type", "qemu")
	ensure := func(name, text string) *etree.Element {
		if e := domain.SelectElement(name); e != nil {
			return e
		}
		e := domain.CreateElement(name)
		e.SetText(text)
		return e
	}
	ensure("name", "").SetText("guest")
	ensure("uuid", "").SetText("5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11")
	ensure("memory", "4194304")
	ensure("vcpu", "2")
	if domain.SelectElement("os") == nil {
		kind := ensure("os", "").CreateElement("type")
		kind.CreateAttr("arch", "x86_64")
		kind.CreateAttr("machine", "q35")
		kind.SetText("hvm")
	}
	if len(doc.FindElements("/domain/devices/memory")) > 0 {
		ensure("maxMemory", "16777216").CreateAttr("slots", "16")
		if cpu := ensure("cpu", ""); cpu.SelectElement("numa") == nil {
			cell := cpu.CreateElement("numa").CreateElement("cell")
			cell.CreateAttr("cpus", "0")
			cell.CreateAttr("memory", "4194304")
		}
	}
	if cpu := domain.SelectElement("cpu"); cpu != nil {
		cpu.RemoveAttr("mode") // TCG cannot give the guest the host's.
	}
	for _, device := range doc.FindElements("/domain/devices/*") {
		for _, address := range device.SelectElements("address") {
			device.RemoveChild(address) // Let libvirt choose.
		}
	}
	text, err := doc.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
