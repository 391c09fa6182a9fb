//go:build e2e

package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestDataHasANetworkOfItsOwn: QEMU sends the guest to the target's address in another network,
// and libvirt's own connection stays where it was.
func TestDataHasANetworkOfItsOwn(t *testing.T) {
	const source, target = "198.51.100.11", "198.51.100.12"
	for h, address := range map[*lab.Host]string{env.a: source, env.b: target} {
		if _, err := h.Exec(t.Context(), "ip", "address", "add", address+"/24", "dev", "eth0"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = h.Exec(context.Background(), "ip", "address", "delete", address+"/24", "dev", "eth0") })
	}
	env.replaceAgent(t, env.b, "--migration-data-address="+target)
	t.Cleanup(func() { env.replaceAgent(t, env.b) })

	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: slow()})
	lm = env.awaitCopying(t, lm)
	connections, err := env.a.Exec(t.Context(), "ss", "--tcp", "--numeric", "--no-header", "state", "established")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(connections, target+":4915") || !strings.Contains(connections, env.b.Address()+":16509") || strings.Contains(connections, env.b.Address()+":4915") {
		t.Errorf("the source's connections are:\n%s", connections)
	}
	if e := lm.Status.Target.Endpoint; e.Address != env.b.Address() || e.DataAddress != target {
		t.Errorf("the endpoint is %+v", e)
	}
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
}

// replaceAgent replaces a host's agent by one with more flags.
func (e *environment) replaceAgent(t *testing.T, h *lab.Host, flags ...string) {
	t.Helper()
	if err := h.Agent().Kill(context.Background(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := h.StartVirtferry(context.Background(), flags...); err != nil {
		t.Fatal(err)
	}
}
