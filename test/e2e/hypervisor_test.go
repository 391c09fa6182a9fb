//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
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

// awaitHypervisor waits until a node shows something.
func (e *environment) awaitHypervisor(t *testing.T, h *lab.Host, what string, holds func(*v1alpha1.Hypervisor) bool) *v1alpha1.Hypervisor {
	t.Helper()
	hv := &v1alpha1.Hypervisor{}
	for range 100 {
		if err := e.client.Get(t.Context(), client.ObjectKey{Name: h.Name()}, hv); err == nil && holds(hv) {
			return hv
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("waiting for %s to show %s: %+v", h.Name(), what, hv.Status.Conditions)
	return nil
}

// TestStrandedGuestsAreListed: QEMU itself says which machine types it will not have for long.
func TestStrandedGuestsAreListed(t *testing.T) {
	g := env.startGuest(t, env.b, lab.GuestConfig{Tiny: true, Machine: "pc-i440fx-1.7"})
	lists := func(hv *v1alpha1.Hypervisor) bool {
		return slices.ContainsFunc(hv.Status.StrandedGuests, func(s v1alpha1.StrandedGuest) bool {
			return s.UUID == g.UUID() && s.Name == g.Name() && s.MachineType == "pc-i440fx-1.7"
		})
	}
	env.awaitHypervisor(t, env.b, "the guest", func(hv *v1alpha1.Hypervisor) bool {
		c := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionGuestsUpgradable)
		return lists(hv) && c != nil && c.Status == metav1.ConditionFalse && strings.Contains(c.Message, g.Name())
	})
	if _, err := env.b.Virsh(t.Context(), "destroy", g.Name()); err != nil {
		t.Fatal(err)
	}
	env.awaitHypervisor(t, env.b, "that the guest is gone", func(hv *v1alpha1.Hypervisor) bool { return !lists(hv) })
}
