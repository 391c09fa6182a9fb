package migration

import (
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// SettleTime is how long no job must be seen before a migrate call whose answer was
// lost, and whose job was seen, is taken to be over. One call makes one job.
const SettleTime = 2 * time.Second

// JobWait is the same for a call whose job was never seen: it is more than the 30
// seconds for which libvirt lets a call wait for its turn. What it waits for need not be
// visible: not every operation that occupies a domain counts as a job. It is counted from
// libvirt's first answer after the call, before which libvirt has taken up the call
// itself: it takes calls up in their order.
const JobWait = 35 * time.Second

// HungTime is how long the source may take to see that the migration is over: a migrate
// call to return once the guest is gone from there, and a half in post-copy to go once
// the target has the whole guest.
const HungTime = 15 * time.Second

// AbortInterval is the time between two requests to abort a job that goes on.
// Asking again closes the race in which the first request came just before the
// job began.
const AbortInterval = time.Second

// RecoverInterval is the time between two attempts to resume a post-copy that was
// interrupted. An attempt is refused, and harmless, for as long as the
// hypervisors themselves believe in their connection.
const RecoverInterval = 5 * time.Second

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
	// CallNotMade: this very process has recorded the start, and knows that it has not
	// made the call and never will: it has not heard in time that the start is recorded.
	CallNotMade CallState = "NotMade"
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
	// Foreign is whether Job is a migration that somebody else has started, or the last one
	// that was read was; see Foreign.
	Foreign bool
	// QuietSince is since when no migration of ours has been seen; zero while there is
	// one.
	QuietSince time.Time
	// WholeSince is since when this process knows that the target has the whole
	// guest; zero where it does not.
	WholeSince time.Time
	// LastAbort is when this process last asked for the job's abort.
	LastAbort time.Time
	// LastRecover is when this process last tried to resume post-copy.
	LastRecover time.Time
	// UnseenSince is since when the hypervisor has not answered about the guest; zero while
	// it does.
	UnseenSince time.Time
	// Asked is when this process last told the target of something new after the end, or
	// asked it to look again; zero if it has not.
	Asked time.Time
	// MarkersKept is whether this process has tried in vain to remove the markers.
	MarkersKept bool
	// Pausing is whether this process has recorded that it pauses its copy, and has not
	// tried to yet.
	Pausing bool
}

// SourceAction is the source agent's next act.
type SourceAction string

// The acts of a source's agent.
const (
	// SourceWait: nothing to do until something changes.
	SourceWait SourceAction = "Wait"
	// SourceCheck: check the guest and report what the target must know.
	SourceCheck SourceAction = "Check"
	// SourceRemoveMarkers: remove the files by which the target could tell shared disks.
	SourceRemoveMarkers SourceAction = "RemoveMarkers"
	// SourceRemoveImages: remove the images that the guest has left.
	SourceRemoveImages SourceAction = "RemoveImages"
	// SourcePlan: rewrite the definition for a dry run, and report that or the problem.
	SourcePlan SourceAction = "Plan"
	// SourceDetach: take interfaces from the guest that are devices of its host.
	SourceDetach SourceAction = "Detach"
	// SourceAttach: give them back, as the guest stays.
	SourceAttach SourceAction = "Attach"
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
	// SourceRecover: resume the post-copy that was interrupted.
	SourceRecover SourceAction = "Recover"
	// SourceResume: resume the guest, which the migration has paused and which is
	// nowhere else.
	SourceResume SourceAction = "Resume"
	// SourceDestroyStale: end the copy that libvirt left paused of a guest that
	// runs on the target.
	SourceDestroyStale SourceAction = "DestroyStale"
	// SourcePauseCopy: pause the guest, which runs on the target as well.
	SourcePauseCopy SourceAction = "PauseCopy"
	// SourceObserve: report the guest as it is now, where a person has changed it
	// since the end.
	SourceObserve SourceAction = "Observe"
	// SourceAsk: ask the target to be read once more, before something is done because of
	// what it shows.
	SourceAsk SourceAction = "Ask"
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
	case markersDue(lm, section) && !f.MarkersKept:
		return SourceRemoveMarkers
	case giveBackDue(lm, section):
		return SourceAttach
	case CancelRequested(lm), Abandoned(lm), lm.Status.Attempt == nil:
		return SourceWait
	case section == nil, section.Guest == nil && section.Problem == nil:
		return SourceCheck
	default:
		return decideSourceChecked(lm, section)
	}
}

// decideSourceChecked decides once the guest was looked at.
func decideSourceChecked(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) SourceAction {
	switch {
	case DryRun(lm), section.Problem != nil, refusedButTold(CurrentTarget(lm)):
		return decideChecksOnly(lm, section)
	case !targetReady(lm):
		return SourceWait
	case lm.Status.Attempt.CopyGrantedTime != nil && section.Guest != nil && detachDue(section):
		return SourceDetach
	case lm.Status.Attempt.CopyGrantedTime != nil:
		return SourceStart
	default:
		return SourceWait
	}
}

func targetReady(lm *v1alpha1.LiveMigration) bool {
	target := CurrentTarget(lm)
	return target != nil && target.ReadyTime != nil && target.Problem == nil
}

// decideChecksOnly goes on where the guest cannot be moved as it is, for all that is wrong to be
// known at once.
func decideChecksOnly(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) SourceAction {
	if section.CheckedTime == nil && section.Guest != nil && (targetReady(lm) || targetChecked(lm) || refusedButTold(CurrentTarget(lm))) {
		return SourcePlan
	}
	return SourceWait
}

// targetChecked reports whether the target has looked at a guest that the source refuses, and has
// nothing against it.
func targetChecked(lm *v1alpha1.LiveMigration) bool {
	target := CurrentTarget(lm)
	return target != nil && target.CheckedTime != nil && target.Problem == nil
}

// refusedButTold reports whether the target refuses the guest and has told of its host
// nevertheless, so that the source can find what else is in the way.
func refusedButTold(target *v1alpha1.TargetStatus) bool {
	return target != nil && target.Problem != nil && target.Endpoint != nil
}

func decideSourceStarted(f SourceFacts, now time.Time) SourceAction {
	underWay := underWay(f)
	switch {
	case ownHalf(f):
		return decideSourcePostCopy(f, now)
	case f.Seen && hung(f, now):
		return SourceEnd
	case underWay && mayAbort(f, now):
		return SourceAbort
	case !underWay && f.Seen && over(f, now):
		return SourceEnd
	default:
		return SourceFollow
	}
}

// Foreign reports whether a migration that runs away from here is somebody else's. One
// that is older than our call is: ours waits for its turn. Called is when the call was
// made by this process, and zero in one that has adopted the attempt; then the record of
// the start stands for it. Both and the job's age are by the clock of this host. A job
// that was once taken for ours stays ours, as a clock may be set.
func Foreign(section *v1alpha1.SourceStatus, called time.Time, job hypervisor.JobStats, now time.Time) bool {
	if section == nil || section.StartRequestedTime == nil || section.JobStartedTime != nil || !job.MigratingOut() {
		return false
	}
	if called.IsZero() {
		called = section.StartRequestedTime.Time
	}
	return job.Elapsed > now.Sub(called)+ageTolerance
}

// Ours reports whether a job is the migration that was started for this attempt.
func Ours(section *v1alpha1.SourceStatus, called time.Time, job hypervisor.JobStats, now time.Time) bool {
	return section != nil && section.StartRequestedTime != nil && job.MigratingOut() && !Foreign(section, called, job, now)
}

// ageTolerance is by how much libvirt and an agent may differ about a job's age.
const ageTolerance = 100 * time.Millisecond

// answered reports whether nothing can come of the call any more.
func answered(call CallState) bool { return call == CallReturned || call == CallNotMade }

// underWay reports whether the migration may still be. Once its call has returned, a job
// that moves the guest is somebody else's.
func underWay(f SourceFacts) bool {
	return f.Call == CallInFlight || !answered(f.Call) && f.Seen && f.Job.MigratingOut() && !f.Foreign
}

// mayAbort: an abort that was ordered is asked for until the job is gone. Somebody
// else's migration is not aborted for ours, which waits for it; so nothing is aborted
// that has not been looked at just now.
func mayAbort(f SourceFacts, now time.Time) bool {
	ordered := abortAsked(f.Section) && f.Job.MigratingOut()
	return f.Seen && !InPostCopy(f.Section) && !f.Foreign && (ordered || CancelDue(f.Object, f.Section)) && now.Sub(f.LastAbort) >= AbortInterval
}

// hung reports whether the call has not returned though nothing is left here that
// it could move: libvirt may wait for ever for a target that waits for the source.
func hung(f SourceFacts, now time.Time) bool {
	gone := f.Domain == nil || !f.Domain.Active()
	return f.Call == CallInFlight && gone && !f.QuietSince.IsZero() && now.Sub(f.QuietSince) >= HungTime
}

// over reports whether a job that is not seen has ended, rather than not begun: the call
// may be waiting for its turn. Of a guest that is gone from here there is nothing left
// to move.
func over(f SourceFacts, now time.Time) bool {
	settle := SettleTime
	if f.Section.JobStartedTime == nil {
		settle = JobWait
	}
	return answered(f.Call) || f.Domain == nil || !f.Domain.Active() ||
		!f.QuietSince.IsZero() && now.Sub(f.QuietSince) >= settle
}

// ownHalf reports whether the domain is what our migration has left here in post-copy.
func ownHalf(f SourceFacts) bool {
	return f.Seen && half(f.Domain) && !f.Foreign && f.Call != CallNotMade
}

// half reports whether the domain is the source's part of a guest that runs on
// the target in post-copy.
func half(d *hypervisor.Domain) bool {
	return d != nil && (d.Reason == hypervisor.ReasonPostcopy || d.Reason == hypervisor.ReasonPostcopyFailed)
}

// decideSourcePostCopy never aborts: the guest would be lost. It ends only where the
// target has the whole guest and the source does not hear of it: what the target's
// emulator says last may get lost with its connection, after which the source's waits
// for ever.
func decideSourcePostCopy(f SourceFacts, now time.Time) SourceAction {
	if Whole(CurrentTarget(f.Object)) {
		if !f.WholeSince.IsZero() && now.Sub(f.WholeSince) >= HungTime {
			return SourceEnd
		}
		return SourceFollow
	}
	broken := f.Domain.Reason == hypervisor.ReasonPostcopyFailed
	if broken && !ResumeWithheld(f.Section) && f.Call != CallInFlight && now.Sub(f.LastRecover) >= RecoverInterval && Judge(f.Object, now).Verdict == VerdictPending {
		return SourceRecover
	}
	return SourceFollow
}

// decideSourceAfterEnd reports first what is new here. What is done here because of what
// the target shows is done only when the target was read after that, and a moment ago.
func decideSourceAfterEnd(f SourceFacts, now time.Time) SourceAction {
	switch target := CurrentTarget(f.Object); {
	case Finished(f.Object):
		return SourceDone
	case !f.Seen:
		return SourceWait
	case SideSince(f.Section.End.Domain, f.Domain, f.Job) != f.Section.End.Domain:
		return SourceObserve
	case target != nil && !SourceAnswers(f.Section, target) && !Judge(withSource(f.Object, f.Section), now).final():
		return SourceObserve
	case lacksInterfaces(f):
		return SourceAttach // Whatever the target shows, the guest is here.
	case !TargetAnswers(f.Section, target):
		return SourceWait
	}
	action := cleanUpSource(f, Judge(withSource(f.Object, f.Section), now))
	if action != SourceWait && !recent(f.Asked, now) {
		return SourceAsk
	}
	return action
}

// withSource returns the object with the agent's own section, which may be newer.
func withSource(lm *v1alpha1.LiveMigration, section *v1alpha1.SourceStatus) *v1alpha1.LiveMigration {
	own := *lm
	own.Status.Source = section
	return &own
}

// PauseDue reports whether the source's copy of a guest that runs on both sides is still to
// be paused. It is paused once: a person who resumes it knows why. So a pause that was
// recorded, perhaps by an agent that has died since, is still due only if the copy shows
// that it has not been paused: it has not been seen to differ from what it was at the
// record, and it runs for another reason than Unpaused. That is libvirt's for every guest
// that was paused and goes on, be it by virsh, past libvirt, or while libvirt was away.
// Where libvirt knows no reason, it may have been this one. All other reasons that a person
// can bring about, such as Booted, Restored or FromSnapshot, differ from what was recorded.
func PauseDue(end *v1alpha1.SourceEnd) bool {
	switch reason := hypervisor.Reason(end.Domain.Reason); {
	case end.Domain.State != string(hypervisor.StateRunning), end.CopySettledTime != nil:
		return false
	case end.CopyPausedTime == nil:
		return true
	default:
		return reason != hypervisor.ReasonUnpaused && reason != hypervisor.ReasonUnknown && reason != ""
	}
}

// cleanUpSource chooses what to do about the domain that is left here.
func cleanUpSource(f SourceFacts, out Outcome) SourceAction {
	d := f.Domain
	if d == nil || !d.Active() {
		return cleanUpInactive(d, out)
	}
	switch {
	case out.ResumeSource && d.State == hypervisor.StatePaused:
		return SourceResume
	case out.AttachSource:
		return SourceAttach
	case out.DestroySource:
		return SourceDestroyStale
	case out.PauseSource && d.State == hypervisor.StateRunning && (PauseDue(f.Section.End) || f.Pausing && f.Section.End.CopySettledTime == nil):
		return SourcePauseCopy
	default:
		return SourceWait
	}
}

// cleanUpInactive chooses what to do about what is left here of a guest that is not active.
func cleanUpInactive(d *hypervisor.Domain, out Outcome) SourceAction {
	switch {
	case out.UndefineSource && d != nil:
		return SourceUndefine
	case out.RemoveSourceImages:
		return SourceRemoveImages
	default:
		return SourceWait
	}
}

// SideSince is the guest on the source after the end, given what was reported then
// and what is seen now. That it had stopped there, and why, is not forgotten when
// nothing is left of it, nor when a libvirtd that has restarted does not know why.
func SideSince(reported v1alpha1.DomainObservation, now *hypervisor.Domain, job hypervisor.JobStats) v1alpha1.DomainObservation {
	seen := Observe(now, job)
	was := SideOf(&reported)
	if was != SideMigrated && was != SideStopped {
		return seen
	}
	stillStopped := now != nil && !now.Active() && now.Reason == hypervisor.ReasonUnknown
	if SideOf(&seen) == SideGone || stillStopped {
		reported.Defined = seen.Defined
		return reported
	}
	return seen
}
