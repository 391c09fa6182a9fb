package migration

import (
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// IncomingGrace is how long libvirt itself may take to remove the incoming shell,
// from when the target was read after the end, before the target's agent does.
const IncomingGrace = 5 * time.Second

// HostAnswerAge is how old what the target says of its host may become while a migration waits for
// its turn: what runs there may be updated meanwhile, and certificates end. What is as it was
// is not written again.
const HostAnswerAge = 10 * time.Second

// TargetFacts is what the target's agent knows of a migration.
type TargetFacts struct {
	// Object is the LiveMigration as last seen.
	Object *v1alpha1.LiveMigration
	// Section is the agent's own section of the current attempt, which may be
	// newer than the one in Object; nil where there is none.
	Section *v1alpha1.TargetStatus
	// Asked is when this process last told the source of something new, or asked it to
	// look again; zero if it has not.
	Asked time.Time
	// HostRead is when this process last read what the section says of the host; zero if it has
	// not, or if the hypervisor may be another one since.
	HostRead time.Time
}

// TargetAction is the target agent's next act.
type TargetAction string

// The acts of a target's agent.
const (
	// TargetWait: nothing to do until something changes.
	TargetWait TargetAction = "Wait"
	// TargetPrepare: check the host and offer its facts.
	TargetPrepare TargetAction = "Prepare"
	// TargetMakeImages: make the images that were planned.
	TargetMakeImages TargetAction = "MakeImages"
	// TargetRemoveImages: remove those that were made for a guest that does not come.
	TargetRemoveImages TargetAction = "RemoveImages"
	// TargetRemoveMarks: remove what keeps others from images that are the guest's now.
	TargetRemoveMarks TargetAction = "RemoveMarks"
	// TargetRenew: read once more what the section says of the host.
	TargetRenew TargetAction = "Renew"
	// TargetObserve: read the guest and report it where it has changed.
	TargetObserve TargetAction = "Observe"
	// TargetLook: read and report a guest that is said to be here already.
	TargetLook TargetAction = "Look"
	// TargetConfirm: read and report the guest after the end on the source.
	TargetConfirm TargetAction = "Confirm"
	// TargetRemoveIncoming: remove the shell that the migration left behind.
	TargetRemoveIncoming TargetAction = "RemoveIncoming"
	// TargetAttach: give the guest the interfaces that were taken from it on the source.
	TargetAttach TargetAction = "Attach"
	// TargetResume: resume the guest, which the migration has paused.
	TargetResume TargetAction = "Resume"
	// TargetUndefine: remove the definition that the migration left behind.
	TargetUndefine TargetAction = "Undefine"
	// TargetAsk: ask the source to be read once more, before something is done because of
	// what it shows.
	TargetAsk TargetAction = "Ask"
	// TargetDone: the agent has no more part in the migration.
	TargetDone TargetAction = "Done"
)

// DecideTarget chooses the target agent's next act.
func DecideTarget(f TargetFacts, now time.Time) TargetAction {
	lm, section := f.Object, f.Section
	source := CurrentSource(lm)
	switch {
	case Finished(lm):
		return TargetDone
	case LooksOnly(lm):
		return decideLook(section)
	case Abandoned(lm):
		return decideAbandoned(lm, section)
	case lm.Status.Attempt == nil, source == nil, source.Guest == nil, section != nil && section.Problem != nil && !Started(lm):
		return TargetWait
	case section == nil, MakesImages(lm, section):
		return decideUnready(lm, section)
	case source.End == nil && renewDue(f, now):
		return TargetRenew
	case source.End == nil:
		return TargetObserve
	case !TargetAnswers(source, section):
		return TargetConfirm
	}
	return decideTargetAfterEnd(f, source, now)
}

// decideAbandoned leaves nothing behind of an attempt that is not started any more.
func decideAbandoned(lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) TargetAction {
	if len(ImagesLeft(lm, section)) > 0 {
		return TargetRemoveImages
	}
	return TargetWait
}

// decideUnready prepares the host, unless the guest is not to come any more.
func decideUnready(lm *v1alpha1.LiveMigration, section *v1alpha1.TargetStatus) TargetAction {
	switch {
	case CancelRequested(lm):
		return TargetWait
	case section == nil:
		return TargetPrepare
	default:
		return TargetMakeImages
	}
}

// renewDue reports whether what the target says of its host has become too old for the source to
// start by it.
func renewDue(f TargetFacts, now time.Time) bool {
	lm, section := f.Object, f.Section
	waits := section.ReadyTime != nil && section.Host != nil && !Started(lm) && !ChecksOnly(lm) && !CancelRequested(lm)
	return waits && now.Sub(f.HostRead) >= HostAnswerAge
}

// decideTargetAfterEnd does nothing because of what the source shows unless the source
// was read after what is shown here, and a moment ago.
func decideTargetAfterEnd(f TargetFacts, source *v1alpha1.SourceStatus, now time.Time) TargetAction {
	own := *f.Object
	own.Status.Target = f.Section
	action := cleanUpTarget(Judge(&own, now), f.Section, now)
	switch {
	case action == TargetObserve:
		return action
	case !SourceAnswers(source, f.Section):
		return TargetObserve
	case !recent(f.Asked, now):
		return TargetAsk
	default:
		return action
	}
}

// decideLook reads the guest once: the manager makes another attempt if it wants to
// know again.
func decideLook(section *v1alpha1.TargetStatus) TargetAction {
	if section == nil {
		return TargetLook
	}
	return TargetWait
}

// cleanUpTarget chooses what to do after the end.
func cleanUpTarget(out Outcome, section *v1alpha1.TargetStatus, now time.Time) TargetAction {
	switch {
	case out.RemoveIncoming && now.Sub(section.ConfirmedTime.Time) >= IncomingGrace:
		return TargetRemoveIncoming
	case out.UndefineTarget:
		return TargetUndefine
	case out.RemoveImages:
		return TargetRemoveImages
	case out.RemoveMarks:
		return TargetRemoveMarks
	case out.ResumeTarget:
		return TargetResume
	case out.AttachTarget:
		return TargetAttach
	default:
		return TargetObserve
	}
}
