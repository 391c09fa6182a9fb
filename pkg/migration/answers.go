package migration

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// AnswerAge is how old the other side's answer may be when an agent acts on it after the
// end. The agent counts from when it asked, by its own clock: the other side was read
// after that.
const AnswerAge = 15 * time.Second

// TargetAnswers reports whether the target was read after the source's present
// observation was known there. Clocks of two nodes cannot tell that.
func TargetAnswers(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	return source != nil && source.End != nil && target != nil && target.ConfirmedTime != nil &&
		target.AnswersSource >= source.End.Observation
}

// SourceAnswers is TargetAnswers the other way round.
func SourceAnswers(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	return source != nil && source.End != nil && target != nil && source.End.AnswersTarget >= target.Observation
}

// recent reports whether what was asked then may still be acted on; zero is never.
func recent(asked, now time.Time) bool { return !asked.IsZero() && now.Sub(asked) < AnswerAge }

// SeeSource takes over what is seen of the guest on the source after the end. It reports
// whether that is new, and the target has to be asked what it shows now.
func SeeSource(section *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus, now v1alpha1.DomainObservation, at time.Time) (news bool) {
	end := section.End
	changed := end.Domain.State != now.State || end.Domain.Reason != now.Reason
	if changed && end.CopyPausedTime != nil && end.CopySettledTime == nil {
		end.CopySettledTime = new(metav1.NewMicroTime(at))
	}
	if news = end.Observation == 0 || end.Domain != now; news {
		end.Domain = now
		end.Observation++
	}
	if end.RanTime == nil && end.Domain.State == string(hypervisor.StateRunning) {
		end.RanTime = new(metav1.NewMicroTime(at))
	}
	if target != nil {
		end.AnswersTarget = max(end.AnswersTarget, target.Observation)
	}
	return news
}

// SeeTarget is SeeSource for the target, before and after the end.
func SeeTarget(section *v1alpha1.TargetStatus, source *v1alpha1.SourceStatus, now v1alpha1.DomainObservation) (news bool) {
	if news = section.Domain == nil || *section.Domain != now; news {
		section.Domain = &now
		section.Observation++
	}
	if source != nil && source.End != nil {
		section.AnswersSource = max(section.AnswersSource, source.End.Observation)
	}
	return news
}

// Brought reports whether what the target shows is something that a migration has brought:
// its half, or a guest that has arrived. A guest that was started there, be it from a
// definition, a saved state or a snapshot, is not.
func Brought(target *v1alpha1.TargetStatus) bool {
	return showsHalf(target) || target.IncomingTime != nil && !startedAnew(target)
}

// showsHalf reports whether the target shows what an incoming migration is making, or has
// made. What looks like that can be a guest that was there before: see NoteIncoming.
func showsHalf(target *v1alpha1.TargetStatus) bool {
	return ShowsIncoming(target.Domain) && target.IncomingEndedTime == nil
}

// startedAnew reports whether what a migration has brought to the target is known to be
// over, so that what runs there is something else. Numbers of runs are not enough: libvirt
// counts on from the highest that is active when it is started, so that the next run may
// have the number of a half that has died.
func startedAnew(target *v1alpha1.TargetStatus) bool {
	return target.IncomingEndedTime != nil || anotherRun(target)
}

// anotherRun reports whether what runs on the target has another number than what a
// migration has brought.
func anotherRun(target *v1alpha1.TargetStatus) bool {
	return target.IncomingID != 0 && target.Domain.ID != 0 && target.Domain.ID != target.IncomingID
}

// hasArrived reports whether the guest was seen on the target, brought by a migration. It
// stays true whatever becomes of it there.
func hasArrived(target *v1alpha1.TargetStatus) bool {
	return target != nil && target.IncomingTime != nil && target.ArrivedTime != nil
}

// NoteDefinition remembers a definition that was on the target before the source has
// recorded the start: it has not come with the migration, which may wait for its slot for
// hours after the target was prepared.
func NoteDefinition(target *v1alpha1.TargetStatus, source *v1alpha1.SourceStatus) {
	if source != nil && source.StartRequestedTime == nil && target.Domain.Defined {
		target.DefinedBefore = new(true)
	}
}

// NoteIncoming remembers that and when a half was first seen on the target that a migration
// brings, or was heard of, which run of the domain that is, and when that was first seen to
// be over, or to be none. Before is what was known until this look.
func NoteIncoming(target, before *v1alpha1.TargetStatus, heard bool, now time.Time) {
	own := wasThere(target, before)
	shown := ShowsIncoming(target.Domain) && !own
	if target.IncomingTime == nil && (heard || shown) {
		target.IncomingTime = new(metav1.NewMicroTime(now))
	}
	switch {
	case shown && target.Domain.ID != 0:
		target.IncomingID, target.IncomingEndedTime = target.Domain.ID, nil
	case shown:
		target.IncomingEndedTime = nil
	case target.IncomingEndedTime == nil && (own || target.IncomingTime != nil && runEnded(target)):
		target.IncomingEndedTime = new(metav1.NewMicroTime(now))
	}
}

// wasThere reports whether what looks like a half is a guest that was on the target already,
// whole and not brought there by the migration: somebody moves it on, and libvirt holds it
// for its switch-over.
func wasThere(target, before *v1alpha1.TargetStatus) bool {
	if !ShowsIncoming(target.Domain) || before.Domain == nil || target.Domain.ID == 0 || before.Domain.ID != target.Domain.ID || Brought(before) {
		return false
	}
	side := SideOf(before.Domain)
	return side == SideLive || side == SideLeaving || ShowsIncoming(before.Domain)
}

// runEnded reports whether the target shows that what was brought there is over. Of a guest
// that runs, libvirt says how it was started until it is first paused.
func runEnded(target *v1alpha1.TargetStatus) bool {
	switch SideOf(target.Domain) { //nolint:exhaustive // The others are active.
	case SideGone, SideStopped, SideMigrated:
		return true
	}
	switch hypervisor.Reason(target.Domain.Reason) { //nolint:exhaustive // The others say nothing of its start.
	case hypervisor.ReasonBooted, hypervisor.ReasonRestored, hypervisor.ReasonFromSnapshot:
		return true
	default:
		return anotherRun(target)
	}
}

// ShowsIncoming reports whether a domain is, or was, made by an incoming migration. One that
// is starting up is made by that only if it has the job.
func ShowsIncoming(d *v1alpha1.DomainObservation) bool {
	switch SideOf(d) { //nolint:exhaustive // No other says so.
	case SideIncoming:
		return d.Reason != string(hypervisor.ReasonStartingUp) || d.Job == string(hypervisor.OperationMigrationIn)
	case SidePostcopy:
		return d.State == string(hypervisor.StateRunning) // What leaves stands paused.
	default:
		return d != nil && d.State == string(hypervisor.StateRunning) && d.Reason == string(hypervisor.ReasonMigrated)
	}
}
