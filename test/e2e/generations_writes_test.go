//go:build e2e

package e2e

import (
	"slices"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/versions"
	"github.com/virtferry/virtferry/test/lab"
)

// losesWrites reports whether the versions of two hosts are ones between which writes of emulated
// guests, as all of the lab are, get lost where post-copy is allowed. rules.yaml says why.
func (e *environment) losesWrites(t *testing.T, from, to *lab.Host) bool {
	t.Helper()
	of := func(h *lab.Host) versions.Host {
		hv := &v1alpha1.Hypervisor{}
		if err := e.client.Get(t.Context(), client.ObjectKey{Name: h.Name()}, hv); err != nil {
			t.Fatal(err)
		}
		return versions.Host{Node: h.Name(), Libvirt: hv.Status.LibvirtVersion, QEMU: hv.Status.HypervisorVersion}
	}
	found := versions.Check(of(from), of(to), versions.UseEmulation, versions.UsePostCopy)
	return slices.ContainsFunc(found, func(f versions.Finding) bool { return f.ID == string(v1alpha1.FaultEmulatedWritesLost) })
}

// keepingWrites are words for the kernel of a guest that leaves such a QEMU with post-copy allowed
// all the same. With them, it changes its page tables whenever its kernel is entered or left, some
// hundreds of times a second. QEMU forgets by that to which pages the emulated processor writes
// without telling, which otherwise lasts until such a page has been sent and written again.
func keepingWrites() []string { return []string{"pti=on"} }

// TestGenerationsKeepWrites: where QEMU does not send all that an emulated guest writes, the guest
// is refused before it has moved, unless its user says otherwise. It goes without post-copy.
func TestGenerationsKeepWrites(t *testing.T) {
	from := hostOf(t, lab.Forky)
	others := slices.DeleteFunc(slices.Clone(env.lab.Hosts()), func(h *lab.Host) bool { return h == from })
	to := others[len(others)-1]
	if !env.losesWrites(t, from, to) {
		t.Skipf("QEMU on %s sends all that its guests write", from.Generation())
	}
	g := env.startGuest(t, from, lab.GuestConfig{Persistent: true, Machine: "pc-q35-7.2"})
	requireRefused(t, g, from, to, &v1alpha1.MigrationOptions{AllowPostCopy: new(true)}, v1alpha1.BlockerVersionUnsupported, from.Name(), "allowPostCopy")
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name()})
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, to)
}
