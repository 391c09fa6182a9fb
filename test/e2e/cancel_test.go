//go:build e2e

package e2e

import (
	"syscall"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

func TestDeletionCancels(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: slow()})
	lm = env.awaitCopying(t, lm)
	if err := env.client.Delete(t.Context(), lm); err != nil {
		t.Fatal(err)
	}
	env.awaitPhase(t, lm, v1alpha1.PhaseCancelling)
	env.awaitGone(t, lm)
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)

	again := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()})
	env.awaitPhase(t, again, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
}

func TestDeletionBeforeTheStartCancels(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true})
	// Without the target's agent the migration cannot start.
	if err := env.b.Agent().Kill(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { env.restartAgent(t, env.b) })
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()})
	lm = env.awaitReason(t, lm, v1alpha1.ReasonPreparingTarget)
	if err := env.client.Delete(t.Context(), lm); err != nil {
		t.Fatal(err)
	}
	env.awaitGone(t, lm)
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)
}
