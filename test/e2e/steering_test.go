//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// busyLoad writes to memory several times as fast as slow lets it be copied.
func busyLoad() lab.Load { return lab.Load{WorkingSetMiB: 64, DirtyMiBps: 48} }

// endless are options with which a guest of busyLoad is copied for ever.
func endless(postCopy bool) *v1alpha1.MigrationOptions {
	o := slow()
	o.OnTimeout, o.AllowPostCopy = v1alpha1.TimeoutKeepGoing, &postCopy
	return o
}

// ask annotates the object as its user does.
func (e *environment) ask(t *testing.T, lm *v1alpha1.LiveMigration, annotation, token string) {
	t.Helper()
	_, err := e.lab.ControlPlane().Kubectl(t.Context(), "annotate", "--overwrite", "--namespace="+lm.Namespace,
		"livemigration", lm.Name, annotation+"="+token)
	if err != nil {
		t.Fatal(err)
	}
}

func requireRequests(t *testing.T, lm *v1alpha1.LiveMigration, want string) {
	t.Helper()
	var got []string
	for _, r := range lm.Status.Requests {
		got = append(got, fmt.Sprintf("%s %s %s", r.Type, r.Token, r.State))
	}
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("the requests are %q, want %q: %s", s, want, describe(lm))
	}
}

// awaitPasses waits until the guest is being copied for the third time.
func (e *environment) awaitPasses(t *testing.T, lm *v1alpha1.LiveMigration) {
	t.Helper()
	e.await(t, lm, "the third pass", func(now *v1alpha1.LiveMigration) bool {
		return now.Status.Progress != nil && now.Status.Progress.MemoryIteration >= 3
	})
}

// TestForceComplete brings a guest over that would never get there by itself.
func TestForceComplete(t *testing.T) {
	for _, by := range []v1alpha1.SwitchoverReason{v1alpha1.SwitchoverPostCopy, v1alpha1.SwitchoverPaused} {
		t.Run(string(by), func(t *testing.T) {
			g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: busyLoad()})
			lm := env.migrate(t, v1alpha1.LiveMigrationSpec{
				Domain: g.Name(), TargetNode: env.b.Name(), Options: endless(by == v1alpha1.SwitchoverPostCopy),
			})
			env.awaitPasses(t, lm)
			env.ask(t, lm, v1alpha1.AnnotationForceComplete, "now")
			lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
			requireRequests(t, lm, "ForceComplete now Done")
			if got := lm.Status.Progress.Switchover; got != by {
				t.Errorf("the switchover is %s, want %s", got, by)
			}
			env.requireOn(t, g, env.b)
			env.requireAbsent(t, g, env.a)
			requirePersistent(t, g, env.b)
		})
	}
}

// TestUsersPauseHolds, whatever is asked for: a guest that stands still needs no
// post-copy and no pause to get over, and nobody sets it going.
func TestUsersPauseHolds(t *testing.T) {
	for _, c := range []struct {
		name, annotation string
		phase            v1alpha1.LiveMigrationPhase
		on               *lab.Host
	}{
		{"completed", v1alpha1.AnnotationForceComplete, v1alpha1.PhaseSucceeded, env.b},
		{"cancelled", v1alpha1.AnnotationCancel, v1alpha1.PhaseCancelled, env.a},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
			if _, err := env.a.Virsh(t.Context(), "suspend", g.UUID()); err != nil {
				t.Fatal(err)
			}
			lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: endless(true)})
			env.awaitCopying(t, lm)
			env.ask(t, lm, c.annotation, "now")
			lm = env.awaitPhase(t, lm, c.phase)
			if len(lm.Status.Requests) != 1 || lm.Status.Requests[0].State != v1alpha1.RequestDone {
				t.Errorf("the requests are %+v", lm.Status.Requests)
			}
			if s := c.on.DomainState(t.Context(), g.UUID()); s.State != lab.StatePaused {
				t.Fatalf("the guest is %v, want it paused", s)
			}
			if _, err := c.on.Virsh(t.Context(), "resume", g.UUID()); err != nil {
				t.Fatal(err)
			}
			env.requireOn(t, g, c.on)
		})
	}
}

// TestCancelByAnnotation leaves the guest, and the object, where they are.
func TestCancelByAnnotation(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: busyLoad()})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: endless(false)})
	env.awaitCopying(t, lm)
	env.ask(t, lm, v1alpha1.AnnotationCancel, "now")
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseCancelled)
	requireRequests(t, lm, "Cancel now Done")
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)
}

// TestGuestThatWritesTooFastIsGivenUpEarly, and the message has the numbers.
func TestGuestThatWritesTooFastIsGivenUpEarly(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: busyLoad()})
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: slow()})
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseFailed)
	c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c.Reason != v1alpha1.ReasonWillNotConverge || !strings.Contains(c.Message, "MiB/s") {
		t.Errorf("the reason is %s: %s", c.Reason, c.Message)
	}
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)
}

// TestPostCopyOverABrokenLink: the link fails in post-copy for longer than libvirt
// waits, and the guest is whole again when it is back.
func TestPostCopyOverABrokenLink(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: busyLoad()})
	// Post-copy knows no limit but that of the link.
	if err := env.a.LimitBandwidth(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.a.ClearShaping(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: endless(true)})
	env.awaitCopying(t, lm)
	env.ask(t, lm, v1alpha1.AnnotationForceComplete, "now")
	env.awaitPhase(t, lm, v1alpha1.PhasePostCopy)
	// Until the source has told it to go on, the target's libvirt would take the guest
	// down with the connection.
	env.await(t, lm, "the guest on the target", func(now *v1alpha1.LiveMigration) bool {
		d := now.Status.Target.Domain
		return d != nil && d.State == "Running" && d.Reason == "Postcopy"
	})
	if err := env.b.CutOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	env.awaitPhase(t, lm, v1alpha1.PhaseRecovering)
	env.ask(t, lm, v1alpha1.AnnotationCancel, "too-late")
	time.Sleep(time.Second)
	if err := env.b.Reconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	requireRequests(t, lm, "ForceComplete now Done, Cancel too-late Refused")
	if lm.Status.Source.Recovery == nil || lm.Status.Source.Recovery.Attempts == 0 {
		t.Errorf("nobody has tried to resume: %s", describe(lm))
	}
	env.requireOn(t, g, env.b)
	env.requireAbsent(t, g, env.a)
}

// TestArrivalIsNotHeardOf: the target has all of the guest, and the source never hears
// of it. QEMU waits for ever, and libvirt for QEMU.
func TestArrivalIsNotHeardOf(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: busyLoad()})
	// It must not be over before the source is deaf.
	if err := env.a.LimitBandwidth(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	unlimited := func() {
		if err := env.a.ClearShaping(t.Context()); err != nil {
			t.Error(err)
		}
	}
	defer unlimited()
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: endless(true)})
	env.awaitCopying(t, lm)
	env.ask(t, lm, v1alpha1.AnnotationForceComplete, "now")
	env.awaitPhase(t, lm, v1alpha1.PhasePostCopy)
	if err := env.a.Deafen(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.a.Undeafen(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	unlimited()
	lm = env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	if end := lm.Status.Source.End; end.Call != v1alpha1.CallUnknown {
		t.Errorf("libvirt has heard of the arrival: %s", describe(lm))
	}
	env.requireOn(t, g, env.b)
	env.requireAbsent(t, g, env.a)
}
