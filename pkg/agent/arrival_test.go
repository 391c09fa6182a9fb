package agent

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestWhenAGuestIsWhole: only what libvirt says after the switch to post-copy counts,
// since a guest may have come, and gone, by another migration before.
func TestWhenAGuestIsWhole(t *testing.T) {
	arrived := v1alpha1.DomainObservation{State: "Running", Reason: "Migrated"}
	for _, tt := range []struct {
		name     string
		switched bool
		domain   v1alpha1.DomainObservation
		want     bool
	}{
		{"arrived", true, arrived, true},
		{"seen before the switch", false, arrived, false},
		{"still being brought", true, v1alpha1.DomainObservation{State: "Running", Reason: "Migrated", Job: "MigrationIn"}, false},
		{"in post-copy", true, v1alpha1.DomainObservation{State: "Running", Reason: "Postcopy"}, false},
		{"resumed by somebody", true, v1alpha1.DomainObservation{State: "Running", Reason: "Unpaused"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source := &v1alpha1.SourceStatus{AttemptID: "one", Steering: &v1alpha1.SteeringStatus{}}
			if tt.switched {
				source.Steering.PostCopyTime = new(metav1.NowMicro())
			}
			s := &targetSession{node: &Node{Clock: clock.RealClock{}}, lm: &v1alpha1.LiveMigration{Status: v1alpha1.LiveMigrationStatus{
				Attempt: &v1alpha1.AttemptStatus{ID: "one"}, Source: source,
			}}}
			section := &v1alpha1.TargetStatus{AttemptID: "one", Domain: &tt.domain}
			s.notePostCopy(section)
			if got := migration.Whole(section); got != tt.want {
				t.Errorf("whole is %t, want %t", got, tt.want)
			}
		})
	}
}
