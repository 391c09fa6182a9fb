package migration

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestStall(t *testing.T) {
	const long, short = StallTimeout, StallTimeout - time.Millisecond
	running := &hypervisor.Domain{State: hypervisor.StateRunning, Persistent: true}
	out := hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut}
	seen := SourceFacts{Call: CallInFlight, Seen: true, Domain: running, Job: out}
	unseen := func(span time.Duration) SourceFacts {
		return SourceFacts{Call: CallInFlight, UnseenSince: epoch.Add(-span)}
	}
	aborted := func(span time.Duration) builder {
		b := makeMigration("m").started()
		b.lm.Status.Source.Steering = &v1alpha1.SteeringStatus{Abort: &v1alpha1.SteeringStep{Time: metav1.NewMicroTime(epoch.Add(-span))}}
		return b
	}
	before := func(b builder) builder {
		b.lm.Status.Source.Stall = &v1alpha1.StallStatus{Reason: v1alpha1.StallAbortIneffective}
		return b
	}
	inPostCopy := aborted(long)
	inPostCopy.lm.Status.Source.Steering.PostCopyTime = new(metav1.NewMicroTime(epoch))
	for _, c := range []struct {
		name  string
		b     builder
		facts SourceFacts
		want  v1alpha1.StallReason
	}{
		{"not started", makeMigration("m").admitted().checked(), unseen(long), ""},
		{"running", makeMigration("m").started(), seen, ""},
		{"not looked at yet", makeMigration("m").started(), SourceFacts{}, ""},
		{"no answer for a moment", makeMigration("m").started(), unseen(short), ""},
		{"no answer for long", makeMigration("m").started(), unseen(long), v1alpha1.StallNoAnswer},
		{"no answer in post-copy either", inPostCopy, unseen(long), v1alpha1.StallNoAnswer},
		{"no answer after the end", makeMigration("m").ended(v1alpha1.CallFailed, "Other", "Running/Booted"), unseen(long), ""},
		{"aborted a moment ago", aborted(short), seen, ""},
		{"aborted long ago", aborted(long), seen, v1alpha1.StallAbortIneffective},
		{"aborted long ago, and the job of a call that was lost goes on", aborted(long),
			SourceFacts{Call: CallLost, Seen: true, Domain: running, Job: out}, v1alpha1.StallAbortIneffective},
		{"aborted long ago, and the call has returned", aborted(long), SourceFacts{Call: CallReturned, Seen: true, Domain: running}, ""},
		{"aborted too late", inPostCopy, seen, ""},
		{"aborted long ago, and no answer for a moment", before(aborted(long)), unseen(short), v1alpha1.StallAbortIneffective},
		{"it is over", before(makeMigration("m").started()), seen, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.facts.Object, c.facts.Section = c.b.obj(), c.b.lm.Status.Source
			var got v1alpha1.StallReason
			if stall := Stall(c.facts, epoch); stall != nil {
				got = stall.Reason
			}
			if got != c.want {
				t.Errorf("it is %q, want %q", got, c.want)
			}
		})
	}
}
