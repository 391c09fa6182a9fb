package migration

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestWhatIsSaidOfTwoCopies: that one was paused is said once it was, and not of a person's
// pause.
func TestWhatIsSaidOfTwoCopies(t *testing.T) {
	const being, was, resumed, both = "is being paused", "was paused, once", "not paused a second time", "both hosts have the whole guest"
	for _, c := range []struct {
		source            string
		recorded, settled bool
		target, says      string
	}{
		{"Running/MigrationCanceled", false, false, "Running/Migrated", being},
		{"Running/MigrationCanceled", true, false, "Running/Migrated", being},
		{"Running/MigrationCanceled", true, true, "Running/Migrated", resumed},
		{"Running/Unpaused", false, false, "Running/Migrated", being},
		{"Running/Unpaused", true, false, "Running/Migrated", resumed},
		{"Running/Unpaused", true, true, "Running/Migrated", resumed},
		{"Paused/User", true, true, "Running/Migrated", was},
		{"Paused/User", true, true, "Paused/IOError", was},
		{"Paused/User", false, false, "Running/Migrated", both},
		{"Paused/IOError", false, false, "Running/Migrated", both},
		{"Running/MigrationCanceled", false, false, "Paused/IOError", both},
		{"Running/MigrationCanceled", false, false, "Running/Migrated+MigrationOut", being},
		{"Paused/User", true, true, "Running/Migrated+MigrationOut", was},
	} {
		b := makeMigration("m").ended(v1alpha1.CallUnknown, "", c.source).onTarget(c.target, true)
		b.lm.Status.Target.IncomingTime = new(metav1.NewMicroTime(epoch))
		end := b.lm.Status.Source.End
		if c.recorded {
			end.CopyPausedTime = new(metav1.NewMicroTime(epoch))
		}
		if c.settled {
			end.CopySettledTime = new(metav1.NewMicroTime(epoch))
		}
		got := Judge(b.obj(), epoch).Message
		for _, s := range []string{being, was, resumed, both} {
			if strings.Contains(got, s) != (s == c.says) {
				t.Errorf("%+v: it is said: %s", c, got)
			}
		}
	}
}

// TestOnlyOneOfTwoRunningCopiesIsPaused: where the target's stands still, the
// source's is the only one that runs.
func TestOnlyOneOfTwoRunningCopiesIsPaused(t *testing.T) {
	for target, want := range map[string]bool{
		"Running/Migrated": true, "Paused/IOError": false, "Paused/User": false,
		// Somebody is moving the target's copy on: it runs for as long as that takes.
		"Running/Migrated+MigrationOut": true, "Paused/User+MigrationOut": false, "Paused/Migration+MigrationOut": false,
		// It was not brought: somebody has started it there.
		"Running/Booted": false, "Running/Booted+MigrationOut": false,
	} {
		b := makeMigration("m").ended(v1alpha1.CallUnknown, "", "Running/Booted").onTarget(target, true)
		if got := Judge(b.obj(), epoch).PauseSource; got != want {
			t.Errorf("%s: PauseSource is %t", target, got)
		}
	}
}

// TestACopyThatHasRunOnTheTargetIsNotForgotten: the source's copy goes on, because its libvirt
// was never told of the arrival, and the target's has gone. Whoever migrates the guest again
// without a look for that copy may run it twice for ever.
func TestACopyThatHasRunOnTheTargetIsNotForgotten(t *testing.T) {
	const nothing, made, moved = "", "make sure that nobody has moved that copy", "somebody has migrated the target's copy to another host"
	for _, c := range []struct {
		source, target string
		arrived        bool
		says           string
		verdict        Verdict
	}{
		{"Running/MigrationCanceled", "Shutoff/Migrated", true, moved, VerdictUnknown},
		{"Running/Unpaused", "Shutoff/Migrated", true, moved, VerdictUnknown},
		{"Running/MigrationCanceled", "Absent", true, made, VerdictFailed},
		{"Running/MigrationCanceled", "Shutoff/Destroyed", true, made, VerdictFailed},
		{"Running/MigrationCanceled", "Shutoff/Migrated", false, nothing, VerdictFailed},
		{"Running/MigrationCanceled", "Absent", false, nothing, VerdictFailed},
		// It has never stood still, so that nothing of it has arrived.
		{"Running/Booted", "Absent", true, nothing, VerdictFailed},
		{"Running/Booted", "Shutoff/Migrated", true, nothing, VerdictFailed},
	} {
		b := makeMigration("m").ended(v1alpha1.CallUnknown, "", c.source).onTarget(c.target, true)
		if c.arrived {
			target := b.lm.Status.Target
			target.IncomingTime, target.ArrivedTime = new(metav1.NewMicroTime(epoch)), new(metav1.NewMicroTime(epoch))
		}
		got := Judge(b.obj(), epoch.Add(ConfirmTimeout))
		if got.Verdict != c.verdict {
			t.Errorf("%+v: the verdict is %s: %s", c, got.Verdict, got.Message)
		}
		for _, s := range []string{made, moved} {
			if strings.Contains(got.Message, s) != (s == c.says) {
				t.Errorf("%+v: it is said: %s", c, got.Message)
			}
		}
	}
}
