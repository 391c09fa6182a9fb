package migration

import (
	"cmp"
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

// TestWhatWasStartedOnTheTarget is told from what the migration has brought.
func TestWhatWasStartedOnTheTarget(t *testing.T) {
	for _, c := range []struct {
		name                   string
		source, target         string
		call                   v1alpha1.CallResult
		neverLeft, half, whole bool
		incomingID, id         int64
		started                bool
	}{
		{name: "booted, and no half was seen", source: "Running/Booted", target: "Running/Booted", started: true},
		{name: "restored, and no half was seen", source: "Running/Booted", target: "Running/Restored", started: true},
		{name: "resumed, and no half was seen", source: "Running/Booted", target: "Running/Unpaused", started: true},
		{name: "resumed, the run of the half", source: "Running/Booted", target: "Running/Unpaused", half: true, incomingID: 3, id: 3},
		{name: "resumed, another run", source: "Running/Booted", target: "Running/Unpaused", half: true, incomingID: 3, id: 4, started: true},
		{name: "resumed, another run than the one that had arrived", source: "Running/Booted", target: "Running/Unpaused", half: true, whole: true, incomingID: 3, id: 4, started: true},
		{name: "resumed, and the runs are not known", source: "Running/Booted", target: "Running/Unpaused", half: true},
		{name: "booted, and the runs are not known", source: "Running/Booted", target: "Running/Booted", half: true},
		{name: "the guest never left, and the runs are not known", source: "Running/Booted", target: "Running/Booted", neverLeft: true, half: true, started: true},
		{name: "held, and booted", source: "Paused/Migration", target: "Running/Booted", half: true, incomingID: 3, id: 3, started: true},
		{name: "held, and resumed, another run", source: "Paused/Migration", target: "Running/Unpaused", half: true, incomingID: 3, id: 4, started: true},
		{name: "held, and resumed, the run of the half", source: "Paused/Migration", target: "Running/Unpaused", half: true, incomingID: 3, id: 3},
		{name: "libvirt says that it came by a migration", source: "Running/Booted", target: "Running/Migrated", id: 4},
		{name: "the source says that it has left", source: "Absent", target: "Running/Booted", call: v1alpha1.CallSucceeded, half: true, incomingID: 3, id: 4},
		{name: "another run, which is being moved on", source: "Running/Booted", target: "Running/Unpaused+MigrationOut", half: true, incomingID: 3, id: 4, started: true},
	} {
		b := makeMigration("m").ended(cmp.Or(c.call, v1alpha1.CallUnknown), "", c.source).onTarget(c.target, true)
		source, target := b.lm.Status.Source, b.lm.Status.Target
		source.End.NeverLeft, target.IncomingID, target.Domain.ID = c.neverLeft, c.incomingID, c.id
		if c.half {
			target.IncomingTime = new(metav1.NewMicroTime(epoch))
		}
		if c.whole {
			target.ArrivedTime = new(metav1.NewMicroTime(epoch))
		}
		if got := targetSideOf(source, target); (got == SideStarted) != c.started {
			t.Errorf("%s: the target is %s", c.name, got)
		}
	}
}

// TestNoteDefinition: what is defined on the target after the start may have come along.
func TestNoteDefinition(t *testing.T) {
	for _, c := range []struct {
		name          string
		b             builder
		target        string
		defined, want bool
	}{
		{"defined while it waited", makeMigration("m").admitted().checked().ready(), "Shutoff/Shutdown", true, true},
		{"not defined", makeMigration("m").admitted().checked().ready(), "Absent", false, false},
		{"defined after the start", makeMigration("m").started(), "Running/Migrated", true, false},
	} {
		section := &v1alpha1.TargetStatus{Domain: observed(c.target), DefinedBefore: new(false)}
		section.Domain.Defined = c.defined
		NoteDefinition(section, CurrentSource(c.b.obj()))
		if *section.DefinedBefore != c.want {
			t.Errorf("%s: it was there before: %t", c.name, *section.DefinedBefore)
		}
	}
}
