package migration

import (
	"fmt"
	"slices"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// ConfirmTimeout is how long after the end on the source the two sides may
// take to show a settled outcome before it is called unknown.
const ConfirmTimeout = 60 * time.Second

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

// Outcome is a verdict with its reason in words.
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
	// Recheck is when a pending outcome has to be judged again even if nothing
	// new is reported; zero means that there is no need.
	Recheck time.Time
}

// outcomeRow says what a combination of sides means once the job is over on
// the source and the target was read afterwards.
type outcomeRow struct {
	source, target []Side
	verdict        Verdict
	reason         string
	removeIncoming bool
	meaning        string
}

// outcomeTable is consulted from the top. What no row covers is waited for and
// then called unknown.
var outcomeTable = []outcomeRow{
	{
		source: []Side{SideMigrated, SideGone, SideStopped}, target: []Side{SideLive},
		verdict: VerdictSucceeded, reason: v1alpha1.ReasonMigrated,
		meaning: "the guest runs on the target and nowhere else",
	},
	{
		source: []Side{SideLive}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictFailed, reason: v1alpha1.ReasonMigrationFailed,
		meaning: "the guest stays on the source",
	},
	{
		source: []Side{SideLive}, target: []Side{SideIncoming},
		verdict: VerdictPending, removeIncoming: true,
		meaning: "the guest stays on the source; a leftover on the target has to go",
	},
	{
		source: []Side{SideStopped}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictFailed, reason: v1alpha1.ReasonGuestStopped,
		meaning: "the guest stopped while it was being migrated",
	},
	{
		source: []Side{SideLive}, target: []Side{SideLive},
		verdict: VerdictUnknown, reason: v1alpha1.ReasonOutcomeUnknown,
		meaning: "the guest is active on both sides",
	},
}

// Judge decides what became of the current attempt from what both agents
// report. It pends until the source's agent has reported the end of the job
// and, but for success, the target's agent has read its side after that.
func Judge(lm *v1alpha1.LiveMigration, now time.Time) Outcome {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	if source == nil || source.End == nil {
		return Outcome{Verdict: VerdictPending}
	}
	sourceSide, targetSide := SideOf(&source.End.Domain), SideUnseen
	if target != nil {
		targetSide = SideOf(target.Domain)
	}
	confirmed := target != nil && target.ConfirmedTime != nil
	for _, row := range outcomeTable {
		if !slices.Contains(row.source, sourceSide) || !slices.Contains(row.target, targetSide) {
			continue
		}
		if row.verdict != VerdictSucceeded && !confirmed {
			break
		}
		return row.outcome(lm, source.End, now)
	}
	return undecided(lm, source.End, now)
}

func (row outcomeRow) outcome(lm *v1alpha1.LiveMigration, end *v1alpha1.SourceEnd, now time.Time) Outcome {
	switch row.verdict {
	case VerdictPending:
		out := undecided(lm, end, now)
		out.RemoveIncoming = row.removeIncoming
		return out
	case VerdictSucceeded:
		return succeeded(lm, end, now)
	case VerdictFailed:
		if row.reason == v1alpha1.ReasonGuestStopped {
			return Outcome{Verdict: VerdictFailed, Reason: row.reason, Message: fmt.Sprintf(
				"The guest stopped on %s (%s) while it was being migrated; it was not started on %s",
				lm.Status.SourceNode, describe(&end.Domain), lm.Status.TargetNode)}
		}
		return failed(lm, end)
	case VerdictCancelled, VerdictUnknown:
	}
	return Outcome{Verdict: row.verdict, Reason: row.reason, Message: sight(lm, row.meaning)}
}

// succeeded pends while a definition is left on the source: someone might start
// it and run the guest twice.
func succeeded(lm *v1alpha1.LiveMigration, end *v1alpha1.SourceEnd, now time.Time) Outcome {
	out := Outcome{
		Verdict: VerdictSucceeded, Reason: v1alpha1.ReasonMigrated,
		Message: fmt.Sprintf("The guest runs on %s", lm.Status.TargetNode),
	}
	if !end.Domain.Defined {
		return out
	}
	out.UndefineSource = true
	if recheck := end.Time.Add(ConfirmTimeout); now.Before(recheck) {
		out.Verdict, out.Recheck = VerdictPending, recheck
		out.Message = fmt.Sprintf("The guest runs on %s; its definition on %s is being removed",
			lm.Status.TargetNode, lm.Status.SourceNode)
		return out
	}
	out.Message += fmt.Sprintf("; its definition on %s could not be removed: do so with `virsh undefine` there, "+
		"so that nobody starts the guest twice", lm.Status.SourceNode)
	return out
}

func failed(lm *v1alpha1.LiveMigration, end *v1alpha1.SourceEnd) Outcome {
	out := Outcome{Verdict: VerdictFailed, Reason: v1alpha1.ReasonMigrationFailed}
	kind := hypervisor.Kind(end.ErrorKind)
	still := fmt.Sprintf("The guest still runs on %s", lm.Status.SourceNode)
	if end.Domain.State == string(hypervisor.StatePaused) {
		still = fmt.Sprintf("The guest is still on %s, paused", lm.Status.SourceNode)
	}
	switch {
	case CancelRequested(lm) && (kind == hypervisor.KindAborted || end.Call == v1alpha1.CallUnknown):
		out.Verdict, out.Reason, out.Message = VerdictCancelled, v1alpha1.ReasonCancelled, still+"; the migration was cancelled"
	case end.Call == v1alpha1.CallUnknown:
		out.Reason = v1alpha1.ReasonInterrupted
		out.Message = still + "; the migration was interrupted by a restart of libvirt or of the agent. " +
			"Create another LiveMigration to try again"
	case kind == hypervisor.KindUnsafe:
		out.Reason = v1alpha1.ReasonUnsafe
		out.Message = fmt.Sprintf("%s; libvirt holds the migration for unsafe: %s. Put the disks on shared storage, or set "+
			"options.allowUnsafe if you know that both hosts see the same disks", still, end.ErrorMessage)
	default:
		out.Message = fmt.Sprintf("%s; libvirt gave the migration up: %s", still, end.ErrorMessage)
	}
	return out
}

// undecided waits for reports until ConfirmTimeout and then says what is known.
func undecided(lm *v1alpha1.LiveMigration, end *v1alpha1.SourceEnd, now time.Time) Outcome {
	recheck := end.Time.Add(ConfirmTimeout)
	if now.Before(recheck) {
		return Outcome{Verdict: VerdictPending, Recheck: recheck, Message: sight(lm, "waiting until both sides agree")}
	}
	return Outcome{
		Verdict: VerdictUnknown, Reason: v1alpha1.ReasonOutcomeUnknown,
		Message: sight(lm, "it is not certain where the guest runs"),
	}
}

// sight says what each side shows and, where it matters, what to do.
func sight(lm *v1alpha1.LiveMigration, meaning string) string {
	var source, target *v1alpha1.DomainObservation
	if s := CurrentSource(lm); s != nil && s.End != nil {
		source = &s.End.Domain
	}
	if t := CurrentTarget(lm); t != nil {
		target = t.Domain
	}
	return fmt.Sprintf("On %s the guest is %s, on %s it is %s: %s. If it stays so, look with `virsh domstate --reason %s` "+
		"on both hosts; nothing has been touched", lm.Status.SourceNode, describe(source), lm.Status.TargetNode,
		describe(target), meaning, lm.Status.DomainUUID)
}

func describe(o *v1alpha1.DomainObservation) string {
	switch {
	case o == nil:
		return "not reported"
	case o.State == v1alpha1.StateAbsent:
		return "absent"
	case o.Reason == "" || o.Reason == string(hypervisor.ReasonUnknown):
		return o.State
	default:
		return o.State + "/" + o.Reason
	}
}
