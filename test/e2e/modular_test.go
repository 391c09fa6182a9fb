//go:build e2e

package e2e

import (
	"context"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

func isReady(hv *v1alpha1.Hypervisor) bool {
	return meta.IsStatusConditionTrue(hv.Status.Conditions, v1alpha1.ConditionReady)
}

// TestModularDaemons: the agent finds the daemon for QEMU by itself, and needs no other but
// what that needs.
func TestModularDaemons(t *testing.T) {
	modular, other := hostOf(t, lab.Modular), hostOf(t, lab.Bookworm)
	hv := env.awaitHypervisor(t, modular, "that it is ready", isReady)
	if host := hv.Status.Host; host == nil || host.LibvirtSocket != "virtqemud-sock" || hv.Status.LibvirtVersion == "" || host.StoragePools == nil || host.Networks == nil {
		t.Errorf("it shows libvirt %s, %+v", hv.Status.LibvirtVersion, host)
	}
	move := func(name string, from, to *lab.Host) {
		t.Run(name, func(t *testing.T) {
			g := env.startGuest(t, from, lab.GuestConfig{Persistent: true})
			lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: to.Name()})
			env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
			env.requireOn(t, g, to)
		})
	}
	restart := func() {
		t.Helper()
		if err := modular.StartLibvirtd(context.WithoutCancel(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(restart)
	move("to it", other, modular)
	// The source needs nobody to take connections of others.
	if err := modular.KillDaemon(t.Context(), lab.ProxyDaemon); err != nil {
		t.Fatal(err)
	}
	move("from it, without its proxy", modular, other)
	restart()
	if err := modular.KillLibvirtd(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	env.awaitHypervisor(t, modular, "that its daemon is gone", func(hv *v1alpha1.Hypervisor) bool { return !isReady(hv) })
	restart()
	env.awaitHypervisor(t, modular, "that it is ready again", isReady)
	move("to it, once it is back", other, modular)
}
