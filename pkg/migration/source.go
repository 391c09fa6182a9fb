package migration

import (
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// SettleTime is how long no job must be seen before a migrate call whose answer
// was lost is taken to be over: the call may have been on its way to libvirt,
// and its job not begun, when the answer was lost.
const SettleTime = 2 * time.Second

// AbortInterval is the time between two requests to abort a job that goes on.
// Asking again closes the race in which the first request came just before the
// job began.
const AbortInterval = time.Second

// CallState is where this process stands with its migrate call.
type CallState string

// The states of a migrate call.
const (
	// CallNone: this process has made no call. If the start was recorded, an
	// earlier process may have made it.
	CallNone CallState = "None"
	// CallInFlight: the call has not returned.
	CallInFlight CallState = "InFlight"
	// CallReturned: the call has returned with a definite answer.
	CallReturned CallState = "Returned"
	// CallLost: the call has returned without an answer.
	CallLost CallState = "Lost"
)

// SourceFacts is what the source's agent knows of a migration.
type SourceFacts struct {
	// Object is the LiveMigration as last seen.
	Object *v1alpha1.LiveMigration
	// Section is the agent's own section of the current attempt, which may be
	// newer than the one in Object; nil where there is none.
	Section *v1alpha1.SourceStatus
	// Call is this process's migrate call.
	Call CallState
	// Seen is whether Domain and Job were read just now; false while the
	// hypervisor cannot be reached.
	Seen bool
	// Domain is the guest; nil where the hypervisor does not know it.
	Domain *hypervisor.Domain
	Job    hypervisor.JobStats
	// QuietSince is since when no job has been seen; zero while there is one.
	QuietSince time.Time
	// LastAbort is when this process last asked for the job's abort.
	LastAbort time.Time
}

// SourceAction is the source agent's next act.
type SourceAction string

// The acts of a source's agent.
const (
	// SourceWait: nothing to do until something changes.
	SourceWait SourceAction = "Wait"
	// SourceCheck: check the guest and report what the target must know.
	SourceCheck SourceAction = "Check"
	// SourceStart: rewrite the definition, record the intent, and start.
	SourceStart SourceAction = "Start"
	// SourceFollow: read the job's statistics and report progress.
	SourceFollow SourceAction = "Follow"
	// SourceAbort: ask libvirt to abort the job.
	SourceAbort SourceAction = "Abort"
	// SourceEnd: report that the job is over and what became of the guest here.
	SourceEnd SourceAction = "End"
	// SourceUndefine: remove the definition of the guest that has moved away.
	SourceUndefine SourceAction = "Undefine"
	// SourceDone: the agent has no more part in the migration.
	SourceDone SourceAction = "Done"
)

// DecideSource chooses the source agent's next act.
func DecideSource(f SourceFacts, now time.Time) SourceAction {
	lm, section := f.Object, f.Section
	switch {
	case section != nil && section.End != nil:
		return decideSourceAfterEnd(f, now)
	case section != nil && section.StartRequestedTime != nil:
		return decideSourceStarted(f, now)
	case Finished(lm):
		return SourceDone
	case CancelRequested(lm), lm.Status.Attempt == nil:
		return SourceWait
	case section == nil:
		return SourceCheck
	case section.Problem != nil:
		return SourceWait
	}
	if target := CurrentTarget(lm); target != nil && target.ReadyTime != nil && target.Problem == nil {
		return SourceStart
	}
	return SourceWait
}

func decideSourceStarted(f SourceFacts, now time.Time) SourceAction {
	underWay := f.Call == CallInFlight || f.Seen && f.Job.MigratingOut()
	switch {
	case underWay && CancelRequested(f.Object) && now.Sub(f.LastAbort) >= AbortInterval:
		return SourceAbort
	case underWay, !f.Seen:
		return SourceFollow
	case f.Call == CallReturned:
		return SourceEnd
	case f.Domain == nil || !f.Domain.Active():
		return SourceEnd
	case !f.QuietSince.IsZero() && now.Sub(f.QuietSince) >= SettleTime:
		return SourceEnd
	}
	return SourceFollow
}

func decideSourceAfterEnd(f SourceFacts, now time.Time) SourceAction {
	if Finished(f.Object) {
		return SourceDone
	}
	if Judge(f.Object, now).UndefineSource && f.Seen && f.Domain != nil && !f.Domain.Active() {
		return SourceUndefine
	}
	return SourceWait
}
