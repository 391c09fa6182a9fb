//go:build e2e

package libvirt

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

// hostObjects are what prepareHost gives a host, by the command that defines them.
var hostObjects = []struct{ define, start, stop, undefine, name, xml string }{
	{
		"net-define", "", "net-destroy", "net-undefine", "facts-nat",
		`<network><name>facts-nat</name><forward mode='nat'/><bridge name='virbr7'/><ip address='192.168.77.1' netmask='255.255.255.0'/></network>`,
	},
	{
		"net-define", "net-start", "net-destroy", "net-undefine", "facts-bridge",
		`<network><name>facts-bridge</name><forward mode='bridge'/><bridge name='facts0'/></network>`,
	},
	{
		"pool-define", "pool-start", "pool-destroy", "pool-undefine", "facts-dir",
		`<pool type='dir'><name>facts-dir</name><target><path>` + lab.PrivateDir + `</path></target></pool>`,
	},
	{
		"pool-define", "", "pool-destroy", "pool-undefine", "facts-off",
		`<pool type='dir'><name>facts-off</name><target><path>/srv/facts-off</path></target></pool>`,
	},
}

// prepareHost gives a host networks, a bridge and storage pools until the test ends.
func prepareHost(t *testing.T, host *lab.Host) {
	t.Helper()
	if _, err := host.Exec(t.Context(), "ip", "link", "add", "facts0", "type", "bridge"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = host.Exec(context.Background(), "ip", "link", "del", "facts0") })
	for _, o := range hostObjects {
		file := path.Join(defaultRunDir, o.name+".xml")
		if err := os.WriteFile(host.Path(file), []byte(o.xml), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := host.Virsh(t.Context(), o.define, host.Path(file)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_, _ = host.Virsh(context.Background(), o.stop, o.name)
			_, _ = host.Virsh(context.Background(), o.undefine, o.name)
		})
		if o.start == "" {
			continue
		}
		if _, err := host.Virsh(t.Context(), o.start, o.name); err != nil {
			t.Fatal(err)
		}
	}
}

// virsh returns what a command prints, or fails the test.
func virsh(t *testing.T, args ...string) string {
	t.Helper()
	out, err := nodeA().Virsh(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// column returns the words in a place of each line.
func column(lines string, n int) []string {
	var out []string
	for line := range strings.Lines(lines) {
		if fields := strings.Fields(line); len(fields) > n {
			out = append(out, fields[n])
		}
	}
	return out
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestE2EHostDevices holds the PCI functions of the host against those that virsh lists. It has
// none that can be given to guests.
func TestE2EHostDevices(t *testing.T) {
	c := startClient(t, nodeA(), Config{CallTimeout: 20 * time.Second})
	facts, err := c.HostFacts(t.Context(), hypervisor.FactsHostDevices)
	if err != nil || len(facts.Errors) > 0 || facts.Devices == nil {
		t.Fatalf("got %+v, %v, %v", facts.Devices, facts.Errors, err)
	}
	listed := strings.Fields(virsh(t, "nodedev-list", "--cap", "pci"))
	if len(listed) != len(facts.Devices.PCI) {
		t.Errorf("%d functions are read of %d", len(facts.Devices.PCI), len(listed))
	}
	for _, d := range facts.Devices.PCI {
		if !slices.Contains(listed, "pci_"+strings.NewReplacer(":", "_", ".", "_").Replace(d.Address)) || !strings.HasPrefix(d.Vendor, "0x") || !strings.HasPrefix(d.Product, "0x") {
			t.Errorf("read is %+v", d)
		}
	}
	t.Logf("there are %d functions", len(listed))
}

// near reports whether a number that changes all the time is what it was a moment ago.
func near(a, b, most uint64) bool { return max(a, b)-min(a, b) <= most }

// TestE2EHostFacts holds what is read of a host against what virsh and the host itself say.
func TestE2EHostFacts(t *testing.T) {
	prepareHost(t, nodeA())
	c := startClient(t, nodeA(), Config{CallTimeout: 20 * time.Second})
	facts, err := c.HostFacts(t.Context(), hypervisor.FactGroups()...)
	if err != nil || len(facts.Errors) > 0 {
		t.Fatalf("got %v, %v", facts.Errors, err)
	}
	if facts.Socket != "libvirt-sock" {
		t.Errorf("the socket is %q", facts.Socket)
	}
	info, err := c.HostInfo(t.Context())
	check(t, err)
	if version := virsh(t, "version", "--daemon"); !strings.Contains(version, "Running against daemon: "+info.LibvirtVersion) ||
		!strings.Contains(version, "Running hypervisor: QEMU "+info.HypervisorVersion) {
		t.Errorf("versions are %s and %s, but %s", info.LibvirtVersion, info.HypervisorVersion, version)
	}
	t.Run("CPUs", func(t *testing.T) { compareCPUs(t, facts) })
	t.Run("machine types", func(t *testing.T) { compareMachineTypes(t, facts.Capabilities.Architectures[0]) })
	t.Run("memory", func(t *testing.T) { compareMemory(t, facts) })
	t.Run("networks", func(t *testing.T) { compareNetworks(t, facts) })
	t.Run("pools", func(t *testing.T) { comparePools(t, facts.StoragePools) })
	if devices := virsh(t, "nodedev-list", "--cap", "mdev_types"); facts.MediatedTypes == nil || len(facts.MediatedTypes) > 0 != (devices != "") {
		t.Errorf("mediated are %v, but %q", facts.MediatedTypes, devices)
	}
	if e := facts.Capabilities.Emulator; e == nil || *e != (hypervisor.EmulatorUser{}) {
		t.Errorf("emulators run as %v, but the lab's as root", e)
	}
}

// compareCPUs asks virsh for the host-model and the kernel for the CPUs.
func compareCPUs(t *testing.T, facts hypervisor.HostFacts) {
	var caps struct {
		Modes []struct {
			Name      string `xml:"name,attr"`
			Supported string `xml:"supported,attr"`
			Model     string `xml:"model"`
			Features  []struct {
				Policy string `xml:"policy,attr"`
			} `xml:"feature"`
		} `xml:"cpu>mode"`
	}
	check(t, xml.Unmarshal([]byte(virsh(t, "domcapabilities")), &caps))
	for _, mode := range caps.Modes {
		got := map[string]*hypervisor.OfferedCPU{"host-model": facts.OfferedCPUs.HostModel, "maximum": facts.OfferedCPUs.Maximum}[mode.Name]
		switch {
		case mode.Name != "host-model" && mode.Name != "maximum":
		case (mode.Supported == "yes") != (got != nil):
			t.Errorf("%s is supported: %s, but got %v", mode.Name, mode.Supported, got)
		case got != nil && (got.Model != strings.TrimSpace(mode.Model) || len(got.Required)+len(got.Disabled) != len(mode.Features)):
			t.Errorf("%s is %+v, not %+v", mode.Name, got, mode)
		}
	}
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	check(t, err)
	var all []string
	for _, cell := range facts.Capabilities.Cells {
		for _, cpu := range cell.CPUs {
			all = append(all, strconv.Itoa(cpu))
		}
	}
	_, last, _ := strings.Cut(strings.TrimSpace(string(online)), "-")
	if len(all) == 0 || last != "" && all[len(all)-1] != last {
		t.Errorf("CPUs are %v, but online are %s", all, online)
	}
	if arch := virsh(t, "nodeinfo"); !strings.Contains(arch, facts.Capabilities.CPU.Architecture) {
		t.Errorf("the architecture is %s, but %s", facts.Capabilities.CPU.Architecture, arch)
	}
}

// compareMachineTypes asks QEMU itself.
func compareMachineTypes(t *testing.T, a hypervisor.Architecture) {
	out, err := nodeA().Exec(t.Context(), "qemu-system-x86_64", "-machine", "help")
	check(t, err)
	names := map[string]bool{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] == "Supported" {
			continue
		}
		names[fields[0]] = true
		if _, rest, ok := strings.Cut(line, "(alias of "); ok {
			canonical, _, _ := strings.Cut(strings.TrimSpace(rest), ")")
			if a.Aliases[fields[0]] != canonical {
				t.Errorf("%s is an alias of %s, not of %q", fields[0], canonical, a.Aliases[fields[0]])
			}
			continue
		}
		listed, deprecated := slices.Contains(a.MachineTypes, fields[0]), strings.Contains(line, "deprecated")
		if !listed && fields[0] != "none" && !strings.HasPrefix(fields[0], "xenfv") && !strings.HasPrefix(fields[0], "xenpv") {
			t.Errorf("%s is not listed", fields[0])
		}
		if listed && deprecated != slices.Contains(a.Deprecated, fields[0]) {
			t.Errorf("%s is deprecated: %v", fields[0], deprecated)
		}
	}
	for _, name := range a.MachineTypes {
		if !names[name] {
			t.Errorf("QEMU does not know %s", name)
		}
	}
}

// compareMemory asks virsh and the kernel.
func compareMemory(t *testing.T, facts hypervisor.HostFacts) {
	free := strings.Fields(virsh(t, "freecell", "--cellno", "0"))
	if got, want := facts.Memory[0].FreeBytes, number(t, free[1])<<10; !near(got, want, 4<<30) || free[2] != "KiB" {
		t.Errorf("%d bytes are free, but virsh says %v", got, free)
	}
	for _, p := range facts.Capabilities.Cells[0].HugePages {
		dir := fmt.Sprintf("/sys/devices/system/node/node0/hugepages/hugepages-%dkB", p.SizeBytes>>10)
		for file, got := range map[string]uint64{"nr_hugepages": p.Total, "free_hugepages": facts.Memory[0].FreePages[p.SizeBytes]} {
			text, err := os.ReadFile(filepath.Join(dir, file))
			check(t, err)
			if want := number(t, strings.TrimSpace(string(text))); got != want {
				t.Errorf("of %d bytes, %s is %d, not %d", p.SizeBytes, file, got, want)
			}
		}
	}
	total := strings.Fields(virsh(t, "nodeinfo"))
	if got, want := facts.Capabilities.Cells[0].MemoryBytes, number(t, total[len(total)-2])<<10; !near(got, want, 4<<30) {
		t.Errorf("there are %d bytes, but virsh says %v", got, want)
	}
}

func compareNetworks(t *testing.T, facts hypervisor.HostFacts) {
	var names, active []string
	for _, n := range facts.Networks {
		names = append(names, n.Name)
		if n.Active {
			active = append(active, n.Name)
		}
	}
	slices.Sort(names)
	slices.Sort(active)
	if want := slices.Sorted(slices.Values(column(virsh(t, "net-list", "--all"), 0))); !slices.Equal(names, want) {
		t.Errorf("networks are %v, not %v", names, want)
	}
	if want := slices.Sorted(slices.Values(column(virsh(t, "net-list"), 0))); !slices.Equal(active, want) {
		t.Errorf("active are %v, not %v", active, want)
	}
	for _, want := range []hypervisor.Network{
		{Name: "facts-nat", Forward: "nat", Bridge: "virbr7"}, {Name: "facts-bridge", Active: true, Forward: "bridge", Bridge: "facts0"},
	} {
		if !slices.Contains(facts.Networks, want) {
			t.Errorf("there is no %+v in %+v", want, facts.Networks)
		}
	}
	out, err := nodeA().Exec(t.Context(), "ip", "-brief", "link", "show", "type", "bridge")
	check(t, err)
	for _, name := range column(out, 0) {
		if !slices.Contains(facts.Bridges, name) {
			t.Errorf("the bridge %s is not in %v", name, facts.Bridges)
		}
	}
}

func comparePools(t *testing.T, pools []hypervisor.StoragePool) {
	if len(pools) != 2 {
		t.Fatalf("there are %+v", pools)
	}
	slices.SortFunc(pools, func(a, b hypervisor.StoragePool) int { return strings.Compare(a.Name, b.Name) })
	if off := pools[1]; off.Name != "facts-off" || off.State != "Inactive" || off.CapacityBytes != nil || off.Path != "/srv/facts-off" {
		t.Errorf("got %+v", off)
	}
	on := pools[0]
	if on.Name != "facts-dir" || on.State != "Running" || on.Type != "dir" || on.Path != lab.PrivateDir {
		t.Errorf("got %+v", on)
	}
	shown := virsh(t, "pool-info", "--bytes", "facts-dir")
	for name, got := range map[string]*uint64{"Capacity:": on.CapacityBytes, "Available:": on.AvailableBytes} {
		_, rest, _ := strings.Cut(shown, name)
		if want := number(t, strings.Fields(rest)[0]); got == nil || *got != want {
			t.Errorf("%s %v, not %d", name, got, want)
		}
	}
	// That is as libvirt has seen it last: it does not look again to answer.
	file := nodeA().Path(lab.PrivateDir + "/facts-filler")
	check(t, os.WriteFile(file, make([]byte, 256<<20), 0o644))
	defer func() { check(t, os.Remove(file)) }()
	if after := virsh(t, "pool-info", "--bytes", "facts-dir"); after != shown {
		t.Logf("libvirt looked again:\n%s", after)
	}
	virsh(t, "pool-refresh", "facts-dir")
	if after := virsh(t, "pool-info", "--bytes", "facts-dir"); after == shown {
		t.Error("libvirt did not look again when it was told to")
	}
}

// TestE2EFactsOfAPartThatFails: one kind of fact that cannot be read hides no other.
func TestE2EFactsOfAPartThatFails(t *testing.T) {
	c := startClient(t, nodeA(), Config{CallTimeout: 5 * time.Second})
	restartDaemon(t, nodeA())
	eventually(t, 10*time.Second, func() error {
		facts, err := c.HostFacts(t.Context(), hypervisor.FactsMemory)
		if err == nil && len(facts.Memory) == 0 {
			err = fmt.Errorf("got %+v", facts)
		}
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.HostFacts(ctx, hypervisor.FactGroups()...); err == nil {
		t.Error("there are facts though nobody was asked")
	}
}
