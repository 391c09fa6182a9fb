package migration

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestMayWait(t *testing.T) {
	now := metav1.NewMicroTime(time.Unix(1_800_000_000, 0))
	for name, tc := range map[string]struct {
		change func(before, after *v1alpha1.LiveMigrationStatus)
		want   bool
	}{
		"the phase and what the conditions say": {func(_, after *v1alpha1.LiveMigrationStatus) {
			after.Phase = v1alpha1.PhaseMigrating
			after.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonMigrating}}
		}, true},
		"a notice": {func(_, after *v1alpha1.LiveMigrationStatus) {
			after.Notices = []v1alpha1.Notice{{Reason: v1alpha1.NoticePostCopyStarted}}
		}, true},
		"the switch-over": {func(_, after *v1alpha1.LiveMigrationStatus) {
			after.Notices = []v1alpha1.Notice{{Reason: v1alpha1.NoticeSwitchedOver}}
		}, false},
		"a switch-over that was told": {func(before, after *v1alpha1.LiveMigrationStatus) {
			before.Notices = []v1alpha1.Notice{{Reason: v1alpha1.NoticeSwitchedOver}}
			after.Notices = []v1alpha1.Notice{{Reason: v1alpha1.NoticeSwitchedOver}, {Reason: v1alpha1.NoticePostCopyStarted}}
		}, true},
		"the place in the line": {func(_, after *v1alpha1.LiveMigrationStatus) { after.Queue.Position = 2 }, true},
		"when the end was seen": {func(_, after *v1alpha1.LiveMigrationStatus) { after.Attempt.EndSeenTime = &now }, true},
		"the first look":        {func(before, _ *v1alpha1.LiveMigrationStatus) { before.Phase = "" }, false},
		"another attempt":       {func(_, after *v1alpha1.LiveMigrationStatus) { after.Attempt.ID = "2" }, false},
		"no attempt any more":   {func(_, after *v1alpha1.LiveMigrationStatus) { after.Attempt = nil }, false},
		"the slot for copying":  {func(_, after *v1alpha1.LiveMigrationStatus) { after.Attempt.CopyGrantedTime = &now }, false},
		"a node that is missing": {func(_, after *v1alpha1.LiveMigrationStatus) {
			after.Attempt.SourceMissingTime = &now
		}, false},
		"a request": {func(_, after *v1alpha1.LiveMigrationStatus) {
			after.Requests = []v1alpha1.RequestStatus{{Type: v1alpha1.RequestCancel}}
		}, false},
		"the generation":         {func(_, after *v1alpha1.LiveMigrationStatus) { after.ObservedGeneration = 2 }, false},
		"the end":                {func(_, after *v1alpha1.LiveMigrationStatus) { after.CompletionTime = &metav1.Time{Time: now.Time} }, false},
		"an unknown outcome":     {func(_, after *v1alpha1.LiveMigrationStatus) { after.Phase = v1alpha1.PhaseUnknown }, false},
		"one unknown no longer":  {func(before, _ *v1alpha1.LiveMigrationStatus) { before.Phase = v1alpha1.PhaseUnknown }, false},
		"when it first was lost": {func(_, after *v1alpha1.LiveMigrationStatus) { after.ResolvingTime = &now }, false},
	} {
		t.Run(name, func(t *testing.T) {
			before := &v1alpha1.LiveMigrationStatus{
				Phase: v1alpha1.PhasePreparing, Queue: &v1alpha1.QueueStatus{Order: 1}, Attempt: &v1alpha1.AttemptStatus{ID: "1"},
			}
			after := before.DeepCopy()
			tc.change(before, after)
			if got := MayWait(before, after); got != tc.want {
				t.Errorf("it may wait: %t, want %t", got, tc.want)
			}
		})
	}
}
