package migration

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestASuccessAfterTwoCopiesIsConfirmed: both may have stopped, and the target's was read before.
func TestASuccessAfterTwoCopiesIsConfirmed(t *testing.T) {
	for source, want := range map[string]Verdict{
		"Shutoff/Shutdown": VerdictPending, "Absent": VerdictPending, "Shutoff/Migrated": VerdictSucceeded,
	} {
		b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", source).onTarget("Running/Migrated", false)
		b.lm.Status.Source.End.Observation = 2
		if got := Judge(b.obj(), epoch).Verdict; got != want {
			t.Errorf("%s, which was something else after the end, gives %s, want %s", source, got, want)
		}
		b.onTarget("Running/Migrated", true)
		b.lm.Status.Target.AnswersSource = 2
		if got := Judge(b.obj(), epoch).Verdict; got != VerdictSucceeded {
			t.Errorf("%s, and the target was read since: %s", source, got)
		}
	}
}

// TestACopyThatRanOnTheSourceAndIsGone may be somewhere else, where somebody has moved it.
func TestACopyThatRanOnTheSourceAndIsGone(t *testing.T) {
	for gone, told := range map[string]bool{"Shutoff/Migrated": true, "Absent": true, "Shutoff/Destroyed": false} {
		b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Shutoff/Migrated").onTarget("Running/Migrated", true)
		source, target := b.lm.Status.Source, b.lm.Status.Target
		for _, seen := range []string{"Running/MigrationCanceled", gone} {
			SeeSource(source, target, *observed(seen), epoch)
		}
		SeeTarget(target, source, *target.Domain)
		if got := Judge(b.obj(), epoch); got.Verdict != VerdictSucceeded || strings.Contains(got.Message, "It has run on node-a as well") != told {
			t.Errorf("%s: %s %s", gone, got.Verdict, got.Message)
		}
	}
}
