//go:build e2e

package e2e

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// restartAgent starts a host's agent again and waits until it is ready.
func (e *environment) restartAgent(t *testing.T, h *lab.Host) {
	t.Helper()
	if err := h.Agent().Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.Agent().WaitReady(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestAgentsAndManagerAreReplacedMidway kills each process in the middle of a
// migration: its successor goes on with the same attempt.
func TestAgentsAndManagerAreReplacedMidway(t *testing.T) {
	victims := []struct {
		name    string
		victim  func() *lab.Component
		restart func(t *testing.T)
	}{
		{"source agent", func() *lab.Component { return env.a.Agent() }, func(t *testing.T) { t.Helper(); env.restartAgent(t, env.a) }},
		{"target agent", func() *lab.Component { return env.b.Agent() }, func(t *testing.T) { t.Helper(); env.restartAgent(t, env.b) }},
		{"manager", func() *lab.Component { return env.manager }, func(t *testing.T) {
			t.Helper()
			if err := env.manager.Start(); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for i, v := range victims {
		t.Run(v.name, func(t *testing.T) {
			g := env.startGuest(t, env.a, lab.GuestConfig{Name: string(rune('a' + i)), Persistent: true, Load: slowLoad()})
			lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: slow()})
			before := env.awaitCopying(t, lm)
			if err := v.victim().Kill(t.Context(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			v.restart(t)
			after := env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
			env.requireOn(t, g, env.b)
			env.requireAbsent(t, g, env.a)
			if after.Status.Attempt.ID != before.Status.Attempt.ID {
				t.Error("another attempt was made")
			}
			if !after.Status.Source.StartRequestedTime.Equal(before.Status.Source.StartRequestedTime) {
				t.Error("the migration was started a second time")
			}
		})
	}
}

// TestAgentIsAwayWhenTheMigrationEnds: libvirt ends the migration while nobody
// looks.
func TestAgentIsAwayWhenTheMigrationEnds(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: slow()})
	env.awaitCopying(t, lm)
	if err := env.a.Agent().Kill(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); env.a.DomainState(t.Context(), g.UUID()).State != lab.StateAbsent; time.Sleep(pollInterval) {
		if time.Now().After(deadline) {
			t.Fatal("the migration does not end without the agent")
		}
	}
	env.restartAgent(t, env.a)
	after := env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	if after.Status.Source.End.Call != v1alpha1.CallUnknown {
		t.Errorf("the call's result is %s, but nobody was there to see it", after.Status.Source.End.Call)
	}
}

// TestSourceLibvirtdDiesMidway: libvirt cancels the migration when it comes
// back; the agent comes back to libvirt, and the next migration succeeds.
func TestSourceLibvirtdDiesMidway(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: slow()})
	env.awaitCopying(t, lm)
	if err := env.a.KillLibvirtd(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := env.a.StartLibvirtd(t.Context()); err != nil {
		t.Fatal(err)
	}
	env.awaitReason(t, lm, v1alpha1.ReasonInterrupted)
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)

	again := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()})
	env.awaitPhase(t, again, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
}

// TestTargetLibvirtdHangs: what waits for it waits, nothing else does.
func TestTargetLibvirtdHangs(t *testing.T) {
	stuck := env.startGuest(t, env.a, lab.GuestConfig{Name: "stuck", Persistent: true})
	if err := syscall.Kill(env.b.LibvirtdPID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(env.b.LibvirtdPID(), syscall.SIGCONT) }
	t.Cleanup(resume)
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: stuck.Name(), TargetNode: env.b.Name()})
	env.awaitReason(t, lm, v1alpha1.ReasonPreparingTarget)
	if err := env.b.Agent().WaitReady(t.Context()); err != nil {
		t.Errorf("the agent hangs with its libvirt: %v", err)
	}
	resume()
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, stuck, env.b)
}
