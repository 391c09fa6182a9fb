package agent

import (
	"context"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// oneJob is a hypervisor that knows of a running guest and its job, and no more.
type oneJob struct {
	hypervisor.Hypervisor
	job hypervisor.JobStats
}

func (o *oneJob) LookupDomain(context.Context, string) (hypervisor.Domain, error) {
	return hypervisor.Domain{State: hypervisor.StateRunning}, nil
}

func (o *oneJob) JobStats(context.Context, string) (hypervisor.JobStats, error) { return o.job, nil }

// TestQuietBeginsAnewWhenAnotherJobEnds: a migrate call may have waited for it, and
// begins only then.
func TestQuietBeginsAnewWhenAnotherJobEnds(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := testclock.NewFakeClock(start)
	another := hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationUnknown}
	ours := hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: hypervisor.OperationMigrationOut}
	hv := &oneJob{job: another}
	s := &sourceSession{node: &Node{Clock: clock}, hv: hv, lm: &v1alpha1.LiveMigration{}}
	for _, step := range []struct {
		job   hypervisor.JobStats
		after time.Duration
		want  time.Duration
	}{
		{another, 0, 0},
		{another, time.Second, 0},
		{hypervisor.JobStats{Type: hypervisor.JobNone}, 9 * time.Second, 10 * time.Second},
		{hypervisor.JobStats{Type: hypervisor.JobNone}, time.Second, 10 * time.Second},
		{ours, time.Second, -1},
		{hypervisor.JobStats{Type: hypervisor.JobNone}, time.Second, 13 * time.Second},
	} {
		clock.Step(step.after)
		hv.job = step.job
		s.look(t.Context())
		switch got := s.quietSince.Sub(start); {
		case step.want < 0 && !s.quietSince.IsZero():
			t.Errorf("quiet since %s while the guest is migrated", got)
		case step.want >= 0 && got != step.want:
			t.Errorf("after %s quiet since %s, want %s", clock.Since(start), got, step.want)
		}
	}
}
