package agent

import (
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestAMigrationThatCannotBeEnded has an outcome that is not known, until it can.
func TestAMigrationThatCannotBeEnded(t *testing.T) {
	for _, c := range []struct {
		name  string
		stall func(a *fake.Host) (release func())
		want  v1alpha1.StallReason
	}{
		{"the guest's emulator does not answer", func(a *fake.Host) func() { return a.Wedge(guestUUID) }, v1alpha1.StallNoAnswer},
		{"an abort comes to nothing", func(a *fake.Host) func() { return a.Hang(fake.MethodAbortJob) }, v1alpha1.StallAbortIneffective},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.busy()
				lm := w.migrateWith(guestUUID, keepGoing(false))
				w.awaitPhase(lm, v1alpha1.PhaseMigrating)
				release := c.stall(w.fleet.Host("node-a"))
				w.ask(lm, v1alpha1.AnnotationCancel, "now")
				began := time.Now()
				got := w.settle(lm)
				if got.Status.Phase != v1alpha1.PhaseUnknown || got.Status.Source.Stall == nil || got.Status.Source.Stall.Reason != c.want {
					t.Fatalf("it is %s: %+v", got.Status.Phase, got.Status.Source)
				}
				if took := time.Since(began); took < migration.StallTimeout || took > 2*migration.StallTimeout {
					t.Errorf("this was told after %s", took)
				}
				release()
				got = w.await(lm, "its end", migration.Finished)
				if got.Status.Phase != v1alpha1.PhaseCancelled || got.Status.Source.Stall != nil {
					t.Errorf("in the end it is %s: %+v", got.Status.Phase, got.Status.Source)
				}
				w.requireOnce("node-a")
			})
		})
	}
}
