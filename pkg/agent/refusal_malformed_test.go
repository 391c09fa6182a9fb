package agent

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestATargetThatIsReadyAndRefuses ends its migration, and not the source's agent, whatever it
// leaves out: what it offers is not relied on.
func TestATargetThatIsReadyAndRefuses(t *testing.T) {
	inWorld(t, func(w *world) {
		w.b.stop()
		lm := w.migrate(guestUUID)
		w.await(lm, "the source", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Source != nil && lm.Status.Source.Guest != nil })
		w.api.update(lm.UID, func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target = &v1alpha1.TargetStatus{
				AttemptID: lm.Status.Attempt.ID, ReadyTime: new(metav1.NewMicroTime(bubbleTime())), Endpoint: new(w.b.node.Receive.Endpoint),
				Problem: &v1alpha1.Problem{Reason: v1alpha1.ReasonTargetCheckFailed, Message: "No."},
			}
		})
		time.Sleep(15 * time.Second)
		w.requireCalls(fake.MethodMigrate, 0)
		end := w.settle(lm)
		w.requireEnd(end, v1alpha1.PhaseFailed, v1alpha1.ReasonTargetCheckFailed, "")
		if end.Status.Source.CheckedTime == nil {
			t.Errorf("the source has not looked on: %+v", end.Status.Source)
		}
	})
}
