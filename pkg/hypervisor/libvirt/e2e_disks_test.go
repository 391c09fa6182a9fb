//go:build e2e

package libvirt

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/test/lab"
)

const mib = 1 << 20

// loopDevice returns a block device on a new, sparse image of the host.
func loopDevice(t *testing.T, host *lab.Host, sizeMiB int) string {
	t.Helper()
	image := lab.Disk{Path: lab.PrivateDir + "/" + t.Name() + ".img", SizeMiB: sizeMiB}
	if err := host.MakeDisk(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", host.Path(image.Path)).Output()
	if err != nil {
		t.Fatalf("setting a loop device up: %v", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if err := exec.Command("losetup", "--detach", device).Run(); err != nil {
			t.Errorf("detaching %s: %v", device, err)
		}
	})
	return device
}

// writeFile writes a file that virsh can read.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.xml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestE2EDisksCountByTheirCapacity: while disks are copied, the job's total is their
// real size, that of a sparse file and that of a block device, whatever of them is
// allocated. Timeouts per GiB go by it. The memory's turn comes afterwards.
func TestE2EDisksCountByTheirCapacity(t *testing.T) {
	const fileMiB, deviceMiB = 48, 32
	a := startClient(t, nodeA(), Config{})
	from, to := loopDevice(t, nodeA(), deviceMiB), loopDevice(t, nodeB(), deviceMiB)
	disk := lab.Disk{Path: lab.PrivateDir + "/carried.qcow2", Format: "qcow2", SizeMiB: fileMiB}
	guest := startGuest(t, nodeA(), lab.GuestConfig{Name: "carrier", Disks: []lab.Disk{disk}})
	uuid := guest.UUID()
	if err := nodeB().MakeDisk(t.Context(), disk); err != nil {
		t.Fatal(err)
	}
	device := writeFile(t, fmt.Sprintf("<disk type='block'><driver name='qemu' type='raw'/><source dev='%s'/><target dev='vdz' bus='virtio'/></disk>", from))
	if _, err := nodeA().Virsh(t.Context(), "attach-device", uuid, device, "--live"); err != nil {
		t.Fatal(err)
	}
	xml, err := a.DomainXML(t.Context(), uuid, hypervisor.XMLMigratable)
	if err != nil {
		t.Fatal(err)
	}
	definition := writeFile(t, strings.ReplaceAll(string(xml), from, to))
	samples := sampleJobs(t, nodeA(), nodeB(), uuid)
	returned := make(chan error, 1)
	go func() {
		_, err := nodeA().Virsh(t.Context(), "migrate", "--live", "--p2p", "--copy-storage-all", "--bandwidth", "40", "--xml", definition, uuid, nodeB().PeerURI())
		returned <- err
	}()
	var disks, both hypervisor.JobStats
	for running := true; running; {
		select {
		case err := <-returned:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		case <-time.After(50 * time.Millisecond):
			switch stats, err := a.JobStats(t.Context(), uuid); {
			case err != nil || stats.Disk.TotalBytes == 0:
			case stats.Memory.TotalBytes == 0:
				disks = stats
			default:
				both = stats
			}
		}
	}
	samples.stop(t)
	for phase, stats := range map[string]hypervisor.JobStats{"the disks are copied": disks, "the memory is copied": both} {
		if want := uint64(fileMiB+deviceMiB) * mib; stats.Disk.TotalBytes != want {
			t.Errorf("while %s, the disks have %d bytes, want %d: %+v", phase, stats.Disk.TotalBytes, want, stats)
		}
	}
	if both.Disk.RemainingBytes != 0 {
		t.Errorf("while the memory is copied, the disks lack %d bytes", both.Disk.RemainingBytes)
	}
	if on := guest.RunningOn(t.Context()); on != nodeB() {
		t.Errorf("the guest runs on %v", on)
	}
}
