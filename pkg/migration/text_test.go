package migration

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestAbsurdMessagesFit what the API takes, whatever libvirt says.
func TestAbsurdMessagesFit(t *testing.T) {
	for name, absurd := range map[string]string{
		"long": strings.Repeat("no ", 100_000), "of many bytes": strings.Repeat("né→🐧", 50_000), "not valid": strings.Repeat("\xff\xfe", 100_000), "short": "no",
		"just too long": strings.Repeat("🐧", MaxMessage/4) + "!",
	} {
		for _, most := range []int{MaxMessage, MaxProblemMessage, MaxConditionMessage} {
			got := Shorten(absurd, most)
			if len(got) > most || utf8.RuneCountInString(got) > most || !utf8.ValidString(got) || got == "" {
				t.Errorf("%s: %d bytes of %d, valid %t", name, len(got), most, utf8.ValidString(got))
			}
		}
		b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted").onTarget("Absent", true)
		b.lm.Status.Source.End.ErrorMessage = absurd
		s := Summarize(ManagerFacts{Object: b.obj(), Nodes: NewInventory(Node{Name: "node-a", Ready: true}, Node{Name: "node-b", Ready: true})}, epoch)
		for _, c := range s.Status.Conditions {
			if utf8.RuneCountInString(c.Message) > MaxConditionMessage || !utf8.ValidString(c.Message) {
				t.Errorf("%s: the condition %s has a message of %d characters", name, c.Type, utf8.RuneCountInString(c.Message))
			}
		}
		forced := makeMigration("m").started()
		forced.lm.Status.Requests = []v1alpha1.RequestStatus{{Type: v1alpha1.RequestForceComplete, Token: "1", State: v1alpha1.RequestQueued}}
		forced.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{PostCopy: &v1alpha1.SteeringStep{Error: absurd}}
		for _, r := range ReportRequests(forced.obj(), forced.lm.Status.Source, epoch) {
			if utf8.RuneCountInString(r.Message) > MaxMessage || !utf8.ValidString(r.Message) {
				t.Errorf("%s: a request has a message of %d characters", name, utf8.RuneCountInString(r.Message))
			}
		}
	}
}

// TestWhatFitsIsKept whole.
func TestWhatFitsIsKept(t *testing.T) {
	for message, want := range map[string]string{
		strings.Repeat("a", 20): strings.Repeat("a", 20), strings.Repeat("a", 21): "aaaaaaa … and more", "": "",
	} {
		if got := Shorten(message, 20); got != want {
			t.Errorf("%q becomes %q, want %q", message, got, want)
		}
	}
}

// TestAGuestThatArrivedAndDoesNotRun: it is on the target, which is success, and somebody
// has to look after it.
func TestAGuestThatArrivedAndDoesNotRun(t *testing.T) {
	for _, c := range []struct {
		target       string
		pausedBefore bool
		reason, says string
	}{
		{"Running/Migrated", false, "Migrated", "The guest runs on node-b"},
		{"Blocked/Unknown", false, "Migrated", "The guest runs on node-b"},
		{"Paused/User", true, "Migrated", "paused as it was before"},
		{"Running/Unpaused", true, "Migrated", "The guest runs on node-b"},
		{"Paused/User", false, "ArrivedNotRunning", "somebody has paused it"},
		{"Paused/IOError", false, "ArrivedNotRunning", "an I/O error on one of its disks"},
		{"Paused/IOError", true, "ArrivedNotRunning", "an I/O error on one of its disks"},
		{"Paused/Crashed", false, "ArrivedNotRunning", "has crashed"},
		{"Crashed/Panicked", false, "ArrivedNotRunning", "has crashed"},
		{"Paused/Watchdog", false, "ArrivedNotRunning", "Watchdog"},
		{"PMSuspended/Unknown", false, "ArrivedNotRunning", "suspended to memory"},
		{"Shutdown/User", false, "ArrivedNotRunning", "shutting down"},
	} {
		b := makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget(c.target, true)
		b.lm.Status.Source.GuestPaused = c.pausedBefore
		got := Judge(b.obj(), epoch)
		if got.Verdict != VerdictSucceeded || got.Reason != c.reason || !strings.Contains(got.Message, c.says) || !strings.Contains(got.Message, "node-b") {
			t.Errorf("%s, paused before %t: %+v", c.target, c.pausedBefore, got)
		}
	}
}

// TestEveryFailureHasBothHalves: where the guest is, and what to do.
func TestEveryFailureHasBothHalves(t *testing.T) {
	for _, kind := range []string{"Other", "Unsafe", "PeerLost", "NotSent", "Aborted", "Busy"} {
		for _, call := range []v1alpha1.CallResult{v1alpha1.CallFailed, v1alpha1.CallUnknown} {
			for _, abort := range []string{"", v1alpha1.ReasonWillNotConverge, v1alpha1.ReasonCompletionTimeout, v1alpha1.ReasonProgressTimeout, v1alpha1.ReasonPauseTimeout, v1alpha1.ReasonCancelled} {
				for _, deleted := range []bool{false, true} {
					b := makeMigration("m").ended(call, kind, "Running/Booted").onTarget("Absent", true)
					if abort != "" {
						b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{Reason: abort, Message: "it takes too long"}}
					}
					if deleted {
						b.deleted()
					}
					got := Judge(b.obj(), epoch.Add(time.Hour))
					if !strings.Contains(got.Message, "still runs on node-a") || !strings.Contains(got.Message, "reate another LiveMigration") {
						t.Errorf("%s %s %q: %q", call, kind, abort, got.Message)
					}
				}
			}
		}
	}
}

// TestReasonsThatFitNoCondition are replaced: with one of them, no status could be written.
func TestReasonsThatFitNoCondition(t *testing.T) {
	nodes := NewInventory(Node{Name: "node-a", Ready: true}, Node{Name: "node-b", Ready: true})
	for reason, fits := range map[string]bool{
		"DiskMissing": true, "A": true, "a:b,C_1": true, "": false, "not a reason": false, "-": false, "Reason:": false, "1st": false, "Größe": false,
		"Reason\n": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
	} {
		source := makeMigration("m").admitted().checked()
		source.lm.Status.Source.Problem = &v1alpha1.Problem{Reason: reason, Message: "No"}
		source.lm.Status.Source.CheckedTime = new(metav1.NewMicroTime(epoch))
		target := makeMigration("m").admitted().checked().ready()
		target.lm.Status.Target.Problem = &v1alpha1.Problem{Reason: reason, Message: "No"}
		abort := makeMigration("m").ended(v1alpha1.CallFailed, "Aborted", "Running/Booted").onTarget("Absent", true)
		abort.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{Reason: reason, Message: "No"}}
		for want, b := range map[string]builder{"SourceCheckFailed": source, "TargetCheckFailed": target, "MigrationFailed": abort} {
			if fits {
				want = reason
			}
			got := Summarize(ManagerFacts{Object: b.obj(), Nodes: nodes}, epoch).Status
			if got.Phase != v1alpha1.PhaseFailed || got.Conditions[0].Reason != want {
				t.Errorf("%q: it is %s for %q, want %q", reason, got.Phase, got.Conditions[0].Reason, want)
			}
		}
	}
}

// TestAGuestThatStayedAndDoesNotRun is not said to, and why it does not is.
func TestAGuestThatStayedAndDoesNotRun(t *testing.T) {
	for domain, says := range map[string]string{
		"Running/Booted":      "The guest still runs on node-a;",
		"Blocked/Unknown":     "The guest still runs on node-a;",
		"Paused/User":         "The guest is still on node-a, paused;",
		"Crashed/Panicked":    "does not run: its operating system has crashed (Crashed/Panicked)",
		"PMSuspended/Unknown": "does not run: it is suspended to memory (PMSuspended)",
		"Shutdown/User":       "does not run: it is shutting down (Shutdown/User)",
		"Paused/IOError":      "does not run: it was paused after an I/O error on one of its disks (Paused/IOError)",
		"Paused/Watchdog":     "does not run: it was paused (Paused/Watchdog)",
	} {
		out := Judge(makeMigration("m").ended(v1alpha1.CallFailed, "Other", domain).onTarget("Absent", true).obj(), epoch)
		runs := !strings.Contains(says, "does not run")
		if out.Verdict != VerdictFailed || !strings.Contains(out.Message, says) || strings.Contains(out.Message, "still runs") && !runs {
			t.Errorf("of a guest that is %s, %s, it is said: %s", domain, out.Verdict, out.Message)
		}
	}
}
