package migration

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestLatePauseIsNotUndone: where the target's agent came late, somebody may have paused the
// guest there in the meantime, and run another copy.
func TestLatePauseIsNotUndone(t *testing.T) {
	paused := func() builder {
		return makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Paused/User", true).pausedByUs()
	}
	later := func(d time.Duration) *metav1.MicroTime { return new(metav1.NewMicroTime(epoch.Add(d))) }
	byAgents, byManager := paused(), paused()
	byAgents.lm.Status.Target.ConfirmedTime = later(ConfirmTimeout + time.Microsecond)
	byManager.lm.Status.Attempt.ConfirmationSeenTime = later(ConfirmTimeout + time.Microsecond)
	for name, b := range map[string]builder{"by the agents' clocks": byAgents, "by the manager's": byManager} {
		got := Judge(b.obj(), epoch.Add(2*time.Minute))
		if got.ResumeTarget || got.Verdict != VerdictSucceeded || got.Reason != v1alpha1.ReasonArrivedNotRunning ||
			!strings.Contains(got.Message, "runs nowhere else") {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	inTime := paused()
	inTime.lm.Status.Target.ConfirmedTime, inTime.lm.Status.Attempt.ConfirmationSeenTime = later(ConfirmTimeout), later(ConfirmTimeout)
	// What the migration has not paused, or what stands still for another reason as well, it does
	// not claim to have paused, however late.
	users, broken := makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Paused/User", true), paused().onTarget("Paused/IOError", true)
	for want, b := range map[string]builder{"somebody has paused it": users, "I/O error": broken} {
		b.lm.Status.Target.ConfirmedTime = later(2 * ConfirmTimeout)
		if got := Judge(b.obj(), epoch.Add(3*ConfirmTimeout)); got.ResumeTarget || !strings.Contains(got.Message, want) {
			t.Errorf("%s: got %+v", want, got)
		}
	}
	unread, unseen := paused(), paused()
	unread.lm.Status.Target.ConfirmedTime, unread.lm.Status.Attempt.ConfirmationSeenTime = nil, nil
	unseen.lm.Status.Attempt.EndSeenTime = nil
	for name, b := range map[string]builder{"in time": inTime, "not read since": unread, "not seen by the manager": unseen} {
		if got := Judge(b.obj(), epoch); !got.ResumeTarget {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

// TestUsersPauseStays: of a guest that was paused before, the pause is its user's,
// whatever was done to complete the migration.
func TestUsersPauseStays(t *testing.T) {
	b := makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Paused/User").onTarget("Absent", true).pausedByUs()
	b.lm.Status.Source.GuestPaused = true
	if got := Judge(b.obj(), epoch); got.ResumeSource || got.Verdict != VerdictFailed {
		t.Errorf("got %+v", got)
	}
}
