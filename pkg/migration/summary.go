package migration

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// The manager's patience.
const (
	// ResolveGrace is how long a guest or node that cannot be found is waited
	// for before the migration fails: what the agents publish lags a little.
	ResolveGrace = 5 * time.Second
	// PrepareTimeout is how long the agents may take until the migration is
	// started.
	PrepareTimeout = 60 * time.Second
)

// ManagerFacts is what the manager knows of a migration.
type ManagerFacts struct {
	// Object is the LiveMigration.
	Object *v1alpha1.LiveMigration
	// Nodes are the hypervisors.
	Nodes *Inventory
	// Limits bound how many guests share a node's link.
	Limits Limits
	// Turn is what Object may do now. It is needed only while Object is not started.
	Turn Turn
	// NewAttempt names a new attempt.
	NewAttempt func() string
}

// Summary is what the manager makes of a migration.
type Summary struct {
	// Status holds the fields that the manager owns, and no others.
	Status v1alpha1.LiveMigrationStatus
	// Recheck is when to look again even if nothing changes; zero means that
	// there is no need.
	Recheck time.Time
}

// Summarize decides what the manager does with a migration and what its status
// says. Its result must be written only if Object has not changed meanwhile.
func Summarize(f ManagerFacts, now time.Time) Summary {
	lm := f.Object.DeepCopy()
	lm.Status.Requests = Requests(f.Object, now)
	noteMissing(lm, f.Nodes, now)
	noteEnd(lm, now)
	s := &summarizer{ManagerFacts: f, lm: lm, now: now}
	s.out.Status = managerOwned(&lm.Status)
	s.out.Status.ObservedGeneration = f.Object.Generation
	switch {
	case Finished(f.Object):
		goesOnNoMore(&s.out.Status, meta.IsStatusConditionTrue(s.out.Status.Conditions, v1alpha1.ConditionSucceeded))
		s.acknowledge()
		s.recordDowntime()
	case f.Object.Status.Attempt == nil:
		s.beforeAttempt()
	case LooksOnly(f.Object):
		s.looking()
	case !Started(f.Object):
		s.beforeStart()
	default:
		s.afterStart()
	}
	s.nameGuest()
	s.note()
	if s.out.Status.CompletionTime != nil {
		if !Finished(s.Object) {
			s.out.Status.GuestLeftFrozenOn, _ = s.leftFrozenOn()
		}
		settleAll(s.out.Status.Requests, s.out.Status.Phase, now)
	}
	return s.out
}

// noteEnd remembers when the manager first saw that the job is over, that the target
// was read after that, and that there is something to clean up.
func noteEnd(lm *v1alpha1.LiveMigration, now time.Time) {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	if source == nil || source.End == nil || Finished(lm) {
		return
	}
	a := lm.Status.Attempt
	if a.EndSeenTime == nil {
		a.EndSeenTime = new(metav1.NewMicroTime(now))
	}
	if a.ConfirmationSeenTime == nil && target != nil && target.ConfirmedTime != nil {
		a.ConfirmationSeenTime = new(metav1.NewMicroTime(now))
	}
	switch cleansUp := Judge(lm, now).cleansUp(); {
	case !cleansUp:
		a.CleanUpTime = nil
	case a.CleanUpTime == nil:
		a.CleanUpTime = new(metav1.NewMicroTime(now))
	}
}

// managerOwned copies the fields of a status that the manager owns.
func managerOwned(in *v1alpha1.LiveMigrationStatus) v1alpha1.LiveMigrationStatus {
	c := in.DeepCopy()
	c.Source, c.Target, c.Progress = nil, nil, nil
	return *c
}

type summarizer struct {
	ManagerFacts
	lm  *v1alpha1.LiveMigration
	now time.Time
	out Summary
}

// cancelledBefore says what became of a migration that was cancelled in time.
func (s *summarizer) cancelledBefore() string {
	const cancelled = "The migration was cancelled before it started; "
	switch source := CurrentSource(s.lm); {
	case source == nil || len(source.HostInterfaces) == 0:
		return cancelled + "the guest was not touched"
	case len(InterfacesTaken(source)) == 0:
		return cancelled + "the guest has been given back the interfaces that were taken from it"
	default:
		return cancelled + "interfaces were taken from the guest"
	}
}

// acknowledge says that a change of the spec was seen after the end. It changes
// nothing, but whoever waits for a condition waits for one of the latest generation.
func (s *summarizer) acknowledge() {
	for i := range s.out.Status.Conditions {
		s.out.Status.Conditions[i].ObservedGeneration = s.lm.Generation
	}
}

// nameGuest takes the guest's name from the source's agent, which knows those of guests
// that no list has.
func (s *summarizer) nameGuest() {
	if source := CurrentSource(s.lm); source != nil && source.Guest != nil {
		s.out.Status.DomainName = source.Guest.Name
	}
}

func (s *summarizer) beforeStart() {
	source, target := CurrentSource(s.lm), CurrentTarget(s.lm)
	s.noteGrant(source)
	ready := target != nil && target.ReadyTime != nil
	deadline, limited := s.startBy(source, ready)
	switch {
	case CancelRequested(s.lm):
		s.finish(VerdictCancelled, v1alpha1.ReasonCancelled, s.cancelledBefore())
	case s.agentsRefuse(source, target, deadline):
	case limited && !s.now.Before(deadline), Abandoned(s.lm):
		s.finish(VerdictFailed, v1alpha1.ReasonNodeNotReady, s.unprepared(source, target))
	default:
		s.preparing(source, ready)
	}
	if st := &s.out.Status; limited && st.CompletionTime == nil && st.Attempt != nil && st.Attempt.AbandonedTime == nil &&
		(s.out.Recheck.IsZero() || deadline.Before(s.out.Recheck)) {
		s.out.Recheck = deadline
	}
}

// preparing says how far the agents have come.
func (s *summarizer) preparing(source *v1alpha1.SourceStatus, ready bool) {
	switch {
	case source == nil:
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingSource,
			fmt.Sprintf("Checking the guest on %s", s.lm.Status.SourceNode))
	case !ready:
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonPreparingTarget,
			fmt.Sprintf("Preparing %s for the guest", s.lm.Status.TargetNode))
	case dryRunPassed(s.lm, source):
		s.out.Status.Forecast = s.forecast(source.Load)
		s.finish(VerdictSucceeded, v1alpha1.ReasonChecksPassed, s.checksPassed(source))
	case DryRun(s.lm):
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingSource,
			fmt.Sprintf("Checking on %s what the guest becomes on %s", s.lm.Status.SourceNode, s.lm.Status.TargetNode))
	case s.out.Status.Attempt.CopyGrantedTime == nil:
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonWaitingForSlot, "Both nodes are ready; "+s.waitingForSlot())
	default:
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonStarting,
			fmt.Sprintf("Starting the migration on %s", s.lm.Status.SourceNode))
	}
}

// dryRunPassed reports whether everything has been prepared for a migration that is not to
// be started.
func dryRunPassed(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus) bool {
	return DryRun(lm) && source != nil && source.CheckedTime != nil
}

// checksPassed is what a dry run has found.
func (s *summarizer) checksPassed(source *v1alpha1.SourceStatus) string {
	message := fmt.Sprintf("Dry run: the guest can be moved from %s to %s; nothing was touched", s.lm.Status.SourceNode, s.lm.Status.TargetNode)
	if n := len(source.Warnings); n > 0 {
		message += fmt.Sprintf("; see status.source.warnings for what to check on %s first", s.lm.Status.TargetNode)
	}
	return message + saysForecast(s.out.Status.Forecast, s.lm.Spec.Options)
}

// noteGrant takes over that it is the migration's turn to copy, or its place in the
// line, and that the guest was found.
func (s *summarizer) noteGrant(source *v1alpha1.SourceStatus) {
	s.noteQueue()
	if source != nil && source.Guest != nil {
		s.out.Status.ResolvingTime = nil
	}
	if a := s.out.Status.Attempt; s.Turn.Grant && a.CopyGrantedTime == nil {
		a.CopyGrantedTime = new(metav1.NewMicroTime(s.now))
	}
}

// startBy is until when the agents may take to prepare the migration or, where it has
// its slot, to start it. Waiting for the slot has no limit.
func (s *summarizer) startBy(source *v1alpha1.SourceStatus, ready bool) (deadline time.Time, limited bool) {
	a := s.out.Status.Attempt
	switch {
	case dryRunPassed(s.lm, source):
		return time.Time{}, false
	case !ready, DryRun(s.lm):
		return a.AdmittedTime.Add(PrepareTimeout), true
	case a.CopyGrantedTime != nil:
		return a.CopyGrantedTime.Add(PrepareTimeout), true
	default:
		return time.Time{}, false
	}
}

// agentsRefuse ends a migration that one of the agents refuses, and reports whether one does.
func (s *summarizer) agentsRefuse(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus, deadline time.Time) bool {
	switch {
	case looksOn(s.lm, source, target) && s.mayLookOn(deadline):
		return false
	case source != nil && source.Problem != nil:
		s.sourceProblem(both(source, target))
	case target != nil && target.Problem != nil:
		s.refused(target.Problem, v1alpha1.ReasonTargetCheckFailed)
	default:
		return false
	}
	return true
}

// looksOn reports whether an attempt in which one side has found a problem goes on, for all to be
// known at once.
func looksOn(lm *v1alpha1.LiveMigration, source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) bool {
	return source != nil && source.Guest != nil && source.CheckedTime == nil && (DryRun(lm) || source.Problem != nil || target != nil && target.Problem != nil) &&
		(target == nil || target.Problem == nil || target.Endpoint != nil)
}

// LookOnTime is how long, from its admission, a migration that one agent refuses waits for what
// the other has against it. A dry run has PrepareTimeout.
const LookOnTime = 10 * time.Second

// mayLookOn reports whether there is time to find out what else is wrong, and has the manager
// look again when it is over.
func (s *summarizer) mayLookOn(deadline time.Time) bool {
	if a := s.out.Status.Attempt; !DryRun(s.lm) && (deadline.IsZero() || a.AdmittedTime.Add(LookOnTime).Before(deadline)) {
		deadline = a.AdmittedTime.Add(LookOnTime)
	}
	if !s.now.Before(deadline) {
		return false
	}
	s.out.Recheck = deadline
	return true
}

// both returns the problem of the source, with what the target has to say.
func both(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) *v1alpha1.Problem {
	p := source.Problem
	if target != nil && target.Problem != nil {
		p = &v1alpha1.Problem{Reason: p.Reason, Message: Shorten(p.Message+". "+target.Problem.Message, MaxProblemMessage)}
	}
	return p
}

// sourceProblem looks for the guest once more if it had left the node before
// the source's agent looked: the list that the manager went by was old.
func (s *summarizer) sourceProblem(p *v1alpha1.Problem) {
	if p.Reason == v1alpha1.ReasonDomainNotOnSource && s.awaitNews() {
		s.lookAgain(p.Message)
		return
	}
	s.refused(p, v1alpha1.ReasonSourceCheckFailed)
}

// refused ends a migration that an agent refuses, for reason where it gives none that fits.
// Agents say what is wrong and what to do; where the guest is goes before that, as events
// have room for the beginning only.
func (s *summarizer) refused(p *v1alpha1.Problem, reason string) {
	where := fmt.Sprintf("The guest stays on %s. ", s.lm.Status.SourceNode)
	if p.Reason == v1alpha1.ReasonDomainNotOnSource {
		where = "Nothing was touched. "
	}
	s.finish(VerdictFailed, fittingReason(p.Reason, reason), where+p.Message)
}

func (s *summarizer) unprepared(source *v1alpha1.SourceStatus, target *v1alpha1.TargetStatus) string {
	node := s.lm.Status.SourceNode
	if source != nil && (target == nil || target.ReadyTime == nil) {
		node = s.lm.Status.TargetNode
	}
	return fmt.Sprintf("The guest stays on %s; nothing was started, because the agent on %s was not ready within %.0f seconds%s. Ask an "+
		"administrator to check that agent's log, and then create another LiveMigration", s.lm.Status.SourceNode, node, PrepareTimeout.Seconds(), s.notReady(node))
}

func (s *summarizer) afterStart() {
	out := s.judge()
	s.out.Recheck = out.Recheck
	source := CurrentSource(s.lm)
	switch {
	case out.Verdict == VerdictUnknown:
		s.unknown(out)
	case out.Verdict != VerdictPending:
		s.finish(out.Verdict, out.Reason, out.Message)
		s.recordDowntime()
	case source.End != nil:
		s.progressing(v1alpha1.PhaseConfirming, v1alpha1.ReasonConfirming, out.Message)
	case InPostCopy(source) && Whole(CurrentTarget(s.lm)):
		s.progressing(v1alpha1.PhasePostCopy, v1alpha1.ReasonPostCopy, fmt.Sprintf(
			"All of the guest has arrived on %s; waiting for libvirt on %s to notice%s", s.lm.Status.TargetNode, s.lm.Status.SourceNode, s.notReady(s.lm.Status.SourceNode)))
	case Interrupted(source):
		s.progressing(v1alpha1.PhaseRecovering, v1alpha1.ReasonRecovering, s.recovering(source.Recovery))
	case InPostCopy(source):
		s.progressing(v1alpha1.PhasePostCopy, v1alpha1.ReasonPostCopy, s.inPostCopy())
	case CancelRequested(s.lm):
		s.progressing(v1alpha1.PhaseCancelling, v1alpha1.ReasonCancelling, fmt.Sprintf(
			"Aborting the migration on %s%s", s.lm.Status.SourceNode, s.notReady(s.lm.Status.SourceNode)))
	case source.JobStartedTime == nil:
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonStarting, fmt.Sprintf(
			"Starting the migration on %s%s", s.lm.Status.SourceNode, s.notReady(s.lm.Status.SourceNode)))
	default:
		s.progressing(v1alpha1.PhaseMigrating, v1alpha1.ReasonMigrating, fmt.Sprintf("Copying the guest from %s to %s%s%s",
			s.lm.Status.SourceNode, s.lm.Status.TargetNode, pausing(source.Steering), s.notReady(s.lm.Status.SourceNode)))
	}
}

// judge adds to Judge what the manager alone sees: that a node is gone for good, and that
// a source which has not reported the end cannot be expected to.
func (s *summarizer) judge() Outcome {
	gone := missingNodes(s.lm.Status.Attempt, s.isReady(s.lm.Status.TargetNode), s.now)
	out := Judge(gone.presume(s.lm, s.now), s.now)
	out.Message += gone.says(s.lm)
	if out.Recheck.IsZero() || !gone.recheck.IsZero() && gone.recheck.Before(out.Recheck) {
		out.Recheck = gone.recheck
	}
	if out.Verdict != VerdictPending || CurrentSource(s.lm).End != nil {
		return out
	}
	since, ready := s.sourceAway()
	if ready {
		return s.judgeStall(out)
	}
	deadline := since.Add(ConfirmTimeout)
	if s.now.Before(deadline) {
		out.Recheck = deadline
		return out
	}
	row := rowFor(SideUnseen, targetSideOf(CurrentSource(s.lm), CurrentTarget(s.lm)))
	return Outcome{
		Verdict: VerdictUnknown, Reason: v1alpha1.ReasonOutcomeUnknown,
		Message: sight(s.lm, row.meaning) + s.notReady(s.lm.Status.SourceNode),
	}
}

// judgeStall says of a migration that its agent cannot bring to its end that its outcome is
// unknown. Where the target has all of the guest, that is known to come.
func (s *summarizer) judgeStall(out Outcome) Outcome {
	stall := CurrentSource(s.lm).Stall
	if stall == nil || Whole(CurrentTarget(s.lm)) {
		return out
	}
	return Outcome{Verdict: VerdictUnknown, Reason: v1alpha1.ReasonOutcomeUnknown, Message: stalled(s.lm, stall)}
}

// sourceAway says since when the source's node is not ready, or has no Hypervisor at
// all: somebody may have removed it with the node.
func (s *summarizer) sourceAway() (since time.Time, ready bool) {
	if n, ok := s.Nodes.Node(s.lm.Status.SourceNode); ok {
		return n.Since, n.Ready || n.Since.IsZero()
	}
	return s.lm.Status.Attempt.SourceMissingTime.Time, false
}

func (s *summarizer) isReady(node string) bool {
	n, ok := s.Nodes.Node(node)
	return ok && n.Ready
}

// pausing says why the guest stands still, to be put behind a message.
func pausing(steering *v1alpha1.SteeringStatus) string {
	if steering == nil || steering.Pause == nil || steering.PausedTime == nil {
		return ""
	}
	return "; the guest is paused until it has been copied: " + steering.Pause.Message
}

func (s *summarizer) inPostCopy() string {
	message := fmt.Sprintf("The guest runs on %s; the rest of its memory is being copied from %s", s.lm.Status.TargetNode, s.lm.Status.SourceNode)
	if CancelRequested(s.lm) {
		message += ". It is too late to cancel: neither host has the whole guest until that is done"
	}
	return message + s.notReady(s.lm.Status.SourceNode)
}

func (s *summarizer) recovering(r *v1alpha1.RecoveryStatus) string {
	message := fmt.Sprintf("Post-copy from %s to %s was interrupted: the guest hangs whenever it needs memory that has not arrived. ",
		s.lm.Status.SourceNode, s.lm.Status.TargetNode)
	if r.WithheldReason != "" {
		return message + r.WithheldReason + ". The migration is resumed some seconds after that. Destroy neither copy: each has a part of the " +
			"guest's memory" + s.notReady(s.lm.Status.SourceNode) + s.notReady(s.lm.Status.TargetNode)
	}
	message += "The migration is resumed as soon as the two hosts can reach each other. Ask an administrator to check the network between them, and to " +
		"destroy neither copy: each has a part of the guest's memory"
	if r.LastError != "" {
		message += fmt.Sprintf(". Attempt %d to resume it failed: %s", r.Attempts, r.LastError)
	}
	return message + s.notReady(s.lm.Status.SourceNode)
}

// notReady says why a node is not ready, to be put behind a message.
func (s *summarizer) notReady(name string) string {
	switch n, ok := s.Nodes.Node(name); {
	case !ok:
		return fmt.Sprintf("; %s has no Hypervisor: no agent runs there", name)
	case !n.Ready:
		return fmt.Sprintf("; %s is not ready: %s", name, n.Message)
	default:
		return ""
	}
}

// recordDowntime takes the measured pause from the side that knows it.
func (s *summarizer) recordDowntime() {
	st := &s.out.Status
	if st.DowntimeMilliseconds != nil {
		return
	}
	if p := s.lm.Status.Progress; p != nil && p.DowntimeMilliseconds != nil {
		st.DowntimeMilliseconds = p.DowntimeMilliseconds
	} else if t := CurrentTarget(s.lm); t != nil {
		st.DowntimeMilliseconds = t.DowntimeMilliseconds
	}
}

// finish settles the migration for good.
func (s *summarizer) finish(v Verdict, reason, message string) {
	st := &s.out.Status
	if v != VerdictSucceeded && !Started(s.lm) {
		var wait bool
		if message, wait = s.clearUp(message); wait {
			return
		}
	}
	goesOnNoMore(st, v == VerdictSucceeded)
	st.CompletionTime = &metav1.Time{Time: s.now}
	status := metav1.ConditionFalse
	switch v {
	case VerdictSucceeded:
		status, st.Phase = metav1.ConditionTrue, v1alpha1.PhaseSucceeded
	case VerdictCancelled:
		st.Phase = v1alpha1.PhaseCancelled
	case VerdictFailed, VerdictPending, VerdictUnknown:
		st.Phase = v1alpha1.PhaseFailed
	}
	s.set(v1alpha1.ConditionSucceeded, status, reason, message)
	s.set(v1alpha1.ConditionReady, status, reason, message)
	if v != VerdictSucceeded {
		s.set(v1alpha1.ConditionStalled, metav1.ConditionTrue, reason, message)
	}
	s.out.Recheck = time.Time{}
}

func (s *summarizer) unknown(out Outcome) {
	st := &s.out.Status
	st.Phase = v1alpha1.PhaseUnknown
	meta.RemoveStatusCondition(&st.Conditions, v1alpha1.ConditionReconciling)
	s.set(v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, out.Reason, out.Message)
	s.set(v1alpha1.ConditionReady, metav1.ConditionUnknown, out.Reason, out.Message)
	s.set(v1alpha1.ConditionStalled, metav1.ConditionTrue, out.Reason, out.Message)
}

func (s *summarizer) progressing(phase v1alpha1.LiveMigrationPhase, reason, message string) {
	st := &s.out.Status
	st.Phase = phase
	meta.RemoveStatusCondition(&st.Conditions, v1alpha1.ConditionStalled)
	s.set(v1alpha1.ConditionSucceeded, metav1.ConditionUnknown, reason, message)
	s.set(v1alpha1.ConditionReady, metav1.ConditionUnknown, reason, message)
	s.set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason, message)
}

func (s *summarizer) set(condition string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.out.Status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: Shorten(message, MaxConditionMessage),
		ObservedGeneration: s.lm.Generation, LastTransitionTime: metav1.NewTime(s.now),
	})
}
