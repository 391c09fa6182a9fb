//go:build e2e

package e2e

import (
	"strconv"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// clockError is by how much a guest's clock differs from that of all hosts.
func clockError(t *testing.T, g *lab.Guest, h *lab.Host) time.Duration {
	t.Helper()
	answer, err := g.Command(t.Context(), h, "clock")
	if err != nil {
		t.Fatal(err)
	}
	milliseconds, err := strconv.ParseInt(answer, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(time.UnixMilli(milliseconds)).Abs()
}

// TestTheGuestsClockIsSet when it has arrived, by its agent. One that does not answer any more
// costs some seconds, and is told of.
func TestTheGuestsClockIsSet(t *testing.T) {
	t.Parallel()                     // With others that disturb no host.
	const emulated = 3 * time.Second // What a guest may take to answer.
	options := &v1alpha1.MigrationOptions{GuestAgent: &v1alpha1.GuestAgentOptions{SetTime: new(true)}}
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Agent: true})
	if _, err := g.Command(t.Context(), env.a, "clock 1000000000"); err != nil {
		t.Fatal(err)
	}
	if off := clockError(t, g, env.a); off < 24*time.Hour {
		t.Fatalf("the guest's clock is off by %s only", off)
	}
	lm := env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: options}), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	if clock := lm.Status.Target.GuestClock; clock == nil || clock.State != v1alpha1.GuestClockSet {
		t.Errorf("of the clock, it says %+v", clock)
	}
	if off := clockError(t, g, env.b); off > emulated {
		t.Errorf("the guest's clock is off by %s", off)
	}

	if _, err := g.Command(t.Context(), env.b, "agent deaf"); err != nil {
		t.Fatal(err)
	}
	lm = env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.a.Name(), Options: options}), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.a)
	clock := lm.Status.Target.GuestClock
	if clock == nil || clock.State != v1alpha1.GuestClockFailed || clock.Time.Sub(lm.Status.Target.ArrivedTime.Time) > 15*time.Second {
		t.Errorf("it arrived at %v, and of the clock, it says %+v", lm.Status.Target.ArrivedTime, clock)
	}
	told := false
	for _, n := range lm.Status.Notices {
		told = told || n.Reason == v1alpha1.NoticeGuestClockNotSet
		t.Log(n.Message)
	}
	if !told {
		t.Error("its user is not told")
	}
}
