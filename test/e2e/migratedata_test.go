//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// moveTo moves a guest from the first host to the second with migrate data, and
// returns its XML there: that of the running guest and the persistent one.
func moveTo(t *testing.T, g *lab.Guest, data *v1alpha1.MigrateData) (live, persistent string) {
	t.Helper()
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: env.b.Name(), MigrateData: data,
		Options: &v1alpha1.MigrationOptions{AllowUnsafe: new(true)},
	})
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	env.requireAbsent(t, g, env.a)
	return dumpXML(t, env.b, g), dumpXML(t, env.b, g, "--inactive")
}

func dumpXML(t *testing.T, h *lab.Host, g *lab.Guest, flags ...string) string {
	t.Helper()
	xml, err := h.Virsh(t.Context(), append([]string{"dumpxml", g.UUID()}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	return xml
}

// requireXML fails unless all the texts are in the XML.
func requireXML(t *testing.T, what, xml string, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(xml, text) {
			t.Errorf("the %s definition on the target lacks %q:\n%s", what, text, xml)
		}
	}
}

// TestVolumesMove gives a guest that writes to its disk all the time another
// way to the same data on the target.
func TestVolumesMove(t *testing.T) {
	for _, c := range []struct {
		name   string
		source func(t *testing.T, image string) (source *v1alpha1.VolumeSource, want []string)
	}{
		{"file", anotherName},
		{"block", blockDevice},
		{"nbd", networkBlockDevice},
		{"nbd-socket", networkBlockSocket},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := lab.SharedDir + "/volume-" + c.name + ".img"
			disk := lab.Disk{Path: image, SizeMiB: 16, Serial: "data-" + c.name}
			g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Disks: []lab.Disk{disk}, Load: lab.Load{DiskMiBps: 1}})
			awaitWrites(t, image, 0)
			source, want := c.source(t, image)
			live, persistent := moveTo(t, g, &v1alpha1.MigrateData{
				Volumes: []v1alpha1.VolumeMigrateData{{Serial: new(disk.Serial), Source: source}},
			})
			for what, xml := range map[string]string{"live": live, "persistent": persistent} {
				requireXML(t, what, xml, want...)
				if strings.Contains(xml, image) {
					t.Errorf("the %s definition on the target names %s:\n%s", what, image, xml)
				}
			}
			awaitWrites(t, image, lastWrite(t, image))
		})
	}
}

// anotherName is a second hard link to the image.
func anotherName(t *testing.T, image string) (*v1alpha1.VolumeSource, []string) {
	t.Helper()
	link := strings.TrimSuffix(image, ".img") + "-linked.img"
	if err := os.Link(env.b.Path(image), env.b.Path(link)); err != nil {
		t.Fatal(err)
	}
	return &v1alpha1.VolumeSource{File: &v1alpha1.PathSource{Path: link}},
		[]string{"<disk type='file'", "<source file='" + link + "'"}
}

// blockDevice is a loop device on the image.
func blockDevice(t *testing.T, image string) (*v1alpha1.VolumeSource, []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", env.b.Path(image)).Output()
	if err != nil {
		t.Fatalf("setting a loop device up: %v", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { // While the guest still runs, the kernel only notes it.
		if err := exec.Command("losetup", "--detach", device).Run(); err != nil {
			t.Errorf("detaching %s: %v", device, err)
		}
	})
	return &v1alpha1.VolumeSource{Block: &v1alpha1.PathSource{Path: device}},
		[]string{"<disk type='block'", "<source dev='" + device + "'"}
}

// networkBlockDevice is the image, served by TCP on the target.
func networkBlockDevice(t *testing.T, image string) (*v1alpha1.VolumeSource, []string) {
	t.Helper()
	const port = 10809
	serveNBD(t, image, "--bind="+env.b.Address(), "--port="+strconv.Itoa(port))
	return &v1alpha1.VolumeSource{Network: &v1alpha1.NetworkVolumeSource{
			Protocol: "nbd", Name: new("disk"), Hosts: []v1alpha1.VolumeHost{{Host: new(env.b.Address()), Port: new(int32(port))}},
		}}, []string{
			"<disk type='network'", "<source protocol='nbd' name='disk'",
			fmt.Sprintf("<host name='%s' port='%d'/>", env.b.Address(), port),
		}
}

// networkBlockSocket is the image, served by a socket on the target.
func networkBlockSocket(t *testing.T, image string) (*v1alpha1.VolumeSource, []string) {
	t.Helper()
	const socket = "/run/libvirt/volume.sock"
	serveNBD(t, image, "--socket="+socket)
	return &v1alpha1.VolumeSource{Network: &v1alpha1.NetworkVolumeSource{
			Protocol: "nbd", Name: new("disk"), Hosts: []v1alpha1.VolumeHost{{Transport: new(v1alpha1.HostTransport("unix")), SocketPath: new(socket)}},
		}}, []string{
			"<disk type='network'", "<source protocol='nbd' name='disk'", "<host transport='unix' socket='" + socket + "'/>",
		}
}

// serveNBD serves an image on the target until the test ends. The guest on the
// source holds the image's lock, so the server takes none.
func serveNBD(t *testing.T, image string, where ...string) {
	t.Helper()
	pidFile := "/run/libvirt/" + filepath.Base(image) + ".pid"
	args := append([]string{
		"--fork", "--persistent", "--shared=0", "--export-name=disk", "--pid-file=" + pidFile,
		"--image-opts", "driver=raw,file.driver=file,file.locking=off,file.filename=" + image,
	}, where...)
	if _, err := env.b.Exec(t.Context(), "qemu-nbd", args...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := env.b.Exec(context.Background(), "sh", "-c", `kill "$(cat "$1")"`, "sh", pidFile); err != nil {
			t.Error(err)
		}
	})
}

var writeNumber = regexp.MustCompile(`^write (\d+)\n`)

// lastWrite is the number of the guest's last write to the image.
func lastWrite(t *testing.T, image string) int {
	t.Helper()
	const block = 64 << 10 // The guest's writes are of this size.
	f, err := os.Open(env.b.Path(image))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last, head := 0, make([]byte, 32)
	for offset := int64(0); ; offset += block {
		n, err := f.ReadAt(head, offset)
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if n < len(head) {
			return last
		}
		if found := writeNumber.FindSubmatch(bytes.TrimRight(head, "\x00")); found != nil {
			number, err := strconv.Atoi(string(found[1]))
			if err != nil {
				t.Fatal(err)
			}
			last = max(last, number)
		}
	}
}

// awaitWrites waits until the guest has gone on writing to the image.
func awaitWrites(t *testing.T, image string, after int) {
	t.Helper()
	const enough = 8
	for deadline := time.Now().Add(30 * time.Second); lastWrite(t, image) < after+enough; time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatalf("the guest's last write to %s is its %dth, and was its %dth before", image, lastWrite(t, image), after)
		}
	}
}

// TestInterfacesMove plugs one of a guest's interfaces into another bridge, and
// leaves the other where it is.
func TestInterfacesMove(t *testing.T) {
	const moved, kept = "52:54:00:76:66:01", "52:54:00:76:66:02"
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, NICs: []lab.NIC{
		{Bridge: lab.LocalBridge, MAC: moved}, {Bridge: lab.LocalBridge, MAC: kept},
	}})
	live, persistent := moveTo(t, g, &v1alpha1.MigrateData{Interfaces: []v1alpha1.InterfaceMigrateData{
		{
			MACAddress:   moved,
			Source:       &v1alpha1.InterfaceSource{Bridge: &v1alpha1.BridgeInterfaceSource{Name: lab.GuestBridge}},
			TargetDevice: new("moved-nic"),
		},
		{MACAddress: kept},
	}})
	requireXML(t, "live", live, "<source bridge='"+lab.GuestBridge+"'/>", "<target dev='moved-nic'/>", "<source bridge='"+lab.LocalBridge+"'/>")
	requireXML(t, "persistent", persistent, "<source bridge='"+lab.GuestBridge+"'/>", "<source bridge='"+lab.LocalBridge+"'/>")
	for bridge, mac := range map[string]string{lab.GuestBridge: moved, lab.LocalBridge: kept} {
		// The host's end of a tap device has the guest's address but for the first byte.
		links, err := env.b.Exec(t.Context(), "ip", "-br", "link", "show", "master", bridge)
		if err != nil || !strings.Contains(links, strings.TrimPrefix(mac, "52")) {
			t.Errorf("%s is not plugged into %s (%v):\n%s", mac, bridge, err, links)
		}
	}
}

// TestPlacementMoves moves a guest that is pinned, has its memory in an
// anonymous file, listens on serial ports and counts perf events.
func TestPlacementMoves(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Persistent: true, VCPUs: 2, TCPSerials: []int{17011, 17012},
		ExtraXML: `<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
<cputune>
  <vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='0'/><emulatorpin cpuset='0'/>
</cputune>
<perf><event name='page_faults' enabled='yes'/><event name='context_switches' enabled='yes'/></perf>`,
	})
	live, persistent := moveTo(t, g, &v1alpha1.MigrateData{
		Serial:     &v1alpha1.SerialMigrateData{ListenAddress: new(env.b.Address()), Ports: []int32{18010, 18011, 18012}},
		PerfEvents: []v1alpha1.PerfEvent{"page_faults"},
		NUMA: &v1alpha1.NUMAMigrateData{
			VCPUPins:    []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: "1"}, {VCPU: 1, HostCPUs: "0-1"}},
			EmulatorPin: new(v1alpha1.CPUSet("1")),
		},
	})
	for what, xml := range map[string]string{"live": live, "persistent": persistent} {
		requireXML(t, what, xml,
			"<vcpupin vcpu='0' cpuset='1'/>", "<vcpupin vcpu='1' cpuset='0-1'/>", "<emulatorpin cpuset='1'/>",
			"<source type='memfd'/>", "<access mode='shared'/>", "<event name='page_faults' enabled='yes'/>",
			"host='"+env.b.Address()+"' service='18011'", "host='"+env.b.Address()+"' service='18012'")
		if strings.Contains(xml, "context_switches") {
			t.Errorf("the %s definition on the target counts an event that it was not to:\n%s", what, xml)
		}
	}
	requirePinned(t, g, map[string]string{"CPU 0/TCG": "1", "CPU 1/TCG": "0-1", "qemu-system-x86": "1"})
	if listening, err := env.b.Listening(t.Context()); err != nil || !strings.Contains(fmt.Sprint(listening), env.b.Address()+":18012") {
		t.Errorf("the serial ports are not at 18011 and 18012 (%v): %v", err, listening)
	}
	if stats, err := env.b.Virsh(t.Context(), "domstats", "--perf", g.UUID()); err != nil || !strings.Contains(stats, "perf.page_faults=") {
		t.Errorf("libvirt does not count page faults (%v): %s", err, stats)
	}
}

// TestNUMAMoves moves a guest with NUMA cells whose memory is bound to nodes of
// its host, with pins for its I/O threads, too. The hosts have but one node; all
// of it goes there, from what was bound and from what was not.
func TestNUMAMoves(t *testing.T) {
	for _, c := range []struct{ name, binding string }{
		{"bound", `<numatune>
  <memory mode='strict' nodeset='0'/>
  <memnode cellid='0' mode='strict' nodeset='0'/><memnode cellid='1' mode='preferred' nodeset='0'/>
</numatune>`},
		{"unbound", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := env.startGuest(t, env.a, lab.GuestConfig{
				Name: "numa-" + c.name, Persistent: true, VCPUs: 2,
				ExtraXML: `<iothreads>1</iothreads>
<cputune>
  <vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='0'/><emulatorpin cpuset='0'/><iothreadpin iothread='1' cpuset='0'/>
</cputune>
` + c.binding + `
<cpu><numa>
  <cell id='0' cpus='0' memory='64' unit='MiB'/><cell id='1' cpus='1' memory='64' unit='MiB'/>
</numa></cpu>`,
			})
			live, persistent := moveTo(t, g, &v1alpha1.MigrateData{NUMA: &v1alpha1.NUMAMigrateData{
				VCPUPins:     []v1alpha1.VCPUPin{{VCPU: 0, HostCPUs: "1"}, {VCPU: 1, HostCPUs: "0-1"}},
				EmulatorPin:  new(v1alpha1.CPUSet("1")),
				IOThreadPins: []v1alpha1.IOThreadPin{{IOThread: 1, HostCPUs: "1"}},
				CellPins:     []v1alpha1.CellPin{{Cell: 0, HostNodes: "0"}, {Cell: 1, HostNodes: "0"}},
				MemoryNodes:  new(v1alpha1.CPUSet("0")),
			}})
			for what, xml := range map[string]string{"live": live, "persistent": persistent} {
				requireXML(t, what, xml,
					"<vcpupin vcpu='0' cpuset='1'/>", "<vcpupin vcpu='1' cpuset='0-1'/>", "<emulatorpin cpuset='1'/>",
					"<iothreadpin iothread='1' cpuset='1'/>", "<memory mode='strict' nodeset='0'/>",
					"<memnode cellid='0' mode='strict' nodeset='0'/>", "<memnode cellid='1' mode=", "<cell id='1' cpus='1' memory='65536'")
			}
			requirePinned(t, g, map[string]string{
				"CPU 0/TCG": "1", "CPU 1/TCG": "0-1", "qemu-system-x86": "1", "IO iothread1": "1",
			})
			requireBound(t, g)
		})
	}
}

// requireBound fails unless the kernel keeps memory of the guest on the node
// that TestNUMAMoves asks for.
func requireBound(t *testing.T, g *lab.Guest) {
	t.Helper()
	processes, err := env.b.Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if !strings.Contains(p.Command, g.UUID()) {
			continue
		}
		maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/numa_maps", p.PID))
		if errors.Is(err, os.ErrNotExist) {
			t.Log("this kernel knows no NUMA, so there is nothing to see of it")
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(maps), " bind:0 ") || strings.Contains(string(maps), " bind=static:0 ") {
			return
		}
		t.Errorf("no memory is bound to the node 0:\n%s", maps)
		return
	}
	t.Error("the guest has no process")
}

// requirePinned fails unless the kernel keeps the guest's threads of these names
// on these CPUs.
func requirePinned(t *testing.T, g *lab.Guest, want map[string]string) {
	t.Helper()
	processes, err := env.b.Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if !strings.Contains(p.Command, g.UUID()) {
			continue
		}
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.PID))
		if err != nil {
			t.Fatal(err)
		}
		for _, thread := range threads {
			status, err := os.ReadFile(thread)
			if err != nil {
				continue // The thread has ended.
			}
			name, cpus := statusField(status, "Name"), statusField(status, "Cpus_allowed_list")
			if allowed, known := want[name]; known {
				if cpus != allowed {
					t.Errorf("the thread %q may run on the CPUs %s, want %s", name, cpus, allowed)
				}
				delete(want, name)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("the guest's process has no threads %v", want)
	}
}

// statusField reads one field of a file such as /proc/self/status.
func statusField(status []byte, name string) string {
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestMemoryInFiles: memory that is in files stays in files, and what becomes of
// them can change. Memory that is not cannot move into files: libvirt would
// refuse, so nothing is even tried.
func TestMemoryInFiles(t *testing.T) {
	data := &v1alpha1.MigrateData{MemoryBacking: &v1alpha1.MemoryBackingMigrateData{
		FileBacking: v1alpha1.FileBackingRequired, Discard: new(v1alpha1.ToggleEnabled),
	}}
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Name: "files", Persistent: true,
		ExtraXML: `<memoryBacking><source type='file'/><access mode='shared'/><allocation mode='immediate'/></memoryBacking>`,
	})
	live, persistent := moveTo(t, g, data)
	for what, xml := range map[string]string{"live": live, "persistent": persistent} {
		requireXML(t, what, xml, "<source type='file'/>", "<access mode='shared'/>", "<allocation mode='immediate'/>", "<discard/>")
	}

	g = env.startGuest(t, env.a, lab.GuestConfig{Name: "none", Persistent: true})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), MigrateData: data})
	lm = env.awaitReason(t, lm, v1alpha1.ReasonInvalidMigrateData)
	if message := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded).Message; !strings.Contains(message, "spec.migrateData.memoryBacking.fileBacking: ") {
		t.Errorf("the message does not say what is refused: %s", message)
	}
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)
}

// TestBadMigrateDataTouchesNothing: all that is wrong is said at once, before
// anything is done.
func TestBadMigrateDataTouchesNothing(t *testing.T) {
	disk := lab.Disk{Path: lab.SharedDir + "/bad-data.img", SizeMiB: 16, Serial: "data"}
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Persistent: true, VNC: &lab.VNC{}, Disks: []lab.Disk{disk}, NICs: []lab.NIC{{MAC: "52:54:00:76:66:03"}},
	})
	before, kept := dumpXML(t, env.a, g), dumpXML(t, env.a, g, "--inactive")
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: env.b.Name(),
		Options: &v1alpha1.MigrationOptions{AllowUnsafe: new(true)},
		MigrateData: &v1alpha1.MigrateData{
			Volumes: []v1alpha1.VolumeMigrateData{{Serial: new("another")}},
			Interfaces: []v1alpha1.InterfaceMigrateData{{
				MACAddress: "52:54:00:76:66:04",
				Source:     &v1alpha1.InterfaceSource{Bridge: &v1alpha1.BridgeInterfaceSource{Name: lab.GuestBridge}},
			}},
			NUMA:        &v1alpha1.NUMAMigrateData{VCPUPins: []v1alpha1.VCPUPin{{VCPU: 7, HostCPUs: "0"}}},
			VirtualPMEM: []v1alpha1.VirtualPMEMMigrateData{{Path: lab.SharedDir + "/pmem"}},
		},
	})
	lm = env.awaitReason(t, lm, v1alpha1.ReasonInvalidMigrateData)
	message := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded).Message
	for _, problem := range []string{
		"spec.migrateData.volumes[0].serial: ", "spec.migrateData.volumes: ",
		"spec.migrateData.interfaces[0].macAddress: ", "spec.migrateData.interfaces: ",
		"spec.migrateData.numa.vcpuPins[0]: ", "spec.migrateData.virtualPMEM: ",
	} {
		if !strings.Contains(message, problem) {
			t.Errorf("the message does not tell of %q:\n%s", problem, message)
		}
	}
	if lm.Status.Phase != v1alpha1.PhaseFailed || lm.Status.Source.StartRequestedTime != nil {
		t.Error("the migration was started", describe(lm))
	}
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)
	if dumpXML(t, env.a, g) != before || dumpXML(t, env.a, g, "--inactive") != kept {
		t.Error("the guest is not on the source what it was")
	}
	if gap := g.Ticks().LargestGap(lm.CreationTimestamp.Time, time.Now()); gap.Stopped > 3*time.Second {
		t.Errorf("the guest stood still for %s", gap.Stopped)
	}
}
