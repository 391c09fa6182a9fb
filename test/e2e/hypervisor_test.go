//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestHypervisorTellsOfItsHost: an administrator looks at what a node has, and that it is not
// written all the time.
func TestHypervisorTellsOfItsHost(t *testing.T) {
	get := func() *v1alpha1.Hypervisor {
		hv := &v1alpha1.Hypervisor{}
		if err := env.client.Get(t.Context(), client.ObjectKey{Name: env.b.Name()}, hv); err != nil {
			t.Fatal(err)
		}
		return hv
	}
	hv := get()
	host := hv.Status.Host
	if host == nil {
		t.Fatal("nothing is known of the host")
	}
	if len(host.Unread) > 0 || host.LibvirtSocket != "libvirt-sock" || host.KernelVersion == "" || host.CgroupVersion == 0 {
		t.Errorf("got %+v", host)
	}
	if host.CPU == nil || host.CPU.Offered == nil || host.CPU.Offered.HostModel == nil || *host.CPU.CPUCount == 0 {
		t.Errorf("the CPU is %+v", host.CPU)
	}
	own := host.Architectures.Items[0]
	if own.Name != host.CPU.Architecture || int(own.MachineTypeCount) != len(own.MachineTypes) || !slices.Contains(own.MachineTypes, "pc-q35-7.2") {
		t.Errorf("the architecture is %+v", own)
	}
	if m := host.Memory; m == nil || m.AvailableBytes == 0 || m.AvailableBytes > m.TotalBytes || host.NUMA.Cells[0].FreeBytes == nil {
		t.Errorf("the memory is %+v, in %+v", m, host.NUMA)
	}
	if p := host.MigrationPorts; p == nil || p.First > p.Last {
		t.Errorf("the ports are %+v", p)
	}
	if c := host.TLS.Control; c.Server.State != v1alpha1.CertificateReady || c.Authority.State != v1alpha1.CertificateReady || c.Server.NotAfter == nil {
		t.Errorf("the certificates are %+v", c)
	}
	if p := host.PostCopy; p == nil || p.State != v1alpha1.PostCopyAvailable {
		t.Errorf("post-copy is %+v", p) // The lab's QEMU runs as root.
	}
	text, err := json.Marshal(host)
	if err != nil || len(text) > 16<<10 || strings.Contains(string(text), "PRIVATE") || strings.Contains(string(text), "<") {
		t.Errorf("it takes %d bytes, %v: %s", len(text), err, text)
	}
	t.Logf("it takes %d bytes: %s", len(text), text)
	// Nothing that happens by itself has it written all the time. A guest of another test's
	// may have come or gone, or the machine be short of memory.
	before := hv.ResourceVersion
	time.Sleep(15 * time.Second)
	if after := get(); after.ResourceVersion != before {
		t.Logf("it was written again: %s, %s", before, after.ResourceVersion)
	}
}
