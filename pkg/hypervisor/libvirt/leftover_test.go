package libvirt

import (
	"testing"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// TestFate: whatever may be, or become, somebody's guest is spared.
func TestFate(t *testing.T) {
	t.Parallel()
	const (
		running, paused, shutoff = hypervisor.StateRunning, hypervisor.StatePaused, hypervisor.StateShutoff
		none, in, out, backup    = hypervisor.OperationUnknown, hypervisor.OperationMigrationIn, hypervisor.OperationMigrationOut, hypervisor.OperationOther
	)
	for _, c := range []struct {
		state           hypervisor.State
		reason          hypervisor.Reason
		job             hypervisor.JobOperation
		incoming, stale fate
	}{
		{paused, hypervisor.ReasonMigration, none, fateDestroyed, fateDestroyed},
		{paused, hypervisor.ReasonMigration, in, fateDestroyed, fateSpared},
		{paused, hypervisor.ReasonMigration, out, fateSpared, fateSpared},
		{paused, hypervisor.ReasonMigration, backup, fateSpared, fateSpared},
		{paused, hypervisor.ReasonPostcopy, none, fateSpared, fateDestroyed},
		{paused, hypervisor.ReasonPostcopy, out, fateSpared, fateDestroyed},
		{paused, hypervisor.ReasonPostcopy, in, fateSpared, fateSpared},
		{paused, hypervisor.ReasonPostcopy, backup, fateSpared, fateSpared},
		{paused, hypervisor.ReasonPostcopyFailed, none, fateSpared, fateDestroyed},
		{paused, hypervisor.ReasonPostcopyFailed, out, fateSpared, fateDestroyed},
		{paused, hypervisor.ReasonPostcopyFailed, in, fateSpared, fateSpared},
		{paused, hypervisor.ReasonUser, none, fateSpared, fateSpared},
		{paused, hypervisor.ReasonUser, in, fateSpared, fateSpared},
		{paused, hypervisor.ReasonUser, out, fateSpared, fateSpared},
		{paused, hypervisor.ReasonIOError, none, fateSpared, fateSpared},
		{paused, hypervisor.ReasonStartingUp, in, fateSpared, fateSpared},
		{paused, hypervisor.ReasonUnknown, none, fateSpared, fateSpared},
		{running, hypervisor.ReasonMigrated, none, fateSpared, fateSpared},
		{running, hypervisor.ReasonMigration, none, fateSpared, fateSpared},
		{running, hypervisor.ReasonPostcopy, out, fateSpared, fateSpared},
		{running, hypervisor.ReasonPostcopy, none, fateSpared, fateSpared},
		{hypervisor.StateCrashed, hypervisor.ReasonMigration, none, fateSpared, fateSpared},
		{shutoff, hypervisor.ReasonMigrated, none, fateGone, fateGone},
		{shutoff, hypervisor.ReasonMigration, none, fateGone, fateGone},
		{shutoff, hypervisor.ReasonPostcopy, none, fateGone, fateGone},
		{shutoff, hypervisor.ReasonDestroyed, none, fateGone, fateGone},
	} {
		job := hypervisor.JobStats{Type: hypervisor.JobUnbounded, Operation: c.job}
		if c.job == none {
			job.Type = hypervisor.JobNone
		}
		if got := fateOfIncoming(c.state, c.reason, job); got != c.incoming {
			t.Errorf("incoming, %s/%s with job %s: %s, not %s", c.state, c.reason, c.job, got, c.incoming)
		}
		if got := fateOfStale(c.state, c.reason, job); got != c.stale {
			t.Errorf("stale, %s/%s with job %s: %s, not %s", c.state, c.reason, c.job, got, c.stale)
		}
	}
}
