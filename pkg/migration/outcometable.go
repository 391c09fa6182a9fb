package migration

import (
	"fmt"
	"slices"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// outcomeRow says what a combination of sides means once the job is over on
// the source and the target was read afterwards.
type outcomeRow struct {
	source, target []Side
	verdict        Verdict
	reason         string
	// patience is how long a row stays pending that may be on its way to another one.
	patience       time.Duration
	removeIncoming bool
	destroySource  bool
	pauseSource    bool
	// lostOnDeletion is whether an object that is being deleted ends with the row.
	lostOnDeletion bool
	meaning        string
}

// outcomeTable has exactly one row for each combination of sides.
var outcomeTable = []outcomeRow{
	{
		source: []Side{SideMigrated, SideGone, SideStopped}, target: []Side{SideLive, SideRestarted},
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
		verdict: VerdictUnknown, patience: ConfirmTimeout, removeIncoming: true,
		meaning: "the guest is on the source; the incomplete copy on the target has not been removed yet",
	},
	{
		source: []Side{SideStopped}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictFailed, reason: v1alpha1.ReasonGuestStopped,
		meaning: "the guest stopped while it was being migrated",
	},
	{
		source: []Side{SideLive}, target: []Side{SideStarted},
		verdict: VerdictUnknown,
		meaning: "the guest is on the source, and that copy is the one to keep; somebody started another copy on the target from a " +
			"definition there; ask an administrator to destroy the target's copy",
	},
	{
		source: []Side{SideStopped}, target: []Side{SideStarted},
		verdict: VerdictFailed, reason: v1alpha1.ReasonGuestStopped,
		meaning: "the guest stopped while it was being migrated, and somebody started it again on the target",
	},
	{
		source: []Side{SideGone, SideMigrated}, target: []Side{SideStarted},
		verdict: VerdictUnknown, patience: BriefTimeout,
		meaning: "the guest has left the source, and the target runs a copy that somebody started from a definition there",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideStarted},
		verdict: VerdictUnknown,
		meaning: "the source has the guest paused at its switch-over, and somebody started another copy on the target from a definition " +
			"there; ask an administrator to keep one of the two (the source's goes on from where it was paused, the target's was " +
			"booted afresh) and to destroy the other",
	},
	{
		source: []Side{SideLive}, target: []Side{SideLive, SideRestarted},
		verdict: VerdictUnknown, pauseSource: true,
		meaning: "the guest ran on both hosts, so the source's copy was paused, once; ask an administrator to look at the guest's console " +
			"on the target: if the guest runs well there, destroy the source's copy; otherwise destroy the target's copy, and then " +
			"resume the source's",
	},
	{
		source: []Side{SideLive}, target: []Side{SideLeaving},
		verdict: VerdictUnknown, pauseSource: true,
		meaning: "the guest ran on both hosts, so the source's copy was paused, once; the target's is being migrated to another host; ask an " +
			"administrator to look at that copy's console: if the guest runs well there, destroy the source's copy; otherwise destroy " +
			"the other, and then resume the source's",
	},
	{
		source: []Side{SideLive}, target: []Side{SidePostcopy},
		verdict: VerdictUnknown,
		meaning: "the guest is active on the source, and so is another copy of it on the target",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideLive},
		verdict: VerdictUnknown, patience: ConfirmTimeout, destroySource: true,
		meaning: "the guest runs on the target; the old copy on the source has not been removed yet, and must never be resumed; if it " +
			"stays, ask an administrator to check the log of the source's agent",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideLeaving, SidePostcopy, SideRestarted},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest has switched over to the target, and the source still has the old copy, which must never be resumed; ask an " +
			"administrator to check on the guest's console that it runs well on the target, and then to destroy the source's copy",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "both hosts have the guest paused at its switch-over; the source's copy is the one to keep; ask an administrator to " +
			"destroy the target's copy first, and only then to resume the source's",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the source has the guest paused at its switch-over, and the target does not run it; ask an administrator to make sure " +
			"that it has not run on the target or on any other host in the meantime, and then to resume it on the source",
	},
	{
		source: []Side{SideGone, SideMigrated}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown, patience: BriefTimeout, lostOnDeletion: true,
		meaning: "the guest has left the source and does not run on the target; it may have stopped there, " +
			"or somebody may have moved it to another host",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest does not run on the source, and its copy on the target is still waiting for the switch-over",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SidePostcopy},
		verdict: VerdictUnknown, patience: BriefTimeout,
		meaning: "post-copy ended before all of the guest's memory had reached the target, and the source no longer has it; ask an " +
			"administrator to destroy what is left, and to start the guest again",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SideLeaving},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest has arrived on the target and is already being migrated to another host",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SidePostcopy, SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "each host has only a part of the guest's memory; ask an administrator to resume the migration or, if that is " +
			"impossible, to destroy both parts and start the guest again",
	},
	{
		source: []Side{SideStale}, target: []Side{
			SideLive, SideStarted, SideRestarted, SideGone, SideStopped, SideMigrated, SideLeaving, SideIncoming, SidePostcopy,
		},
		verdict: VerdictUnknown, patience: ConfirmTimeout, destroySource: true,
		meaning: "all of the guest has arrived on the target, but the source was not told; the part left on the source is stale, must never " +
			"be resumed, and has not been removed yet; if it stays, ask an administrator to check the log of the source's agent",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SideLive, SideStarted, SideRestarted, SideLeaving},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest runs on the target; the part left on the source is stale and must never be resumed; ask an administrator to " +
			"destroy it",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown,
		meaning: "the guest ran on the target in post-copy and stopped there, so it is lost; the part left on the source is stale and must " +
			"never be resumed; ask an administrator to destroy it, and to start the guest again",
	},
	{
		source: []Side{SideLeaving, SideIncoming}, target: []Side{
			SideLive, SideStarted, SideRestarted, SideGone, SideStopped, SideMigrated, SideLeaving, SideIncoming, SidePostcopy,
		},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "another migration of the guest seems to be under way, or to have been interrupted",
	},
	{
		source: []Side{
			SideLive, SideHeld, SideGone, SideMigrated, SideStopped, SidePostcopy, SideStale, SideLeaving, SideIncoming, SideUnseen,
		},
		target:  []Side{SideUnseen},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the target has not reported on the guest",
	},
	{
		source: []Side{SideUnseen}, target: []Side{
			SideLive, SideStarted, SideRestarted, SideGone, SideStopped, SideMigrated, SideLeaving, SideIncoming, SidePostcopy,
		},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the source has not reported on the guest",
	},
}

// Row returns the number of the row of the outcome table that a migration has come to,
// from 0, or -1 as long as it has come to none: both sides are known, or its outcome is
// called unknown for want of one.
func Row(lm *v1alpha1.LiveMigration) int {
	source, target := CurrentSource(lm), CurrentTarget(lm)
	side := SideUnseen
	switch {
	case source == nil:
		return -1
	case source.End != nil:
		side = sourceSideOf(source, target)
	case InPostCopy(source):
		side = SidePostcopy
	}
	if !TargetAnswers(source, target) && lm.Status.Phase != v1alpha1.PhaseUnknown {
		return -1
	}
	row := rowFor(side, targetSideOf(source, target))
	return slices.IndexFunc(outcomeTable, func(r outcomeRow) bool { return row != nil && r.meaning == row.meaning })
}

// Rows returns which sides each row of the outcome table is about, the source's first.
func Rows() []string {
	rows := make([]string, len(outcomeTable))
	for i, row := range outcomeTable {
		rows[i] = fmt.Sprint(row.source, " and ", row.target)
	}
	return rows
}

func rowFor(source, target Side) *outcomeRow {
	for i := range outcomeTable {
		if row := &outcomeTable[i]; slices.Contains(row.source, source) && slices.Contains(row.target, target) {
			return row
		}
	}
	return nil
}
