package hostfiles

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// files makes a file system of texts.
func files(texts map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range texts {
		out[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return out
}

func TestKernelAndControlGroups(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		files  map[string]string
		kernel string
		groups int
	}{
		"nothing":   {},
		"version 2": {map[string]string{"proc/sys/kernel/osrelease": "6.1.0-56-amd64\n", "sys/fs/cgroup/cgroup.controllers": "cpuset cpu\n"}, "6.1.0-56-amd64", 2},
		"version 1": {map[string]string{"sys/fs/cgroup/cpuset/tasks": ""}, "", 1},
		// Version 2 is there for systemd's own use; guests have version 1.
		"both":      {map[string]string{"sys/fs/cgroup/memory/tasks": "", "sys/fs/cgroup/unified/cgroup.controllers": ""}, "", 1},
		"no groups": {map[string]string{"sys/fs/cgroup/cpu": "a file"}, "", 0},
	} {
		system := files(tt.files)
		if kernel, groups := Kernel(system), CgroupVersion(system); kernel != tt.kernel || groups != tt.groups {
			t.Errorf("%s: got %q, %d", name, kernel, groups)
		}
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		want *Memory
	}{
		"as the kernel writes it": {
			"MemTotal:       24683620 kB\nMemFree:        1000 kB\nMemAvailable:   19959684 kB\nHugePages_Total:       3\n",
			&Memory{TotalBytes: 24683620 << 10, AvailableBytes: 19959684 << 10},
		},
		"an old kernel": {"MemTotal: 10 kB\nMemFree: 5 kB\n", nil},
		"another unit":  {"MemTotal: 10 MB\nMemAvailable: 5 MB\n", nil},
		"no number":     {"MemTotal: x kB\nMemAvailable: 5 kB\n", nil},
	} {
		if diff := cmp.Diff(tt.want, ReadMemory(files(map[string]string{"proc/meminfo": tt.text}))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := ReadMemory(files(nil)); got != nil {
		t.Errorf("of nothing, got %v", got)
	}
}

func TestPerfEvents(t *testing.T) {
	t.Parallel()
	const devices = "sys/bus/event_source/devices/"
	hybrid := map[string]string{
		devices + "cpu_core/events/cpu-cycles": "", devices + "cpu_core/events/slots": "", devices + "cpu_atom/events/cpu-cycles": "",
		devices + "cpu_atom/events/ref-cycles": "", devices + "cpu_atom/events/cache-misses.unit": "",
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"nothing is known":   {nil, nil},
		"none":               {map[string]string{devices + "breakpoint/type": "5"}, []string{}},
		"software":           {map[string]string{devices + "software/type": "1"}, softwareEvents},
		"two kinds of CPUs":  {hybrid, []string{"cpu_cycles", "ref_cpu_cycles"}},
		"a CPU without them": {map[string]string{devices + "cpu/type": "4"}, []string{}},
	} {
		if diff := cmp.Diff(tt.want, PerfEvents(files(tt.files))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if !slices.IsSorted(softwareEvents) {
		t.Error("the events are not in order")
	}
}

func TestUserfaultfd(t *testing.T) {
	t.Parallel()
	const setting, device = "proc/sys/vm/unprivileged_userfaultfd", "dev/userfaultfd"
	node := files(map[string]string{device: ""})
	node[device].Mode, node[device].Sys = fs.ModeCharDevice|0o660, &syscall.Stat_t{Uid: 0, Gid: 106}
	for name, tt := range map[string]struct {
		system map[string]string
		host   fs.FS
		want   Userfaultfd
	}{
		"nothing":       {nil, nil, Userfaultfd{}},
		"everybody":     {map[string]string{setting: "1\n"}, files(nil), Userfaultfd{Everybody: new(true)}},
		"not everybody": {map[string]string{setting: "0\n"}, nil, Userfaultfd{Everybody: new(false)}},
		"nonsense":      {map[string]string{setting: "yes\n"}, nil, Userfaultfd{}},
		"the device": {
			map[string]string{setting: "0\n", "sys/class/misc/userfaultfd/dev": "10:126\n"}, node,
			Userfaultfd{Everybody: new(false), HasDevice: true, Device: &Permissions{GID: 106, Mode: fs.ModeCharDevice | 0o660}},
		},
	} {
		if diff := cmp.Diff(tt.want, ReadUserfaultfd(files(tt.system), tt.host)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, tt := range map[string]struct {
		permissions Permissions
		uid, gid    uint32
		want        bool
	}{
		"root":                           {Permissions{Mode: 0}, 0, 0, true},
		"the owner":                      {Permissions{UID: 7, Mode: 0o600}, 7, 8, true},
		"the owner, who may not write":   {Permissions{UID: 7, Mode: 0o466}, 7, 8, false},
		"the group":                      {Permissions{GID: 8, Mode: 0o660}, 7, 8, true},
		"the group, which may not read":  {Permissions{GID: 8, Mode: 0o626}, 7, 8, false},
		"everybody":                      {Permissions{Mode: 0o666}, 7, 8, true},
		"everybody else may not read it": {Permissions{Mode: 0o660}, 7, 8, false},
	} {
		if got := tt.permissions.Allow(tt.uid, tt.gid); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestQEMUConfig(t *testing.T) {
	t.Parallel()
	const file = "etc/libvirt/qemu.conf"
	for name, tt := range map[string]struct {
		text string
		want QEMUConfig
	}{
		"nothing": {"", QEMUConfig{MigrationPortMin: 49152, MigrationPortMax: 49215}},
		"remarks": {"#migration_port_min = 1\n # migrate_tls_x509_cert_dir = \"/x\"\n", QEMUConfig{MigrationPortMin: 49152, MigrationPortMax: 49215}},
		"everything": {
			"migration_port_min = 50000\nmigration_port_max=50100 # many\ndefault_tls_x509_cert_dir = \"/etc/pki/a b\" # here\nmigrate_tls_x509_cert_dir = '/srv/m'\n",
			QEMUConfig{MigrationPortMin: 50000, MigrationPortMax: 50100, TLSDir: "/etc/pki/a b", MigrationTLSDir: "/srv/m"},
		},
		"what libvirt would not take": {
			"migration_port_min = many\nmigration_port_max = 99999\ndefault_tls_x509_cert_dir = /etc\nvnc_password = \"sesame\"\n",
			QEMUConfig{MigrationPortMin: 49152, MigrationPortMax: 49215},
		},
	} {
		got := ReadQEMUConfig(files(map[string]string{file: tt.text}))
		if diff := cmp.Diff(&tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := ReadQEMUConfig(files(map[string]string{"etc/libvirt/libvirtd.conf": ""})); got == nil || got.MigrationPortMin != 49152 {
		t.Errorf("without the file, got %v", got)
	}
	// Whether the file is there cannot be seen where the directory is not.
	if got := ReadQEMUConfig(files(map[string]string{"etc/pki/x": ""})); got != nil {
		t.Errorf("without the directory, got %v", got)
	}
	if got := ReadQEMUConfig(nil); got != nil {
		t.Errorf("without files, got %v", got)
	}
}

// TestWhatIsBehindALinkIsNotMissing: a link may lead to where only the host sees something.
func TestWhatIsBehindALinkIsNotMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, link := range [][2]string{{"/nowhere/at/all", "outside"}, {"inside-dir", "inside"}} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "inside-dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"absent": true, "absent/file": true, "outside": false, "outside/file": false, "inside/file": true, "inside-dir/file": true,
	} {
		_, err := read(os.DirFS(dir), name)
		if got := isMissing(os.DirFS(dir), name, err); got != want {
			t.Errorf("%s: missing is %v, after %v", name, got, err)
		}
	}
	if isMissing(os.DirFS(dir), "absent", fs.ErrPermission) {
		t.Error("what must not be read is missing")
	}
}

// TestAllPerfEvents are as many as the API has, in order.
func TestAllPerfEvents(t *testing.T) {
	t.Parallel()
	all := AllPerfEvents()
	if len(all) != 22 || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != 22 {
		t.Errorf("there are %d: %v", len(all), all)
	}
	if got := PerfEvents(files(map[string]string{"sys/bus/event_source/devices/intel_cqm/type": ""})); !slices.Equal(got, []string{"cmt", "mbml", "mbmt"}) {
		t.Errorf("of an old kernel, %v", got)
	}
}

func TestUptime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"89.50 170.33\n": 89*time.Second + 500*time.Millisecond, "0.00 0.00\n": 0, "": 0, "-1 2": 0, "1e300 2": 0, "soon 2": 0,
	} {
		if got := Uptime(files(map[string]string{"proc/uptime": text})); got != want {
			t.Errorf("of %q, it is %s, want %s", text, got, want)
		}
	}
	if got := Uptime(files(nil)); got != 0 {
		t.Errorf("without the file, it is %s", got)
	}
}
