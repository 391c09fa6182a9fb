package migration

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestSettled: what is settled is not looked at again, so nothing may be left to write.
func TestSettled(t *testing.T) {
	t.Parallel()
	const cancel = v1alpha1.AnnotationCancel
	downtime := new(int64(42))
	request := func(kind v1alpha1.RequestType, token string, state v1alpha1.RequestState) func(*v1alpha1.LiveMigration) {
		return func(lm *v1alpha1.LiveMigration) {
			lm.Annotations = map[string]string{cancel: "1"}
			lm.Status.Requests = []v1alpha1.RequestStatus{{Type: kind, Token: token, State: state}}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.LiveMigration)
		want   bool
	}{
		{"it has ended", func(*v1alpha1.LiveMigration) {}, true},
		{"it has not", func(lm *v1alpha1.LiveMigration) { lm.Status.Conditions = nil }, false},
		{"nobody knows how", func(lm *v1alpha1.LiveMigration) { lm.Status.Conditions[0].Status = metav1.ConditionUnknown }, false},
		{"its spec has changed", func(lm *v1alpha1.LiveMigration) { lm.Generation = 2 }, false},
		{"a condition is of an older spec", func(lm *v1alpha1.LiveMigration) { lm.Status.Conditions[0].ObservedGeneration = 0 }, false},
		{"the guest is held", func(lm *v1alpha1.LiveMigration) { lm.Finalizers = []string{v1alpha1.FinalizerGuestSafe} }, false},
		{"somebody else holds it", func(lm *v1alpha1.LiveMigration) { lm.Finalizers = []string{"example.com/other"} }, true},
		{"a request is new", func(lm *v1alpha1.LiveMigration) { lm.Annotations = map[string]string{cancel: "1"} }, false},
		{"a request waits", request(v1alpha1.RequestCancel, "1", v1alpha1.RequestQueued), false},
		{"a request was refused", request(v1alpha1.RequestCancel, "1", v1alpha1.RequestRefused), true},
		{"a request was carried out", request(v1alpha1.RequestCancel, "1", v1alpha1.RequestDone), true},
		{"another of its kind was", request(v1alpha1.RequestCancel, "2", v1alpha1.RequestDone), false},
		{"one of another kind was", request(v1alpha1.RequestForceComplete, "1", v1alpha1.RequestDone), false},
		{"the source knows the downtime", func(lm *v1alpha1.LiveMigration) {
			lm.Status.Progress = &v1alpha1.ProgressStatus{DowntimeMilliseconds: downtime}
		}, false},
		{"the target knows it", func(lm *v1alpha1.LiveMigration) { lm.Status.Target.DowntimeMilliseconds = downtime }, false},
		{"it is recorded", func(lm *v1alpha1.LiveMigration) {
			lm.Status.Target.DowntimeMilliseconds, lm.Status.DowntimeMilliseconds = downtime, downtime
		}, true},
		{"nobody knows it", func(lm *v1alpha1.LiveMigration) { lm.Status.Progress = &v1alpha1.ProgressStatus{} }, true},
		{"nobody has prepared a target", func(lm *v1alpha1.LiveMigration) { lm.Status.Target = nil }, true},
	} {
		lm := makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", true).
			finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded).obj()
		lm.Status.ObservedGeneration, lm.Status.Conditions[0].ObservedGeneration = 1, 1
		c.change(lm)
		if got := Settled(lm); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
