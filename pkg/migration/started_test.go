package migration

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestOnlyWhatTheMigrationBroughtHasArrived: a guest that somebody has started on the
// target from an old definition has not, and the source's copy is the one with the work.
func TestOnlyWhatTheMigrationBroughtHasArrived(t *testing.T) {
	const failed, ok, unknown = v1alpha1.CallFailed, v1alpha1.CallSucceeded, v1alpha1.CallUnknown
	for _, c := range []struct {
		name     string
		call     v1alpha1.CallResult
		source   string
		incoming bool
		verdict  Verdict
		reason   string
		pause    bool
		says     string
	}{
		{"the guest lives on the source", failed, "Running/Booted", false, VerdictUnknown, "OutcomeUnknown", false, "from a definition there"},
		{"the same, and nobody knows what the call returned", unknown, "Running/Booted", false, VerdictUnknown, "OutcomeUnknown", false, "from a definition there"},
		{"the guest stopped on the source", failed, "Shutoff/Shutdown", false, VerdictFailed, "GuestStopped", false, "started it again on node-b"},
		{"the guest is gone from the source", unknown, "Absent", false, VerdictUnknown, "OutcomeUnknown", false, "from a definition there"},
		{"it arrived, and was rebooted by libvirt before it was seen", ok, "Absent", false, VerdictSucceeded, "Migrated", false, "node-b"},
		{"the same, and the answer was lost", unknown, "Shutoff/Migrated", false, VerdictSucceeded, "Migrated", false, "node-b"},
		{"its half was seen to come", unknown, "Running/Booted", true, VerdictUnknown, "OutcomeUnknown", true, "both"},
		{"the source holds it for its switch-over", unknown, "Paused/Migration", false, VerdictUnknown, "OutcomeUnknown", false, "keep one of the two"},
		{"the same, and its half was seen to come", unknown, "Paused/Migration", true, VerdictUnknown, "OutcomeUnknown", false, "keep one of the two"},
	} {
		b := makeMigration("m").ended(c.call, "Other", c.source).onTarget("Running/Booted", true)
		if c.incoming {
			b.lm.Status.Target.IncomingTime = new(metav1.NewMicroTime(epoch))
		}
		got := Judge(b.obj(), epoch.Add(ConfirmTimeout))
		if got.Verdict != c.verdict || got.Reason != c.reason || got.PauseSource != c.pause || got.DestroySource || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
}
