package migration

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestWhatEndsACancelledMigration: one that failed for another reason before was not cancelled.
func TestWhatEndsACancelledMigration(t *testing.T) {
	for _, c := range []struct {
		call     v1alpha1.CallResult
		kind     string
		steering *v1alpha1.SteeringStatus
		want     Verdict
	}{
		{v1alpha1.CallFailed, "Aborted", nil, VerdictCancelled},
		{v1alpha1.CallFailed, "NotSent", nil, VerdictCancelled},
		{v1alpha1.CallUnknown, "Other", nil, VerdictCancelled},
		{v1alpha1.CallFailed, "Other", nil, VerdictFailed},
		{v1alpha1.CallFailed, "PeerLost", &v1alpha1.SteeringStatus{}, VerdictFailed},
		{v1alpha1.CallFailed, "Other", &v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{Reason: v1alpha1.ReasonCancelled}}, VerdictCancelled},
	} {
		b := makeMigration("m").ended(c.call, c.kind, "Running/Booted").onTarget("Absent", true).deleted()
		b.lm.Status.Source.Steering = c.steering
		if got := Judge(b.obj(), epoch); got.Verdict != c.want {
			t.Errorf("%s %s: got %s: %s", c.call, c.kind, got.Verdict, got.Message)
		}
	}
}

// TestWhatBothSidesShow is told with what is not certain.
func TestWhatBothSidesShow(t *testing.T) {
	unseen := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent")
	unseen.lm.Status.Target = nil
	half := makeMigration("m").started().inPostCopy().onTarget("Absent", false)
	half.lm.Status.Target.LostTime = new(metav1.NewMicroTime(epoch))
	for want, b := range map[string]builder{
		"On node-a the guest is absent, on node-b it is Paused/Migration: ":       makeMigration("m").ended(v1alpha1.CallUnknown, "", "Absent").onTarget("Paused/Migration", true),
		"On node-a the guest is Paused/Migration, on node-b it is not reported: ": makeMigration("m").ended(v1alpha1.CallUnknown, "", "Paused/Migration"),
		"On node-a the guest is absent, on node-b it is not reported: ":           unseen,
		"On node-a the guest is Paused/Postcopy, on node-b it is absent: ":        half,
	} {
		if got := Judge(b.obj(), epoch.Add(time.Hour)); got.Verdict != VerdictUnknown || !strings.HasPrefix(got.Message, want) || !strings.Contains(got.Message, "`virsh domstate --reason "+guestUUID) {
			t.Errorf("got %s: %s,\nwant %s", got.Verdict, got.Message, want)
		}
	}
}

// TestRow: a migration has come to a row when both sides are known, or its outcome is called
// unknown for want of one.
func TestRow(t *testing.T) {
	unknown := func(b builder) builder {
		b.lm.Status.Phase = v1alpha1.PhaseUnknown
		return b
	}
	const first, second, parts = "[Migrated Gone Stopped] and [Live Restarted]", "[Live] and [Gone Stopped Migrated]", "[Postcopy] and [Postcopy Incoming]"
	for _, c := range []struct {
		name string
		b    builder
		want string
	}{
		{"nothing is known", makeMigration("m"), ""},
		{"it goes on", makeMigration("m").started().onTarget("Paused/Migration", false), ""},
		{"the target was not read since", makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Absent", false), ""},
		{"it has moved", makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", true), first},
		{"it stayed", makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Absent", true), second},
		{"in post-copy", makeMigration("m").started().inPostCopy().onTarget("Running/Postcopy", false), ""},
		{"in post-copy, and the source is away", unknown(makeMigration("m").started().inPostCopy().onTarget("Running/Postcopy", false)), parts},
		{"the source is away", unknown(makeMigration("m").started().onTarget("Absent", false)), "[Unseen] and ["},
		{"the target was not read since, for long", unknown(makeMigration("m").ended(v1alpha1.CallFailed, "", "Running/Booted").onTarget("Absent", false)), second},
	} {
		switch row := Row(c.b.obj()); {
		case c.want == "" && row != -1, c.want != "" && row < 0:
			t.Errorf("%s: the row is %d, want %q", c.name, row, c.want)
		case row >= 0 && !strings.HasPrefix(Rows()[row], c.want):
			t.Errorf("%s: the row is %s, want %s", c.name, Rows()[row], c.want)
		}
	}
}
