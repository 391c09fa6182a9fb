//go:build e2e

package libvirt

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
	"github.com/virtferry/virtferry/test/lab"
)

// needsOf returns what a running guest needs of the emulator, with the CPU that it has,
// whether or not it was held to that.
func needsOf(t *testing.T, c *Client, guest *lab.Guest) hypervisor.EmulatorNeeds {
	t.Helper()
	xml, err := c.DomainXML(t.Context(), guest.UUID(), hypervisor.XMLMigratable)
	if err != nil {
		t.Fatal(err)
	}
	n, err := xmlrewrite.ReadNeeds(string(xml))
	if err != nil {
		t.Fatal(err)
	}
	return hypervisor.EmulatorNeeds{Emulator: n.Emulator, VirtType: n.VirtType, Arch: n.Arch, Machine: n.Machine, CPU: n.CPU}
}

// TestE2ECheckEmulatorTakesWhatRuns: another host like its own takes each guest.
func TestE2ECheckEmulatorTakesWhatRuns(t *testing.T) {
	a, b := startClient(t, nodeA(), Config{}), startClient(t, nodeB(), Config{})
	for name, c := range map[string]struct {
		cpu      string
		compared bool
	}{
		"cpu-default":    {"", false},
		"cpu-host-model": {"<cpu mode='host-model'/>", true},
		"cpu-maximum":    {"<cpu mode='maximum'/>", false},
		"cpu-partial":    {"<cpu mode='custom' match='exact' check='partial'><model>Nehalem</model></cpu>", true},
		"cpu-unchecked":  {"<cpu mode='custom' match='exact' check='none'><model>Nehalem</model></cpu>", false},
	} {
		needs := needsOf(t, a, startGuest(t, nodeA(), lab.GuestConfig{Name: name, Tiny: true, ExtraXML: c.cpu}))
		if (needs.CPU != "") != c.compared || needs.Machine == "" || needs.Emulator == "" {
			t.Errorf("%s needs %+v", name, needs)
		}
		if fit, err := b.CheckEmulator(t.Context(), needs); err != nil || fit != (hypervisor.EmulatorFit{}) {
			t.Errorf("%s: got %+v, %v", name, fit, err)
		}
	}
}

// TestE2ECheckEmulatorSaysNo, in libvirt's own words.
func TestE2ECheckEmulatorSaysNo(t *testing.T) {
	b := startClient(t, nodeB(), Config{})
	cpu := func(inside string) string {
		return "<cpu mode='custom' match='exact' check='full'>" + inside + "</cpu>"
	}
	host, err := b.HostInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change                  func(*hypervisor.EmulatorNeeds)
		unsupported, cpuProblem string
	}{
		"all is well":     {func(*hypervisor.EmulatorNeeds) {}, "", ""},
		"another machine": {func(n *hypervisor.EmulatorNeeds) { n.Machine = "pc-i440fx-99.1" }, "the machine 'pc-i440fx-99.1' is not supported by emulator", ""},
		"another arch":    {func(n *hypervisor.EmulatorNeeds) { n.Arch, n.Machine = "s390x", "s390-ccw-virtio" }, "unable to find any emulator to serve 's390x'", ""},
		"no KVM":          {func(n *hypervisor.EmulatorNeeds) { n.VirtType = "kvm" }, "the accel 'kvm' is not supported", ""},
		"a feature too many": {func(n *hypervisor.EmulatorNeeds) {
			n.CPU = cpu("<model>Nehalem</model><feature policy='require' name='avx512f'/>")
		}, "", "Host CPU does not provide required features: avx512f"},
		"a CPU of tomorrow": {func(n *hypervisor.EmulatorNeeds) { n.CPU = cpu("<model>CPUOfTomorrow</model>") }, "", "Unknown CPU model CPUOfTomorrow"},
	} {
		needs := hypervisor.EmulatorNeeds{VirtType: "qemu", Arch: "x86_64", Machine: "pc-i440fx-7.2", CPU: cpu("<model>Nehalem</model>")}
		c.change(&needs)
		if needs.VirtType == "kvm" && strings.Contains(host.Capabilities, "<domain type='kvm'") {
			continue // This machine has it.
		}
		fit, err := b.CheckEmulator(t.Context(), needs)
		if err != nil || !says(fit.Unsupported, c.unsupported) || !says(fit.CPUProblem, c.cpuProblem) {
			t.Errorf("%s: got %+v, %v", name, fit, err)
		}
	}
	for emulator, want := range map[string]string{
		"/usr/bin/none": "Cannot check QEMU binary /usr/bin/none: No such file or directory",
		"/etc/passwd":   "QEMU binary /etc/passwd is not executable",
	} {
		fit, err := b.CheckEmulator(t.Context(), hypervisor.EmulatorNeeds{Emulator: emulator, VirtType: "qemu", Arch: "x86_64", Machine: "pc-i440fx-7.2"})
		if err != nil || !says(fit.Missing, want) || fit.Unsupported != "" {
			t.Errorf("%s: got %+v, %v", emulator, fit, err)
		}
	}
	if _, err := b.CheckEmulator(t.Context(), hypervisor.EmulatorNeeds{VirtType: "qemu", Arch: "x86_64", Machine: "pc-i440fx-7.2", CPU: "<cpu"}); err == nil {
		t.Error("a CPU that is no XML is taken")
	}
}

// says reports whether a message begins with what is wanted, and is empty where that is.
func says(got, want string) bool { return strings.HasPrefix(got, want) && (got == "") == (want == "") }
