package migration

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// beforeAttempt says what a migration waits for, or lets it go ahead.
func (s *summarizer) beforeAttempt() {
	st := &s.out.Status
	if st.StartTime == nil {
		st.StartTime = &metav1.Time{Time: s.now}
	}
	if CancelRequested(s.lm) {
		s.finish(VerdictCancelled, v1alpha1.ReasonCancelled, s.cancelledBefore())
		return
	}
	s.noteQueue()
	res := &s.Turn.Resolution
	if res.DomainUUID != "" {
		st.DomainUUID = res.DomainUUID
	}
	if res.DomainName != "" {
		st.DomainName = res.DomainName
	}
	switch other := s.Turn.Before; {
	case other != nil:
		st.ResolvingTime = nil
		s.progressing(v1alpha1.PhasePending, v1alpha1.ReasonWaitingForOtherMigration, waitingFor(other))
	case res.Problem != nil:
		s.unresolved(res)
	case s.Turn.Admit:
		s.admit(res)
	default:
		st.ResolvingTime = nil
		s.progressing(v1alpha1.PhasePending, v1alpha1.ReasonWaitingForSlot, capital(s.waitingForSlot()))
	}
}

// waitingFor says which migration goes first. One whose outcome is unknown may stay so until a
// person does something.
func waitingFor(other *v1alpha1.LiveMigration) string {
	message := fmt.Sprintf("Waiting for the LiveMigration %s/%s of the same guest to end", other.Namespace, other.Name)
	if other.Status.Phase == v1alpha1.PhaseUnknown {
		message += ". Its outcome is unknown: ask an administrator to do what its condition Stalled says"
	}
	return message
}

// unresolved waits for news, if there may be some, or fails.
func (s *summarizer) unresolved(res *Resolution) {
	wait := res.Transient && s.awaitNews()
	if !res.AwaitUntil.IsZero() {
		wait, s.out.Recheck = s.now.Before(res.AwaitUntil), res.AwaitUntil
	}
	if !wait {
		s.finish(VerdictFailed, res.Problem.Reason, res.Problem.Message)
		return
	}
	s.progressing(v1alpha1.PhasePending, v1alpha1.ReasonResolving, res.Problem.Message)
}

// awaitNews reports whether what cannot be found yet is worth waiting for: what the
// agents publish lags a little. It counts from when the manager first did not find it.
func (s *summarizer) awaitNews() bool {
	st := &s.out.Status
	if st.ResolvingTime == nil {
		st.ResolvingTime = new(metav1.NewMicroTime(s.now))
	}
	until := st.ResolvingTime.Add(ResolveGrace)
	s.out.Recheck = until
	return s.now.Before(until)
}

// admit lets the migration go ahead.
func (s *summarizer) admit(res *Resolution) {
	st := &s.out.Status
	st.TargetNode = res.TargetNode
	st.Attempt = &v1alpha1.AttemptStatus{ID: s.NewAttempt(), AdmittedTime: metav1.NewMicroTime(s.now)}
	s.out.Recheck = s.now.Add(PrepareTimeout)
	if res.AlreadyOnTarget {
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingTarget,
			fmt.Sprintf("The guest seems to be on %s already; checking with the agent there", res.TargetNode))
		return
	}
	st.SourceNode = res.SourceNode
	if n, known := s.Nodes.Node(res.TargetNode); known {
		st.Attempt.StorageMappings = slices.Clone(n.StorageMappings)
	}
	if s.Turn.Grant {
		st.Attempt.CopyGrantedTime = new(metav1.NewMicroTime(s.now))
	}
	s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingSource,
		fmt.Sprintf("Checking the guest on %s", res.SourceNode))
}

// looking waits for the word of the target's agent on a guest that seems to be there
// already. The list that says so may be old.
func (s *summarizer) looking() {
	st, target := &s.out.Status, CurrentTarget(s.lm)
	deadline := st.Attempt.AdmittedTime.Add(PrepareTimeout)
	switch {
	case CancelRequested(s.lm):
		s.finish(VerdictCancelled, v1alpha1.ReasonCancelled, s.cancelledBefore())
	case target != nil && target.ConfirmedTime != nil && !s.now.Before(deadline):
		s.lookAgain(fmt.Sprintf("What the agent on %s found there is out of date", st.TargetNode))
	case target != nil && target.ConfirmedTime != nil && SideOf(target.Domain) == SideLive:
		s.finish(VerdictSucceeded, v1alpha1.ReasonAlreadyOnTarget, alreadyThere(st.TargetNode, target.Domain))
	case target != nil && target.ConfirmedTime != nil:
		s.notThere(target.Domain)
	case !s.now.Before(deadline):
		s.finish(VerdictFailed, v1alpha1.ReasonNodeNotReady, fmt.Sprintf("The guest seems to be on %s already, but the agent there did "+
			"not confirm that within %.0f seconds%s. Nothing was touched. Ask an administrator to check that agent's log, and then create another LiveMigration",
			st.TargetNode, PrepareTimeout.Seconds(), s.notReady(st.TargetNode)))
	default:
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonCheckingTarget,
			fmt.Sprintf("The guest seems to be on %s already; checking with the agent there", st.TargetNode))
		s.out.Recheck = deadline
	}
}

func alreadyThere(node string, o *v1alpha1.DomainObservation) string {
	if o.State == "Running" {
		return fmt.Sprintf("The guest runs on %s already; nothing was touched", node)
	}
	return fmt.Sprintf("The guest is on %s already (%s); nothing was touched", node, describe(o))
}

// notThere looks for the guest again when the lists have changed, and gives up when
// they have not for a while.
func (s *summarizer) notThere(o *v1alpha1.DomainObservation) {
	st := &s.out.Status
	message := fmt.Sprintf("The guest is listed as running on %s, but the agent there finds it %s", st.TargetNode, describe(o))
	inTime := s.awaitNews()
	switch {
	case !s.Turn.Resolution.AlreadyOnTarget:
		s.lookAgain(message)
	case inTime:
		s.progressing(v1alpha1.PhasePreparing, v1alpha1.ReasonResolving, message+"; waiting for the list to be updated")
	default:
		s.finish(VerdictFailed, v1alpha1.ReasonDomainNotRunning, message+". Nothing was touched; create another LiveMigration to try again")
	}
}

// lookAgain takes the attempt, which has touched nothing, back.
func (s *summarizer) lookAgain(why string) {
	st := &s.out.Status
	st.Attempt, st.SourceNode, st.TargetNode = nil, "", ""
	s.progressing(v1alpha1.PhasePending, v1alpha1.ReasonResolving, why+"; looking for the guest again")
}

// noteQueue takes over the migration's place in the line.
func (s *summarizer) noteQueue() {
	st := &s.out.Status
	if st.Queue == nil {
		st.Queue = &v1alpha1.QueueStatus{Order: s.Turn.Order}
	}
	st.Queue.WaitingFor, st.Queue.Position = s.Turn.WaitingFor, ShownPosition(s.Turn.Position)
	if s.Turn.Position == 1 {
		s.out.Recheck = s.now.Add(queueRecheck)
	}
}

// queueRecheck is how often the first in a line is looked at even if nothing changes:
// with time it is kept a slot.
const queueRecheck = 30 * time.Second

// waitingForSlot says what a migration waits for.
func (s *summarizer) waitingForSlot() string {
	res, st := &s.Turn.Resolution, &s.out.Status
	source, target := st.SourceNode, st.TargetNode
	if st.Attempt == nil {
		source, target = res.SourceNode, res.TargetNode
	}
	if s.Turn.Halted {
		return "waiting for a slot: Virtferry cannot admit any migration at the moment; ask an administrator to repair what the manager's log says"
	}
	if DryRun(s.lm) {
		return s.waitingForDryRun(source, target)
	}
	var why string
	switch s.Turn.WaitingFor {
	case v1alpha1.SlotSource:
		why = source + " already sends as many guests as it may at a time"
	case v1alpha1.SlotTarget:
		why = target + " already receives as many guests as it may at a time"
	case v1alpha1.SlotCluster:
		why = "the cluster already moves as many guests as it may at a time"
	default:
		return "waiting for the next free slot"
	}
	if s.Turn.KeptFree {
		why = "the next one is kept free for a migration that has waited longer"
	}
	return fmt.Sprintf("waiting for a slot: %s; %s", why, ahead(s.Turn.Position))
}

// waitingForDryRun says which dry runs another waits for.
func (s *summarizer) waitingForDryRun(source, target string) string {
	switch s.Turn.WaitingFor {
	case v1alpha1.SlotSource:
		return fmt.Sprintf("waiting for another dry run of a guest on %s; %s", source, ahead(s.Turn.Position))
	case v1alpha1.SlotTarget:
		return fmt.Sprintf("waiting for another dry run of a guest for %s; %s", target, ahead(s.Turn.Position))
	case v1alpha1.SlotCluster: // A dry run needs none.
	}
	return "waiting to be checked"
}

func ahead(position int32) string {
	shown := ShownPosition(position)
	switch {
	case position == 1:
		return "this migration is next"
	case shown > 5:
		return fmt.Sprintf("at most %d are ahead of it", shown-1)
	case position == 2:
		return "1 is ahead of it"
	default:
		return fmt.Sprintf("%d are ahead of it", position-1)
	}
}

// capital begins a sentence.
func capital(s string) string { return string(s[0]-'a'+'A') + s[1:] }
