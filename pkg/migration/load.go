package migration

import (
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Load says how many migrations hold slots, and how many wait.
type Load struct {
	// Copying hold a slot for copying. Preparing were let go ahead without one: some of
	// them are prepared already, and wait. Dry runs are neither.
	Copying, Preparing int
	// Waiting counts those that wait, by what for: a slot, or another migration of their
	// guest.
	Waiting map[Wait]int
	// Oldest is when the oldest of those that wait was created; zero where none does.
	Oldest time.Time
}

// Wait is what a migration waits for: a kind of slot, or WaitOtherMigration.
type Wait string

// WaitOtherMigration is waiting for another migration of the same guest.
const WaitOtherMigration Wait = "OtherMigration"

// Waits are all that migrations wait for.
func Waits() []Wait {
	return []Wait{Wait(v1alpha1.SlotSource), Wait(v1alpha1.SlotTarget), Wait(v1alpha1.SlotCluster), WaitOtherMigration}
}

// Measure says what is held and waited for once the claims have had their turns, which
// are in the order of the claims.
func Measure(claims []*Claim, turns []Turn) Load {
	load := Load{Waiting: map[Wait]int{}}
	for i, c := range claims {
		turn := &turns[i]
		switch stage := stageAfter(c, turn); {
		case stage == StageCopying:
			load.Copying++
		case stage == StagePreparing && !DryRun(c.Object):
			load.Preparing++
		}
		if wait := waitsFor(turn); wait != "" {
			load.Waiting[wait]++
			if created := c.Object.CreationTimestamp.Time; load.Oldest.IsZero() || created.Before(load.Oldest) {
				load.Oldest = created
			}
		}
	}
	return load
}

// stageAfter is the stage that a turn brings a claim to.
func stageAfter(c *Claim, turn *Turn) Stage {
	switch {
	case turn.Grant:
		return StageCopying
	case turn.Admit && c.Stage == StageWaiting && turn.Resolution.AlreadyOnTarget:
		return StageEnding
	case turn.Admit && c.Stage == StageWaiting:
		return StagePreparing
	default:
		return c.Stage
	}
}

func waitsFor(turn *Turn) Wait {
	switch {
	case turn.Grant:
		return ""
	case turn.Before != nil:
		return WaitOtherMigration
	default:
		return Wait(turn.WaitingFor)
	}
}
