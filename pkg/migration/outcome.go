package migration

import (
	"fmt"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	// ConfirmTimeout is how long after the end on the source the two sides may
	// take to show a settled outcome before it is called unknown.
	ConfirmTimeout = 60 * time.Second
	// BriefTimeout is the same where nothing is on its way that could settle it:
	// it bears one look at a hypervisor that is just coming to itself.
	BriefTimeout = 10 * time.Second
)

// Verdict is what became of a migration.
type Verdict string

// The verdicts.
const (
	// VerdictPending: not over, or not yet confirmed by both sides.
	VerdictPending Verdict = "Pending"
	// VerdictSucceeded: the guest is on the target, and only there.
	VerdictSucceeded Verdict = "Succeeded"
	// VerdictFailed: the guest is not on the target, and is known to be on the
	// source or to have stopped by itself.
	VerdictFailed Verdict = "Failed"
	// VerdictCancelled: as failed, because it was asked for.
	VerdictCancelled Verdict = "Cancelled"
	// VerdictUnknown: the sides do not show exactly one guest, or cannot be
	// seen. It is not final: it gives way to what both sides show later.
	VerdictUnknown Verdict = "Unknown"
)

// Outcome is a verdict with its reason in words, and what is left to do after the end. An
// agent does that only when the other side has been read since; see decideSourceAfterEnd.
type Outcome struct {
	Verdict Verdict
	// Reason is a reason of the Succeeded condition.
	Reason  string
	Message string
	// RemoveIncoming tells the target's agent to remove the shell that the
	// migration left there: it is one, and the guest lives on the source.
	RemoveIncoming bool
	// UndefineSource tells the source's agent to remove the definition that
	// the migration left there: the guest lives on the target.
	UndefineSource bool
	// ResumeSource and ResumeTarget tell a side's agent to resume the guest,
	// which the migration has paused and which is on that side alone.
	ResumeSource, ResumeTarget bool
	// DestroySource tells the source's agent to end the copy that libvirt left
	// paused there: the guest runs on the target.
	DestroySource bool
	// PauseSource tells the source's agent to pause its copy: the guest runs on
	// both sides.
	PauseSource bool
	// UndefineTarget tells the target's agent to remove the definition that the
	// migration left there: the source has the guest's own.
	UndefineTarget bool
	// RemoveImages tells the target's agent to remove the images that it has made for the guest,
	// which has never come, and RemoveSourceImages the source's to remove those that the
	// guest has left.
	RemoveImages, RemoveSourceImages bool
	// AttachSource and AttachTarget tell an agent to give the guest back the interfaces that
	// were taken from it for the migration.
	AttachSource, AttachTarget bool
	// RemoveMarks tells the target's agent to remove what kept others from the guest's images.
	RemoveMarks bool
	// Recheck is when a pending outcome has to be judged again even if nothing
	// new is reported; zero means that there is no need.
	Recheck time.Time
}

// Judge decides what became of the current attempt from what both agents
// report. It pends until the source's agent has reported the end of the job
// and, but for success, the target's agent has read its side after that.
func Judge(lm *v1alpha1.LiveMigration, now time.Time) Outcome {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	if source == nil || source.End == nil {
		return judgeRecovery(lm, source, target)
	}
	row := rowFor(sourceSideOf(source, target), targetSideOf(source, target))
	confirmed := TargetAnswers(source, target)
	switch {
	case row != nil && !confirmed && neverLeft(source):
		return row.unconfirmed(lm, source, now)
	case row == nil, !confirmed && (row.verdict != VerdictSucceeded || goneSince(source)):
		return undecided(lm, now, ConfirmTimeout, "it is not certain where the guest runs")
	case ranOnBoth(source, target) && SideOf(target.Domain) == SideMigrated:
		return Outcome{Verdict: VerdictUnknown, Reason: v1alpha1.ReasonOutcomeUnknown, Message: sight(lm, movedOn)}
	default:
		return row.judge(lm, now)
	}
}

// judge judges by a row that counts.
func (row outcomeRow) judge(lm *v1alpha1.LiveMigration, now time.Time) Outcome {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	switch {
	case row.lostOnDeletion && !lm.DeletionTimestamp.IsZero() && !now.Before(settleBy(lm, now, row.patience)):
		return nowhere(lm)
	case row.patience > 0:
		out := undecided(lm, now, row.patience, row.meaning)
		out.RemoveIncoming = row.removeIncoming && mayRemoveIncoming(source)
		out.DestroySource = row.destroySource && mayDestroySource(source, target)
		return out
	default:
		out := row.outcome(lm, source, now)
		if row.pauseSource {
			out.Message = sight(lm, row.twoCopies(source.End, target))
		}
		out.PauseSource = row.pauseSource && target.Domain.State == string(hypervisor.StateRunning)
		return out
	}
}

// twoCopies says what became of the source's copy of a guest that both sides have. That it
// was paused is said once that was seen.
func (row outcomeRow) twoCopies(end *v1alpha1.SourceEnd, target *v1alpha1.TargetStatus) string {
	const running = string(hypervisor.StateRunning)
	sourceRuns, targetRuns := end.Domain.State == running, target.Domain.State == running
	switch {
	case sourceRuns && targetRuns && PauseDue(end):
		return "the guest runs on both hosts, so the source's copy is being paused"
	case sourceRuns && targetRuns:
		return "the guest runs on both hosts; the source's copy is not paused a second time, as it may be that somebody has resumed it; ask an " +
			"administrator to look at the guest's console on both hosts now, and to destroy the copy that is not to be kept"
	case !sourceRuns && end.CopyPausedTime != nil:
		return row.meaning
	default:
		return "both hosts have the whole guest; ask an administrator to look at the guest's console on both, to destroy the copy that is not " +
			"to be kept, and then to resume the other if it is paused"
	}
}

// goneSince reports whether the source has shown the guest after the end, and shows it no more:
// what has happened to it may have happened to the target's copy as well.
func goneSince(source *v1alpha1.SourceStatus) bool {
	side := SideOf(&source.End.Domain)
	return source.End.Observation > 1 && (side == SideGone || side == SideStopped)
}

// neverLeft reports whether the guest is on the source and has never been suspended to
// leave it: then it has gone nowhere else, whoever can be asked.
func neverLeft(source *v1alpha1.SourceStatus) bool {
	return source != nil && source.End != nil && source.End.NeverLeft && SideOf(&source.End.Domain) == SideLive
}

// unconfirmed judges a guest that never left, and whose target has not been read after the
// end. Where that had another copy before, a person has to choose one of the two.
func (row outcomeRow) unconfirmed(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, now time.Time) Outcome {
	if row.verdict == VerdictUnknown && row.patience == 0 {
		return undecided(lm, now, ConfirmTimeout,
			fmt.Sprintf("%s; this is what %s showed when it last reported", row.meaning, lm.Status.TargetNode))
	}
	return stayedUnconfirmed(lm, source, now)
}

// stayedUnconfirmed is the failure of a migration whose target cannot be read, which has
// had its time to clean up.
func stayedUnconfirmed(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, now time.Time) Outcome {
	if recheck := settleBy(lm, now, ConfirmTimeout); now.Before(recheck) {
		return Outcome{Verdict: VerdictPending, Recheck: recheck, Message: sight(lm, "waiting for both hosts to agree")}
	}
	out := failed(lm, source)
	out.Message += fmt.Sprintf(". %s has not reported since. When it is back, ask an administrator to check there with `virsh list --all` that "+
		"nothing of the guest is left", lm.Status.TargetNode)
	if left := ImagesLeft(lm, CurrentTarget(lm)); len(left) > 0 {
		out.Message += imagesRemain(lm, left)
	}
	if taken := InterfacesTaken(source); len(taken) > 0 {
		out.Message += interfacesMissing(lm.Status.SourceNode, taken)
	}
	return out
}

// nowhere is the end of a migration whose object is being deleted and whose guest is on
// neither side: nothing is left to be kept safe.
func nowhere(lm *v1alpha1.LiveMigration) Outcome {
	return Outcome{Verdict: VerdictFailed, Reason: v1alpha1.ReasonGuestStopped, Message: fmt.Sprintf(
		"The guest is neither on %s nor on %s any more: it has stopped, or somebody has moved it to another node. If it runs nowhere, "+
			"ask an administrator to start it again", lm.Status.SourceNode, lm.Status.TargetNode)}
}

// hasLeft reports whether the source's libvirt says that the guest has gone to the target.
func hasLeft(source *v1alpha1.SourceStatus) bool {
	return InPostCopy(source) || source != nil && source.End != nil &&
		(source.End.Call == v1alpha1.CallSucceeded || SideOf(&source.End.Domain) == SideMigrated)
}

// lostInPostCopy reports whether the guest can never become whole any more: the source may
// wait for that for ever.
func lostInPostCopy(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	return source != nil && judgeRecovery(lm, source, target).Verdict == VerdictUnknown
}

// judgeRecovery pends for as long as the guest may still become whole.
func judgeRecovery(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) Outcome {
	if !InPostCopy(source) || target == nil || target.LostTime == nil {
		return Outcome{Verdict: VerdictPending}
	}
	row := rowFor(SidePostcopy, SideOf(target.Domain))
	if row == nil || row.patience > 0 {
		return Outcome{Verdict: VerdictPending}
	}
	return Outcome{Verdict: VerdictUnknown, Reason: v1alpha1.ReasonOutcomeUnknown, Message: sight(lm, row.meaning)}
}

func (row outcomeRow) outcome(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, now time.Time) Outcome {
	switch row.verdict {
	case VerdictSucceeded:
		out := withoutMarks(lm, withoutSourceImages(lm, source, succeeded(lm, source, now), now), now)
		return withClock(lm, withThawThere(lm, withInterfacesThere(lm, source, out, now), now), now)
	case VerdictFailed:
		out := stayed(lm, source, now)
		if row.reason == v1alpha1.ReasonGuestStopped {
			out = guestStopped(lm, source)
		}
		return withThawHere(lm, source, withInterfacesHere(lm, source, withoutImages(lm, source, withoutDefinition(lm, source, out, now), now), now), now)
	case VerdictPending, VerdictCancelled, VerdictUnknown:
	}
	return Outcome{Verdict: VerdictUnknown, Reason: v1alpha1.ReasonOutcomeUnknown, Message: sight(lm, row.meaning)}
}

func guestStopped(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) Outcome {
	out := Outcome{Verdict: VerdictFailed, Reason: v1alpha1.ReasonGuestStopped}
	switch {
	case targetSideOf(source, CurrentTarget(lm)) == SideStarted:
		out.Message = fmt.Sprintf("The guest stopped on %s (%s) while it was being migrated. Somebody started it again on %s, where it runs now",
			lm.Status.SourceNode, describe(&source.End.Domain), lm.Status.TargetNode)
	case InPostCopy(source):
		out.Message = fmt.Sprintf("The guest switched to %s in post-copy and stopped there. It runs on neither host: %s", lm.Status.TargetNode,
			ask(lm.Status.TargetNode, "start it again"))
	default:
		out.Message = fmt.Sprintf("The guest stopped on %s (%s) while it was being migrated, and was not started on %s. It runs on neither host: %s",
			lm.Status.SourceNode, describe(&source.End.Domain), lm.Status.TargetNode, ask(lm.Status.SourceNode, "start it again"))
	}
	return out
}

// withoutDefinition makes a failure pend while the target has a definition that
// came with the migration: someone might start it and run the guest twice. The
// source must have the guest's own, and the guest must not have run on the target as a
// whole: then, it may be at home there. Of an incoming half that came to nothing, libvirt
// gives Failed as the reason, of a whole guest never.
func withoutDefinition(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, out Outcome, now time.Time) Outcome {
	target := CurrentTarget(lm)
	cameAlong := target.Domain.Defined && target.DefinedBefore != nil && !*target.DefinedBefore
	neverWhole := target.ArrivedTime == nil || target.Domain.Reason == string(hypervisor.ReasonFailed)
	out.UndefineTarget = cameAlong && neverWhole && SideOf(target.Domain) == SideStopped && source.End.Domain.Defined
	if !out.UndefineTarget || out.Verdict == VerdictPending {
		return out
	}
	if recheck := cleanUpBy(lm, now); now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		out.Message += fmt.Sprintf("; the definition that it left on %s is being removed", lm.Status.TargetNode)
		return out
	}
	out.Message += fmt.Sprintf("; the definition that it left on %s could not be removed: %s, so that nobody starts the guest twice",
		lm.Status.TargetNode, ask(lm.Status.TargetNode, "remove it with `virsh undefine`"))
	return out
}

// succeeded pends while a definition is left on the source, because someone
// might start it and run the guest twice, and while the guest stands paused.
func succeeded(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, now time.Time) Outcome {
	st := &lm.Status
	reason, message := arrival(lm, source)
	out := Outcome{
		Verdict: VerdictSucceeded, Reason: reason, Message: message,
		UndefineSource: source.End.Domain.Defined && st.Target.Domain.Defined,
		ResumeTarget:   PausedByUs(source) && resumable(st.Target.Domain) && !seenLate(lm, source),
	}
	out.Message += ranHere(lm, source)
	if source.End.Domain.Defined && !st.Target.Domain.Defined {
		out.Message += fmt.Sprintf("; its only definition is on %s: ask an administrator to define it on %[2]s with what `virsh dumpxml` "+
			"prints there, and then to undefine it on %[1]s, so that nobody starts the guest twice", st.SourceNode, st.TargetNode)
	}
	if recheck := cleanUpBy(lm, now); now.Before(recheck) {
		switch {
		case out.ResumeTarget:
			out.Verdict, out.Recheck = VerdictPending, recheck
			out.Message = fmt.Sprintf("The guest is on %s and is being resumed", st.TargetNode)
		case out.UndefineSource:
			out.Verdict, out.Recheck = VerdictPending, recheck
			out.Message += fmt.Sprintf("; its definition on %s is being removed", st.SourceNode)
		}
		return out
	}
	if out.UndefineSource {
		out.Message += fmt.Sprintf("; its definition on %s could not be removed: %s, so that nobody starts the guest twice",
			st.SourceNode, ask(st.SourceNode, "remove it with `virsh undefine`"))
	}
	return out
}

// ranHere says, to be put behind a message, that the source's copy ran as well and has gone
// nobody knows where.
func ranHere(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) string {
	side := SideOf(&source.End.Domain)
	if source.End.RanTime == nil || side != SideGone && side != SideMigrated {
		return ""
	}
	node := lm.Status.SourceNode
	return fmt.Sprintf(". It has run on %s as well after the end, and is gone from there: before it is migrated again, %s", node,
		ask(node, "make sure that nobody has moved that copy to another host, where the guest would run, too"))
}

// settleBy is until when both sides may take to settle, by the manager's clock: it
// begins anew when the target has been read after the end on the source. As long as
// the manager has seen nothing, it has not begun.
func settleBy(lm *v1alpha1.LiveMigration, now time.Time, patience time.Duration) time.Time {
	switch a := lm.Status.Attempt; {
	case a.ConfirmationSeenTime != nil:
		return a.ConfirmationSeenTime.Add(patience)
	case a.EndSeenTime != nil:
		return a.EndSeenTime.Add(patience)
	default:
		return now.Add(patience)
	}
}

// cleanUpBy is until when the agents may take to clean up.
func cleanUpBy(lm *v1alpha1.LiveMigration, now time.Time) time.Time {
	if since := lm.Status.Attempt.CleanUpTime; since != nil {
		return since.Add(ConfirmTimeout)
	}
	return now.Add(ConfirmTimeout)
}

// final reports whether the manager can settle the migration by what it has been told:
// nobody needs to hear more of either side. As long as something is left to do, somebody
// does, whatever the time: the manager may be late, and clocks differ.
func (out Outcome) final() bool {
	return out.Verdict != VerdictPending && out.Verdict != VerdictUnknown && !out.PauseSource && !out.cleansUp()
}

// cleansUp reports whether an agent has something to do before the migration can be
// settled.
func (out Outcome) cleansUp() bool {
	return out.UndefineSource || out.UndefineTarget || out.ResumeSource || out.ResumeTarget || out.RemoveImages || out.RemoveSourceImages || out.RemoveMarks ||
		out.AttachSource || out.AttachTarget
}

// stayed says why the guest is still on the source. It pends while the guest
// stands paused by the agent and is known not to have run on the target.
func stayed(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, now time.Time) Outcome {
	out := failed(lm, source)
	if source.End.CopyPausedTime != nil && resumable(&source.End.Domain) {
		out.Message += copyPaused(lm)
		return out
	}
	if ranOnBoth(source, CurrentTarget(lm)) {
		out.Message += fmt.Sprintf(". It has run on %s as well, and is gone from there: before it is migrated again, %s",
			lm.Status.TargetNode, ask(lm.Status.TargetNode, "make sure that nobody has moved that copy to another host, where the guest would run, too"))
	}
	if pauseMayCome(source) {
		out.Message += fmt.Sprintf(". libvirt has not answered the call to pause the guest there, and may still pause it: if it does, %s",
			ask(lm.Status.SourceNode, "resume it with `virsh resume`"))
	}
	if !PausedByUs(source) || !resumable(&source.End.Domain) {
		return out
	}
	out.ResumeSource = source.End.Call == v1alpha1.CallFailed || CurrentTarget(lm).ArrivedTime == nil
	if recheck := cleanUpBy(lm, now); out.ResumeSource && now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		out.Message = fmt.Sprintf("The guest is on %s and is being resumed there", lm.Status.SourceNode)
		return out
	}
	out.Message += fmt.Sprintf(". It was paused for its migration: %s, once it is clear that it has not run on %s since",
		ask(lm.Status.SourceNode, "resume it with `virsh resume`"), lm.Status.TargetNode)
	return out
}

func failed(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) Outcome {
	end, steering, aborted := source.End, source.Steering, abortAsked(source)
	out := Outcome{Verdict: VerdictFailed, Reason: v1alpha1.ReasonMigrationFailed}
	kind := hypervisor.Kind(end.ErrorKind)
	still, remedy := stillThere(lm.Status.SourceNode, &end.Domain)
	ended := aborted || kind == hypervisor.KindAborted || kind == hypervisor.KindNotSent || end.Call == v1alpha1.CallUnknown
	switch {
	case CancelRequested(lm) && ended:
		out.Verdict, out.Reason = VerdictCancelled, v1alpha1.ReasonCancelled
		out.Message = still + "; the migration was cancelled. Create another LiveMigration to move it"
	case aborted && steering.Abort.Reason != v1alpha1.ReasonCancelled:
		out.Reason = fittingReason(steering.Abort.Reason, out.Reason)
		out.Message = fmt.Sprintf("%s; the migration was aborted: %s. %s", still, steering.Abort.Message, afterAbort(out.Reason))
	default:
		out.Reason, out.Message = explain(lm, end)
		out.Message = still + out.Message
	}
	out.Message += remedy
	return out
}

// explain says why libvirt's call did not succeed, and what to do, to be put behind where
// the guest is.
func explain(lm *v1alpha1.LiveMigration, end *v1alpha1.SourceEnd) (reason, message string) {
	switch kind := hypervisor.Kind(end.ErrorKind); {
	case kind == hypervisor.KindNotSent:
		return v1alpha1.ReasonNotStarted, fmt.Sprintf(". Nothing was started: %s. Create another LiveMigration to try again", end.ErrorMessage)
	case kind == hypervisor.KindPeerLost:
		return v1alpha1.ReasonMigrationFailed, fmt.Sprintf("; libvirt on the two hosts could not connect, or lost the connection: %s. Ask an administrator "+
			"to check the network between %s and %s, and libvirt on %[3]s, and then create another LiveMigration", end.ErrorMessage, lm.Status.SourceNode, lm.Status.TargetNode)
	case end.Call == v1alpha1.CallUnknown:
		return v1alpha1.ReasonInterrupted, "; the migration was interrupted by a restart of libvirt or of the agent. " +
			"Create another LiveMigration to try again"
	case kind == hypervisor.KindUnsafe:
		return v1alpha1.ReasonUnsafe, fmt.Sprintf("; libvirt refused to migrate it because its disks might be damaged: %s%s. Ask an administrator to put the "+
			"disks on storage that both hosts share or, if you know that both hosts see the same disks, create another LiveMigration with "+
			"options.allowUnsafe",
			end.ErrorMessage, doubts(CurrentSource(lm)))
	case end.ErrorMessage == "":
		return v1alpha1.ReasonMigrationFailed, ", although libvirt reported success. Create another LiveMigration to try again"
	default:
		remedy := "Fix the cause, or ask an administrator to"
		if r := tlsRemedy(end.ErrorMessage, lm.Status.SourceNode, lm.Status.TargetNode); r != "" {
			remedy = "Ask an administrator to " + r
		}
		return v1alpha1.ReasonMigrationFailed, fmt.Sprintf("; libvirt reported an error: %s. %s, and then create another LiveMigration", end.ErrorMessage, remedy)
	}
}

// afterAbort says what to do about a migration that was given up.
func afterAbort(reason string) string {
	switch reason {
	case v1alpha1.ReasonWillNotConverge, v1alpha1.ReasonCompletionTimeout, v1alpha1.ReasonProgressTimeout:
		return "Create another LiveMigration that allows more: a longer maxDowntimeMilliseconds, allowPostCopy, allowPause, autoConverge, or longer timeouts"
	default:
		return "Ask an administrator to check the link between the two hosts, and then create another LiveMigration"
	}
}

// undecided waits for reports as long as patience lasts and then says what is known.
func undecided(lm *v1alpha1.LiveMigration, now time.Time, patience time.Duration, meaning string) Outcome {
	recheck := settleBy(lm, now, patience)
	if now.Before(recheck) {
		return Outcome{Verdict: VerdictPending, Recheck: recheck, Message: sight(lm, "waiting for both hosts to agree")}
	}
	return Outcome{Verdict: VerdictUnknown, Reason: v1alpha1.ReasonOutcomeUnknown, Message: sight(lm, meaning)}
}

// sight says what each side shows and, where it matters, what to do.
func sight(lm *v1alpha1.LiveMigration, meaning string) string {
	var source, target *v1alpha1.DomainObservation
	switch s := CurrentSource(lm); {
	case s == nil:
	case s.End != nil:
		source = &s.End.Domain
	case InPostCopy(s):
		source = &v1alpha1.DomainObservation{State: string(hypervisor.StatePaused), Reason: string(hypervisor.ReasonPostcopy)}
	}
	if t := CurrentTarget(lm); t != nil {
		target = t.Domain
	}
	return fmt.Sprintf("On %s the guest is %s, on %s it is %s: %s. If this does not change, ask an administrator to run "+
		"`virsh domstate --reason %s` on both hosts before anything is changed there", lm.Status.SourceNode, describe(source), lm.Status.TargetNode,
		describe(target), meaning, lm.Status.DomainUUID)
}

func describe(o *v1alpha1.DomainObservation) string {
	var said string
	switch {
	case o == nil:
		return "not reported"
	case o.State == v1alpha1.StateAbsent:
		return "absent"
	case o.Reason == "" || o.Reason == string(hypervisor.ReasonUnknown):
		said = o.State
	default:
		said = o.State + "/" + o.Reason
	}
	if SideOf(o) == SideLeaving {
		said += " and being migrated away"
	}
	return said
}
