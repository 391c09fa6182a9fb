//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// TestUnsafeMigrationNeedsConsent: both hosts see the directory and what is in it, but that is a
// symbolic link, which leads to a file of each host's own.
func TestUnsafeMigrationNeedsConsent(t *testing.T) {
	const own, link = lab.PrivateDir + "/unsafe.img", lab.SharedDir + "/unsafe.img"
	for i, h := range []*lab.Host{env.a, env.b} {
		// The clock of a file system ticks 250 times a second.
		time.Sleep(time.Duration(i) * 20 * time.Millisecond)
		if err := os.WriteFile(h.Path(own), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(h.Path(own)) })
	}
	if err := os.Symlink(own, env.a.Path(link)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(env.a.Path(link)) })
	g := env.startGuest(t, env.a, lab.GuestConfig{
		Persistent:   true,
		ExtraDevices: "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='" + link + "'/><target dev='vdx' bus='virtio'/></disk>",
	})
	refused := env.awaitReason(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}), v1alpha1.ReasonUnsafe)
	if c := meta.FindStatusCondition(refused.Status.Conditions, v1alpha1.ConditionStalled); c == nil || !strings.Contains(c.Message, "options.allowUnsafe") || !strings.Contains(c.Message, "symbolic link") {
		t.Error("the message names neither cause nor remedy", describe(refused))
	}
	env.requireOn(t, g, env.a)
	lm := env.migrate(t, v1alpha1.LiveMigrationSpec{
		Domain: g.Name(), TargetNode: env.b.Name(), Options: &v1alpha1.MigrationOptions{AllowUnsafe: new(true)},
	})
	env.awaitPhase(t, lm, v1alpha1.PhaseSucceeded)
	env.requireOn(t, g, env.b)
}

// TestSharedDisksNeedNoConsent: libvirt knows nothing of the file system, and the agents find
// out that both hosts have the disk, to which the guest writes all the time.
func TestSharedDisksNeedNoConsent(t *testing.T) {
	disk := lab.Disk{Path: lab.SharedDir + "/proven.qcow2", SizeMiB: 16, Format: "qcow2"}
	t.Cleanup(func() { _ = os.Remove(env.a.Path(disk.Path)) })
	g := env.startGuest(t, env.a, lab.GuestConfig{Persistent: true, Disks: []lab.Disk{disk}, Load: lab.Load{DiskMiBps: 1}})
	lm := env.awaitPhase(t, env.migrate(t, v1alpha1.LiveMigrationSpec{Domain: g.Name(), TargetNode: env.b.Name()}), v1alpha1.PhaseSucceeded)
	if storage := lm.Status.Source.Storage; storage == nil || !storage.ProvenSafe || len(storage.Markers) > 0 {
		t.Errorf("of its disks, the source says %+v", storage)
	}
	env.requireOn(t, g, env.b)
	requireImagesNone(t)
}

// requireImagesNone fails if anything by which directories were compared is left.
func requireImagesNone(t *testing.T) {
	t.Helper()
	left, err := filepath.Glob(env.a.Path(lab.SharedDir) + "/virtferry-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left in the shared directory: %v, %v", left, err)
	}
}
