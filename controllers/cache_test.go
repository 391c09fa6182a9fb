package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestTrimKeepsWhatADowntimeIsJudgedBy: of a migration that has ended, the downtime may
// come to be known afterwards.
func TestTrimKeepsWhatADowntimeIsJudgedBy(t *testing.T) {
	t.Parallel()
	lm := &v1alpha1.LiveMigration{
		Spec: v1alpha1.LiveMigrationSpec{Options: &v1alpha1.MigrationOptions{
			MaxDowntimeMilliseconds: new(int64(1500)), AllowPause: new(true),
		}},
		Status: v1alpha1.LiveMigrationStatus{
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}},
			Source:     &v1alpha1.SourceStatus{AttemptID: "1", GuestPaused: true, GuestPersistent: true},
			Progress:   &v1alpha1.ProgressStatus{Percent: 100, Switchover: v1alpha1.SwitchoverPaused},
			Target:     &v1alpha1.TargetStatus{AttemptID: "1", ReadyTime: new(metav1.NowMicro()), DowntimeMilliseconds: new(int64(20))},
		},
	}
	if _, err := trim(lm); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&v1alpha1.MigrationOptions{MaxDowntimeMilliseconds: new(int64(1500))}, lm.Spec.Options); diff != "" {
		t.Errorf("the options differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&v1alpha1.SourceStatus{AttemptID: "1", GuestPaused: true}, lm.Status.Source); diff != "" {
		t.Errorf("the source differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&v1alpha1.ProgressStatus{Switchover: v1alpha1.SwitchoverPaused}, lm.Status.Progress); diff != "" {
		t.Errorf("the progress differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&v1alpha1.TargetStatus{AttemptID: "1", DowntimeMilliseconds: new(int64(20))}, lm.Status.Target); diff != "" {
		t.Errorf("the target differs (-want +got):\n%s", diff)
	}
}
