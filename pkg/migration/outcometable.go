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
		meaning: "the guest stays on the source; the incomplete copy on the target still has to be removed",
	},
	{
		source: []Side{SideStopped}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictFailed, reason: v1alpha1.ReasonGuestStopped,
		meaning: "the guest stopped while it was being migrated",
	},
	{
		source: []Side{SideLive}, target: []Side{SideStarted},
		verdict: VerdictUnknown,
		meaning: "the guest stays on the source; the target runs a copy that did not come with the migration, but was started " +
			"there from a definition; destroy that copy",
	},
	{
		source: []Side{SideStopped}, target: []Side{SideStarted},
		verdict: VerdictFailed, reason: v1alpha1.ReasonGuestStopped,
		meaning: "the guest stopped while it was being migrated, and was started again on the target",
	},
	{
		source: []Side{SideGone, SideMigrated}, target: []Side{SideStarted},
		verdict: VerdictUnknown, patience: BriefTimeout,
		meaning: "the guest has left the source, and the target runs a copy that was started there from a definition",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideStarted},
		verdict: VerdictUnknown,
		meaning: "the source has the guest paused at its switch-over, and the target runs a copy that did not come with the migration, " +
			"but was started there from a definition; keep one of them, and destroy the other",
	},
	{
		source: []Side{SideLive}, target: []Side{SideLive},
		verdict: VerdictUnknown, pauseSource: true,
		meaning: "the guest ran on both hosts, so the source's copy was paused, once; if the guest runs well on the target, destroy the " +
			"source's copy; otherwise destroy the target's, and resume the source's",
	},
	{
		source: []Side{SideLive}, target: []Side{SideLeaving, SidePostcopy},
		verdict: VerdictUnknown,
		meaning: "the guest is active on the source, and another copy of it on the target",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideLive},
		verdict: VerdictUnknown, patience: ConfirmTimeout, destroySource: true,
		meaning: "the guest runs on the target; the old copy on the source still has to be removed",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideLeaving, SidePostcopy},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest went on to the target, and the source still has the old copy, which must never be resumed; " +
			"if the guest runs well on the target, destroy the old copy",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "both hosts have the guest paused at its switch-over; destroy the target's copy, then resume the source's",
	},
	{
		source: []Side{SideHeld}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the source has the guest paused at its switch-over, and the target does not run it; unless it has run " +
			"there in the meantime, resume it on the source",
	},
	{
		source: []Side{SideGone, SideMigrated}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown, patience: BriefTimeout, lostOnDeletion: true,
		meaning: "the guest has left the source and does not run on the target; it may have stopped there, " +
			"or somebody has moved it to another host",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest does not run on the source, and on the target it is still waiting for its switch-over",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SidePostcopy},
		verdict: VerdictUnknown, patience: BriefTimeout,
		meaning: "post-copy ended before the target had all of the guest's memory, and the source has lost it; " +
			"destroy what is left, and start the guest again",
	},
	{
		source: []Side{SideGone, SideMigrated, SideStopped}, target: []Side{SideLeaving},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest has arrived on the target and is already being moved to another host",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SidePostcopy, SideIncoming},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "each host has a part of the guest's memory; resume the migration or, if that is impossible, " +
			"destroy both, and start the guest again",
	},
	{
		source: []Side{SideStale}, target: []Side{
			SideLive, SideStarted, SideGone, SideStopped, SideMigrated, SideLeaving, SideIncoming, SidePostcopy,
		},
		verdict: VerdictUnknown, patience: ConfirmTimeout, destroySource: true,
		meaning: "all of the guest has arrived on the target, but the source does not know; what is left there is stale, must " +
			"never be resumed, and still has to be removed",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SideLive, SideStarted, SideLeaving},
		verdict: VerdictUnknown, patience: ConfirmTimeout,
		meaning: "the guest runs on the target; what is left on the source is stale and must never be resumed; destroy it",
	},
	{
		source: []Side{SidePostcopy}, target: []Side{SideGone, SideStopped, SideMigrated},
		verdict: VerdictUnknown,
		meaning: "the guest ran on the target in post-copy and has stopped there, so it is lost; what is left on the source is " +
			"stale and must never be resumed; destroy it, and start the guest again",
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
		meaning: "the target shows the guest as a source does; another migration may be under way",
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
