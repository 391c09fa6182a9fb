//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// setSpec gives a node's Hypervisor a spec, as an administrator does, until the test ends.
func (e *environment) setSpec(t *testing.T, node, spec string) {
	t.Helper()
	hv := &v1alpha1.Hypervisor{}
	hv.Name = node
	patch := func(ctx context.Context, spec string) error {
		return e.client.Patch(ctx, hv, client.RawPatch(types.MergePatchType, []byte(`{"spec":`+spec+`}`)))
	}
	if err := patch(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := patch(context.Background(), "null"); err != nil {
			t.Errorf("taking the spec of %s back: %v", node, err)
		}
	})
}

// TestABridgeHasAnotherNameOnTheTarget: an administrator says so, once for all guests.
func TestABridgeHasAnotherNameOnTheTarget(t *testing.T) {
	const bridge = "br-here"
	if _, err := env.a.Exec(t.Context(), "ip", "link", "add", bridge, "up", "type", "bridge"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = env.a.Exec(context.Background(), "ip", "link", "delete", bridge) })
	g := env.startGuest(t, env.a, lab.GuestConfig{NICs: []lab.NIC{{Bridge: bridge}}, Persistent: true})
	spec := v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), DryRun: new(true)}
	lm := env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseFailed)
	if p := lm.Status.Target.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerBridgeMissing {
		t.Errorf("the problem is %+v", p)
	}
	env.setSpec(t, env.b.Name(), `{"networkMappings":[{"kind":"Bridge","from":"`+bridge+`","to":"`+lab.LocalBridge+`"}]}`)
	env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseSucceeded)
	spec.DryRun = nil
	lm = env.awaitPhase(t, env.migrate(t, spec), v1alpha1.PhaseSucceeded)
	want := []v1alpha1.NetworkMapping{{Kind: v1alpha1.NetworkKindBridge, From: bridge, To: lab.LocalBridge}}
	if got := lm.Status.Target.Offer.NetworkMappings; !slices.Equal(got, want) {
		t.Errorf("the status says %v", got)
	}
	env.requireOn(t, g, env.b)
	for _, form := range [][]string{{"dumpxml"}, {"dumpxml", "--inactive"}} {
		text, err := env.b.Virsh(t.Context(), append(form, g.Name())...)
		if err != nil || strings.Contains(text, bridge) || !strings.Contains(text, "bridge='"+lab.LocalBridge+"'") {
			t.Errorf("%v: the guest is not on the bridge %s, %v", form, lab.LocalBridge, err)
		}
	}
}

// TestAPinnedGuestGetsCPUsThatAreFree: each guest that comes has one of the target's for itself,
// and one for which there is none stays.
func TestAPinnedGuestGetsCPUsThatAreFree(t *testing.T) {
	hv := &v1alpha1.Hypervisor{}
	if err := env.client.Get(t.Context(), client.ObjectKey{Name: env.b.Name()}, hv); err != nil {
		t.Fatal(err)
	}
	cpus := int(*hv.Status.Host.CPU.CPUCount)
	if cpus > 4 {
		t.Skipf("the machine has %d CPUs, for which it takes as many guests", cpus)
	}
	had := map[string]bool{}
	for i := range cpus + 1 {
		g := env.startGuest(t, env.a, lab.GuestConfig{Name: fmt.Sprintf("pinned-%d", i), Persistent: true})
		if _, err := env.a.Virsh(t.Context(), "vcpupin", g.Name(), "0", "0", "--live", "--config"); err != nil {
			t.Fatal(err)
		}
		lm := env.awaitFinished(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}))
		if i == cpus {
			if p := lm.Status.Target.Problem; p == nil || len(p.Blockers) != 1 || p.Blockers[0].Code != v1alpha1.BlockerCPUsInsufficient {
				t.Errorf("the problem is %+v", p)
			}
			env.requireOn(t, g, env.a)
			return
		}
		if lm.Status.Phase != v1alpha1.PhaseSucceeded || lm.Status.Target.Offer.NUMA == nil || len(lm.Status.Target.Offer.NUMA.VCPUPins) != 1 {
			t.Fatalf("the end is %s with %+v: %s", lm.Status.Phase, lm.Status.Target, lm.Status.Conditions[0].Message)
		}
		cpu := string(lm.Status.Target.Offer.NUMA.VCPUPins[0].HostCPUs)
		if had[cpu] {
			t.Errorf("the CPU %s is given to two guests", cpu)
		}
		had[cpu] = true
		for _, form := range [][]string{{"dumpxml"}, {"dumpxml", "--inactive"}} {
			if text, err := env.b.Virsh(t.Context(), append(form, g.Name())...); err != nil || !strings.Contains(text, "<vcpupin vcpu='0' cpuset='"+cpu+"'/>") {
				t.Errorf("%v: the guest is not pinned to %s, %v", form, cpu, err)
			}
		}
		env.requireOn(t, g, env.b)
	}
}
