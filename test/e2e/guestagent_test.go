//go:build e2e

package e2e

import (
	"strconv"
	"strings"
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

// TestTheGuestsClockIsSet when it has arrived, by its agent, which has frozen it for that and thaws it first. One that
// does not answer any more costs some seconds, and is told of.
func TestTheGuestsClockIsSet(t *testing.T) {
	t.Parallel()                     // With others that disturb no host.
	const emulated = 3 * time.Second // What a guest may take to answer.
	options := &v1alpha1.MigrationOptions{GuestAgent: &v1alpha1.GuestAgentOptions{SetTime: new(true)}}
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Agent: true, Load: slowLoad()})
	if _, err := g.Command(t.Context(), env.a, "clock 1000000000"); err != nil {
		t.Fatal(err)
	}
	if off := clockError(t, g, env.a); off < 24*time.Hour {
		t.Fatalf("the guest's clock is off by %s only", off)
	}
	lm := env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: freezing(32)}), v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
	awaitThawed(t, g, env.b, "freeze thaw")
	requireFrozen(t, lm)
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

// agentLog returns whether the guest's agent holds its file systems frozen, and what it was asked for, in its order.
func agentLog(t *testing.T, g *lab.Guest, h *lab.Host) (frozen bool, asked string) {
	t.Helper()
	answer, err := g.Command(t.Context(), h, "agent log")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(answer)
	for i, word := range words[1:] {
		words[i+1], _, _ = strings.Cut(word, "@")
	}
	return words[0] == "true", strings.Join(words[1:], " ")
}

// awaitThawed waits until the guest is thawed, and fails unless its agent was asked for exactly that.
func awaitThawed(t *testing.T, g *lab.Guest, h *lab.Host, asked string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		frozen, got := agentLog(t, g, h)
		if !frozen && strings.HasPrefix(got, asked) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guest is frozen: %t, and its agent was asked for %q, want %q", frozen, got, asked)
		}
	}
}

func noticeOf(lm *v1alpha1.LiveMigration, reason v1alpha1.NoticeReason) string {
	for _, n := range lm.Status.Notices {
		if n.Reason == reason {
			return n.Message
		}
	}
	return ""
}

// freezing are options by which a guest takes some seconds, and is frozen for its switch-over.
func freezing(mibps int64) *v1alpha1.MigrationOptions {
	return &v1alpha1.MigrationOptions{
		BandwidthMiBps: &mibps, GuestAgent: &v1alpha1.GuestAgentOptions{FreezeSeconds: new(int32(20)), SetTime: new(true)},
	}
}

// TestGuestIsFrozen before it is forced over in post-copy, and thawed on the target meanwhile; and on the source,
// where it stays, if its migration is cancelled. Its agent may say nothing any more once it is frozen.
func TestGuestIsFrozen(t *testing.T) {
	t.Parallel() // With others that disturb no host.
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Agent: true, Load: slowLoad()})
	postCopy := freezing(32)
	postCopy.AllowPostCopy = new(true)
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: postCopy})
	env.ask(t, lm, v1alpha1.AnnotationForceComplete, "now")
	lm = env.awaitFinished(t, lm)
	env.requireOn(t, g, env.b)
	awaitThawed(t, g, env.b, "freeze thaw")
	requireFrozen(t, lm)
	if got := lm.Status.Progress.Switchover; got != v1alpha1.SwitchoverPostCopy {
		t.Errorf("the switchover is %s", got)
	}

	if _, err := g.Command(t.Context(), env.b, "agent deaf-for-freeze"); err != nil {
		t.Fatal(err)
	}
	lm = env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.a.Name(), Options: freezing(8)})
	env.ask(t, lm, v1alpha1.AnnotationForceComplete, "now")
	env.await(t, lm, "the freeze", func(lm *v1alpha1.LiveMigration) bool {
		frozen, _ := agentLog(t, g, env.b)
		return frozen && lm.Status.Source.GuestFreeze != nil
	})
	env.ask(t, lm, v1alpha1.AnnotationCancel, "now")
	env.await(t, lm, "the end of its job", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Source.End != nil })
	if _, err := g.Command(t.Context(), env.b, "agent hears"); err != nil {
		t.Fatal(err)
	}
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseCancelled)
	env.requireOn(t, g, env.b)
	awaitThawed(t, g, env.b, "freeze thaw freeze thaw")
	freeze := lm.Status.Source.GuestFreeze
	if freeze.State != v1alpha1.GuestThawed || freeze.ThawedTime.Sub(freeze.Time.Time) > 20*time.Second {
		t.Errorf("it says %+v", freeze)
	}
	t.Logf("thawed %s after it was asked", freeze.ThawedTime.Sub(freeze.Time.Time))
}

// requireFrozen fails unless the guest was frozen before it arrived, thawed right after that, and told the time.
func requireFrozen(t *testing.T, lm *v1alpha1.LiveMigration) {
	t.Helper()
	freeze, target := lm.Status.Source.GuestFreeze, lm.Status.Target
	if freeze == nil || freeze.State != v1alpha1.GuestFrozen || target.GuestThaw == nil || target.GuestThaw.State != v1alpha1.GuestThawDone ||
		target.GuestClock == nil || target.GuestClock.State != v1alpha1.GuestClockSet {
		t.Fatalf("of the freeze it says %+v, of the thaw %+v, of the clock %+v", freeze, target.GuestThaw, target.GuestClock)
	}
	frozen, arrived, thawed := freeze.FrozenTime.Time, target.ArrivedTime.Time, target.GuestThaw.Time.Time
	if !frozen.Before(arrived) || thawed.Before(arrived) || thawed.Sub(arrived) > 10*time.Second {
		t.Errorf("it was frozen at %s, arrived at %s, and was thawed at %s", frozen, arrived, thawed)
	}
	t.Logf("frozen %s before it arrived, thawed %s after that: %s", arrived.Sub(frozen), thawed.Sub(arrived), noticeOf(lm, v1alpha1.NoticeGuestFrozen))
}
