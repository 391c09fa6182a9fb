//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// TestBadInputIsRefused makes requests that the API takes and Virtferry refuses.
func TestBadInputIsRefused(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, VNC: &lab.VNC{}})
	off := env.startGuest(t, env.a, lab.GuestConfig{Name: "off", Persistent: true})
	if _, err := env.a.Virsh(t.Context(), "destroy", off.UUID()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		spec    v1alpha1.LiveMigrationSpec
		reason  string
		message string
	}{
		{"unknown domain", v1alpha1.LiveMigrationSpec{Domain: "no-such-guest", TargetNode: "node-b"},
			v1alpha1.ReasonDomainNotFound, `No node lists a guest "no-such-guest"`},
		{"unknown target node", v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: "node-x"},
			v1alpha1.ReasonNodeNotFound, `the target node "node-x", so the guest was not touched. Nodes with an agent: node-a, node-b`},
		{"unknown source node", v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: "node-b", SourceNode: "node-x"},
			v1alpha1.ReasonNodeNotFound, `the source node "node-x"`},
		{"guest shut off", v1alpha1.LiveMigrationSpec{Domain: off.Name(), TargetNode: "node-b"},
			v1alpha1.ReasonDomainNotRunning, "Ask an administrator to start it there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lm := env.awaitFinished(t, env.migrate(t, c.spec))
			condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
			if condition.Status != metav1.ConditionFalse || condition.Reason != c.reason || !strings.Contains(condition.Message, c.message) {
				t.Errorf("the condition is %s %s %q, want False %s with %q", condition.Status, condition.Reason, condition.Message, c.reason, c.message)
			}
			if lm.Status.Source != nil {
				t.Error("an agent was bothered")
			}
		})
	}
	env.requireOn(t, g, env.a)
}

func TestGuestThatIsThereAlready(t *testing.T) {
	g := env.startGuest(t, env.b, lab.GuestConfig{Persistent: true})
	lm := env.awaitFinished(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}))
	condition := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if condition.Status != metav1.ConditionTrue || condition.Reason != v1alpha1.ReasonAlreadyOnTarget {
		t.Fatal(describe(lm))
	}
	if lm.Status.Source != nil || lm.Status.SourceNode != "" {
		t.Error("a source was asked")
	}
	if target := lm.Status.Target; target == nil || target.ConfirmedTime == nil || target.ReadyTime != nil {
		t.Errorf("the target was to look and nothing else: %+v", target)
	}
}

func TestMigrationsOfOneGuestQueue(t *testing.T) {
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Load: slowLoad()})
	first := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name(), Options: slow()})
	env.awaitCopying(t, first)
	second := env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.UUID(), TargetNode: env.a.Name()})
	waiting := env.awaitReason(t, second, v1alpha1.ReasonWaitingForOtherMigration)
	condition := meta.FindStatusCondition(waiting.Status.Conditions, v1alpha1.ConditionReconciling)
	if !strings.Contains(condition.Message, "default/"+first.Name) {
		t.Errorf("the message %q does not say what is waited for", condition.Message)
	}
	env.awaitPhase(t, first, v1alpha1.PhaseSucceeded)
	done := env.awaitReason(t, second, v1alpha1.ReasonMigrated)
	if done.Status.SourceNode != env.b.Name() {
		t.Errorf("the second migration began on %s", done.Status.SourceNode)
	}
	env.requireOn(t, g, env.a)
	env.requireAbsent(t, g, env.b)
}

func TestUnsafeMigrationNeedsConsent(t *testing.T) {
	disk := lab.Disk{Path: lab.SharedDir + "/unsafe.img", SizeMiB: 16}
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Disks: []lab.Disk{disk}})
	refused := env.awaitReason(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}), v1alpha1.ReasonUnsafe)
	if c := meta.FindStatusCondition(refused.Status.Conditions, v1alpha1.ConditionStalled); c == nil || !strings.Contains(c.Message, "options.allowUnsafe") {
		t.Error("the message does not name the remedy", describe(refused))
	}
	env.requireOn(t, g, env.a)
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: env.b.Name(), Options: &v1alpha1.MigrationOptions{AllowUnsafe: new(true)},
	})
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
}
