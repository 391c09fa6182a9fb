package migration

import (
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
	// patience is for how long a row pends that may be on its way to another one.
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
		verdict: VerdictUnknown, patience: ConfirmTimeout, removeIncoming: true,
		meaning: "the guest stays on the source; a leftover on the target has to go",
	},
	{
		source: []Side{SideStopped}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictFailed, reason: v1alpha1.ReasonGuestStopped,
		meaning: "the guest stopped while it was being migrated",
	},
	{
		source: []Side{SideLive}, target: []Side{SideStarted},
		verdict: VerdictUnknown,
		meaning: "the guest stays on the source; the target runs a copy that the migration did not bring, but that somebody has started " +
			"there from a definition; destroy that copy",
	},
	{
		source: []Side{SideStopped}, target: []Side{SideStarted},
		verdict: VerdictFailed, reason: v1alpha1.ReasonGuestStopped,
		meaning: "the guest stopped while it was being migrated, and was started anew on the target",
	},
	{
		source: []Side{SideGone, SideMigrated}, target: []Side{SideStarted},
		verdict: VerdictUnknown, patience: BriefTimeout,
		meaning: "the guest has left the source, and the target runs one that was started there from a definition",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideStarted},
		verdict: VerdictUnknown,
		meaning: "the source holds the guest paused at its switch-over, and the target runs a copy that the migration did not bring, " +
			"but that somebody has started there from a definition; keep one of them, and destroy the other",
	},
	{
		source: []Side{SideLive}, target: []Side{SideLive},
		verdict: VerdictUnknown, pauseSource: true,
		meaning: "the guest was set going on both sides, and the source's copy is paused, once, so that only one runs; destroy that " +
			"copy or, where it is the right one, destroy the target's and resume it",
	},
	{
		source: []Side{SideLive}, target: []Side{SideLeaving, SidePostcopy},
		verdict: VerdictUnknown,
		meaning: "the guest is active on the source, and another copy of it on the target",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideLive},
		verdict: VerdictUnknown, patience: ConfirmTimeout, destroySource: true,
		meaning: "the guest runs on the target; the old copy that the source holds has to go",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideLeaving, SidePostcopy},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest went on to the target, and the source still holds its old copy, which must never be resumed; " +
			"where the target's runs well, destroy the source's",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "both sides hold the guest paused at its switch-over; destroy the target's copy, then resume the source's",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the source holds the guest paused at its switch-over, and the target does not run it; where it did not run " +
			"there in between, resume it on the source",
	},
	{
		source: []Side{SideGone, SideMigrated}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown, patience: BriefTimeout, lostOnDeletion: true,
		meaning: "the guest has left the source and does not run on the target; it may have stopped there since, " +
			"or somebody has moved it on",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest does not run on the source, and on the target it waits for its switch-over",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SidePostcopy},
		verdict: VerdictUnknown, patience: BriefTimeout,
		meaning: "post-copy ended before the target had all of the guest's memory, and the source has lost it; " +
			"destroy what is left and start the guest anew",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SideLeaving},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest has arrived on the target and is already being moved on from there",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SidePostcopy, SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "each side has a part of the guest's memory; resume the migration or, where that is impossible, " +
			"destroy both and start the guest anew",
	},
	{
		source: []Side{SideStale}, target: []Side{
			SideLive, SideStarted, SideGone, SideStopped, SideMigrated, SideLeaving, SideIncoming, SidePostcopy,
		},
		verdict: VerdictUnknown, patience: ConfirmTimeout, destroySource: true,
		meaning: "all of the guest has arrived on the target, and the source has not heard of it; what it holds is stale, must " +
			"never be resumed, and has to go",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SideLive, SideStarted, SideLeaving},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest runs on the target; what the source holds is a stale part, which must never be resumed; destroy it",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown,
		meaning: "the guest ran on the target in post-copy and has stopped there, so it is lost: what the source holds is " +
			"stale and must never be resumed; destroy it and start the guest anew",
	},
	{
		source: []Side{SideLeaving, SideIncoming}, target: []Side{
			SideLive, SideStarted, SideGone, SideStopped, SideMigrated, SideLeaving, SideIncoming, SidePostcopy,
		},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "another migration of the guest seems to be under way",
	},
	{
		source: []Side{
			SideLive, SideHeld, SideGone, SideMigrated, SideStopped, SidePostcopy, SideStale, SideLeaving, SideIncoming, SideUnseen,
		},
		target:  []Side{SideUnseen},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the target has not been seen",
	},
	{
		source: []Side{SideUnseen}, target: []Side{
			SideLive, SideStarted, SideGone, SideStopped, SideMigrated, SideLeaving, SideIncoming, SidePostcopy,
		},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the source has not been seen",
	},
	{
		source: []Side{SideLive}, target: []Side{SideHeld},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the target cannot hold a guest that it was to receive",
	},
}

func rowFor(source, target Side) *outcomeRow {
	for i := range outcomeTable {
		if row := &outcomeTable[i]; slices.Contains(row.source, source) && slices.Contains(row.target, target) {
			return row
		}
	}
	return nil
}
