//go:build linux

package lab

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func itoa(n int) string    { return strconv.Itoa(n) }
func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

func TestParseListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B0200C0:170C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0
   1: 0B0200C0:407D 0C0200C0:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0
`
	const table6 = `  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0
`
	for _, c := range []struct{ table, want string }{
		{table, "[192.0.2.11:5900]"}, {table6, "[[::1]:80]"}, {"header only\n", "[]"},
	} {
		got, err := parseListening(c.table)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("got %v, %v, want %s", got, err, c.want)
		}
	}
	for _, bad := range []string{"0B0200C0", "0B0200:0050", "XX0200C0:0050", "0B0200C0:XXXX"} {
		if _, err := parseListening("header\n 0: " + bad + " 0:0 0A\n"); err == nil {
			t.Errorf("%q is taken for an address", bad)
		}
	}
}

func TestHostsHaveNamesAndAddressesInOrder(t *testing.T) {
	for index, want := range map[int]string{0: "node-a 192.0.2.11", 1: "node-b 192.0.2.12", 25: "node-z 192.0.2.36"} {
		h := newHost(&Lab{}, index)
		if got := h.Name() + " " + h.Address(); got != want {
			t.Errorf("host %d is %s, want %s", index, got, want)
		}
	}
	l := &Lab{dir: t.TempDir(), network: &network{}}
	for range maxHosts {
		if _, err := l.newHost(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.newHost(); err == nil {
		t.Error("there is a host without a name")
	}
	table, err := os.ReadFile(l.hostsFile())
	if err != nil || !strings.Contains(string(table), "192.0.2.36 node-z\n") {
		t.Errorf("the hosts file is %q, %v", table, err)
	}
}

func TestKernelDependency(t *testing.T) {
	for depends, want := range map[string]string{
		"linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)\n":         "linux-image-6.1.0-56-cloud-amd64=6.1.192-2",
		"initramfs-tools, linux-image-6.1.0-56-cloud-amd64":        "linux-image-6.1.0-56-cloud-amd64",
		"linux-image-6.1.0-56-cloud-amd64 (>= 6.1.192-2), another": "linux-image-6.1.0-56-cloud-amd64",
		"initramfs-tools": "",
		"":                "",
	} {
		got, err := kernelDependency(depends)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q gives %q, %v, want %q", depends, got, err, want)
		}
	}
}

func TestIsPersistent(t *testing.T) {
	for info, want := range map[string]bool{
		"Name: x\nPersistent:     yes\nAutostart: no": true, "Persistent:     no\n": false, "Autostart: yes": false,
	} {
		if got := isPersistent(info); got != want {
			t.Errorf("%q gives %t", info, got)
		}
	}
}

func TestMissingToolsAreNamedOnce(t *testing.T) {
	lookPath := func(name string) (string, error) {
		if name == "there" {
			return "/bin/there", nil
		}
		return "", errors.New("not found")
	}
	got := missingTools([]tool{{"there", "a"}, {"gone", "b"}, {"gone", "b"}, {"lost", ""}}, lookPath)
	if want := []string{"gone (package b)", "lost (https://go.dev/dl)"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCommandLine(t *testing.T) {
	const always = "console=ttyS0 loglevel=1 panic=-1 virtferry.control=/dev/ttyS3"
	for _, c := range []struct {
		name   string
		config GuestConfig
		want   string
	}{
		{"nothing chosen", GuestConfig{}, always},
		{"all chosen", GuestConfig{
			TickPeriod: 100 * time.Millisecond, Disks: []Disk{{}},
			Load: Load{WorkingSetMiB: 64, DirtyMiBps: 50, Pattern: "hotspot", DiskMiBps: 3},
		}, always + " virtferry.period=100ms virtferry.wss=64 virtferry.dirty=50 virtferry.pattern=hotspot virtferry.disk=/dev/vda virtferry.diskrate=3"},
		{"words for the kernel", GuestConfig{KernelWords: []string{"pti=on", "nosmp"}}, always + " pti=on nosmp"},
		{"a network card", GuestConfig{NICs: []NIC{{}}}, always},
		{"an address", GuestConfig{NICs: []NIC{{Address: netip.MustParseAddr("198.51.100.11")}}}, always + " virtferry.address=198.51.100.11/24"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := commandLine(c.config); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestWhoMayHaveAnAddress: what the guest's program can do with it.
func TestWhoMayHaveAnAddress(t *testing.T) {
	good := netip.MustParseAddr("198.51.100.11")
	for name, c := range map[string]struct {
		config GuestConfig
		want   bool
	}{
		"the first card":           {GuestConfig{NICs: []NIC{{Address: good}, {}}}, true},
		"another one":              {GuestConfig{NICs: []NIC{{}, {Address: good}}}, false},
		"a tiny guest":             {GuestConfig{Tiny: true, NICs: []NIC{{Address: good}}}, false},
		"one of another network":   {GuestConfig{NICs: []NIC{{Address: netip.MustParseAddr("192.0.2.11")}}}, false},
		"no address, a tiny guest": {GuestConfig{Tiny: true, NICs: []NIC{{}}}, true},
	} {
		c.config.Name = "guest"
		if _, err := c.config.withDefaults(); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMemoryBesideTheWorkingSet: a guest that has none to spare panics when it
// boots, and the tests that take it for their own fault are others each time.
func TestMemoryBesideTheWorkingSet(t *testing.T) {
	for name, c := range map[string]struct {
		config GuestConfig
		want   int // 0 means refused.
	}{
		"no working set":    {GuestConfig{}, 128},
		"a small one":       {GuestConfig{Load: Load{WorkingSetMiB: 32}}, 128},
		"a larger one":      {GuestConfig{Load: Load{WorkingSetMiB: 64}}, 160},
		"a tiny guest":      {GuestConfig{Tiny: true}, tinyMemoryMiB},
		"memory chosen":     {GuestConfig{MemoryMiB: 288, Load: Load{WorkingSetMiB: 192}}, 288},
		"too little chosen": {GuestConfig{MemoryMiB: 128, Load: Load{WorkingSetMiB: 64}}, 0},
	} {
		c.config.Name = "guest"
		got, err := c.config.withDefaults()
		if (err == nil) != (c.want != 0) || (err == nil && got.MemoryMiB != c.want) {
			t.Errorf("%s: %d MiB and %v, want %d", name, got.MemoryMiB, err, c.want)
		}
	}
}

func TestDomainXML(t *testing.T) {
	config, err := GuestConfig{
		Name: "a&b", VNC: &VNC{Password: "it's"}, TCPSerials: []int{7001, 7002}, NICs: []NIC{{}, {Bridge: LocalBridge, MAC: "52:54:00:00:00:01"}},
		Disks: []Disk{{Path: SharedDir + "/a.raw"}, {Path: PrivateDir + "/b", Format: "qcow2", Serial: "s"}}, ExtraXML: "<x/>",
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	text, err := domainXML(config, "192.0.2.11")
	if err != nil {
		t.Fatal(err)
	}
	var domain struct {
		Name    string `xml:"name"`
		UUID    string `xml:"uuid"`
		Memory  int    `xml:"memory"`
		Serials []struct {
			Source struct {
				Service string `xml:"service,attr"`
				Host    string `xml:"host,attr"`
			} `xml:"source"`
			Target struct {
				Port int `xml:"port,attr"`
			} `xml:"target"`
		} `xml:"devices>serial"`
		Bridges []struct {
			Source struct {
				Bridge string `xml:"bridge,attr"`
			} `xml:"source"`
		} `xml:"devices>interface"`
		Disks []struct {
			Target struct {
				Dev string `xml:"dev,attr"`
			} `xml:"target"`
		} `xml:"devices>disk"`
		Graphics struct {
			Password string `xml:"passwd,attr"`
			Listen   struct {
				Address string `xml:"address,attr"`
			} `xml:"listen"`
		} `xml:"devices>graphics"`
	}
	if err := xml.Unmarshal([]byte(text), &domain); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	got := fmt.Sprintf("%s %t %d %v %v %v %v", domain.Name, domain.UUID == config.UUID, domain.Memory, domain.Serials, domain.Bridges, domain.Disks, domain.Graphics)
	want := "a&b true 128 [{{ } {0}} {{7001 192.0.2.11} {1}} {{7002 192.0.2.11} {2}} {{ } {3}}] [{{br0}} {{br-guest}}] [{{vda}} {{vdb}}] {it's {192.0.2.11}}"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBadGuestsAreRefused(t *testing.T) {
	for name, config := range map[string]GuestConfig{
		"no name":          {},
		"a name with a /":  {Name: "a/b"},
		"too many serials": {Name: "g", TCPSerials: []int{1, 2, 3}},
	} {
		if _, err := config.withDefaults(); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestUniqueName(t *testing.T) {
	taken := []*Component{{name: "manager"}, {name: "manager-2"}}
	for name, want := range map[string]string{"manager": "manager-3", "agent-node-a": "agent-node-a"} {
		if got := uniqueName(name, taken); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
}

func TestManifestsAreReadInTheOrderOfNeed(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"1.yaml":             "kind: Role\nmetadata: {name: r}\n---\n# Nothing.\n---\nkind: CustomResourceDefinition\nmetadata: {name: c}\n",
		"2.yml":              "kind: Namespace\nmetadata: {name: ns}\n",
		"kustomization.yaml": "resources: [1.yaml]\n",
		"notes.txt":          "kind: Note\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := readManifests([]string{dir, filepath.Join(dir, "2.yml")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, o.GetKind()+" "+o.GetName())
	}
	if want := []string{"CustomResourceDefinition c", "Namespace ns", "Namespace ns", "Role r"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := readManifests([]string{filepath.Join(dir, "absent.yaml")}); err == nil {
		t.Error("a manifest that does not exist is no error")
	}
}

func TestCpioIsReadableAndReproducible(t *testing.T) {
	write := func() []byte {
		var out bytes.Buffer
		w := newCpio(&out)
		w.directory("dev", 0o755)
		w.file("init", 0o755, []byte("five!"))
		w.file("empty", 0o644, nil)
		if err := w.finish(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	archive := write()
	if !bytes.Equal(archive, write()) {
		t.Error("the same contents make different archives")
	}
	if len(archive)%4 != 0 {
		t.Errorf("the archive is %d bytes long, which is not padded", len(archive))
	}
	if want := "070701" + "00000002" + "000081ed"; !bytes.Contains(archive, []byte(want)) {
		t.Errorf("no header of an executable file, %s, in %q", want, archive)
	}
	program, err := exec.LookPath("cpio")
	if err != nil {
		t.Log("cpio is not installed; not asking it")
		return
	}
	cmd := exec.CommandContext(t.Context(), program, "--list", "--verbose")
	cmd.Stdin = bytes.NewReader(archive)
	list, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(list), "drwxr-xr-x") || !strings.Contains(string(list), "init") {
		t.Errorf("cpio says %v: %s", err, list)
	}
}

func TestReservedPortsAreNobodyElses(t *testing.T) {
	p, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer p.free()
	other, err := reservePort()
	if err != nil {
		t.Fatal(err)
	}
	defer other.free()
	if p.number == 0 || p.number == other.number {
		t.Errorf("the ports are %s and %s", p, other)
	}
	if got, want := p.url("http"), "http://127.0.0.1:"+p.String(); got != want {
		t.Errorf("the URL is %s, want %s", got, want)
	}
}
