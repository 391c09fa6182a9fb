package migration

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestMeasure(t *testing.T) {
	t.Parallel()
	at := func(seconds int) *v1alpha1.LiveMigration {
		return makeMigration("m").created(time.Duration(seconds) * time.Second).obj()
	}
	dry := at(10)
	dry.Spec.DryRun = new(true)
	claims := []*Claim{
		{Object: at(0), Stage: StageCopying},
		{Object: at(1), Stage: StageEnding},
		{Object: at(2), Stage: StagePreparing},
		{Object: at(3), Stage: StagePreparing},
		{Object: at(4), Stage: StageWaiting},
		{Object: at(5), Stage: StageWaiting},
		{Object: at(6), Stage: StageWaiting},
		{Object: at(7), Stage: StageWaiting},
		{Object: at(8), Stage: StageWaiting},
		{Object: at(9), Stage: StageWaiting},
		{Object: dry, Stage: StagePreparing},
	}
	turns := []Turn{
		{},
		{},
		{Grant: true},
		{WaitingFor: v1alpha1.SlotSource},
		{Admit: true, Grant: true},
		{Admit: true, WaitingFor: v1alpha1.SlotTarget},
		{Admit: true, Resolution: Resolution{AlreadyOnTarget: true}},
		{WaitingFor: v1alpha1.SlotSource},
		{Before: at(0)},
		{Resolution: Resolution{Problem: &v1alpha1.Problem{}}},
		{},
	}
	want := Load{
		Copying: 3, Preparing: 2, Oldest: epoch.Add(3 * time.Second),
		Waiting: map[Wait]int{"Source": 2, "Target": 1, WaitOtherMigration: 1},
	}
	if diff := cmp.Diff(want, Measure(claims, turns)); diff != "" {
		t.Errorf("the load differs (-want +got):\n%s", diff)
	}
}

// TestMeasureAQueue holds the measure against what Schedule decides.
func TestMeasureAQueue(t *testing.T) {
	t.Parallel()
	var claims []*Claim
	for i, guest := range []string{"a", "b", "c", "d", "e", "a"} {
		claims = append(claims, &Claim{
			Object: makeMigration(guest).created(time.Duration(i) * time.Second).obj(), Guest: guest, Source: "node-a", Target: "node-b", Order: int64(i),
		})
	}
	now := epoch.Add(time.Minute)
	turns := Schedule(claims, Limits{Source: 1, Target: 2, Preparing: 2}, 2, now)
	want := Load{Copying: 1, Preparing: 2, Oldest: epoch.Add(time.Second), Waiting: map[Wait]int{"Source": 4, WaitOtherMigration: 1}}
	if diff := cmp.Diff(want, Measure(claims, turns)); diff != "" {
		t.Errorf("the load differs (-want +got):\n%s", diff)
	}
}
