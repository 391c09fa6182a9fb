package migration

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestTheSourceChecksTheRest of what keeps a guest from moving that it refuses, as soon as the
// target has said its part.
func TestTheSourceChecksTheRest(t *testing.T) {
	t.Parallel()
	now, problem := new(metav1.NewMicroTime(epoch)), &v1alpha1.Problem{Reason: "Test"}
	guest := &v1alpha1.GuestFacts{Name: "web"}
	for name, c := range map[string]struct {
		source v1alpha1.SourceStatus
		target *v1alpha1.TargetStatus
		want   SourceAction
	}{
		"the target has not looked":          {v1alpha1.SourceStatus{Guest: guest}, nil, SourceWait},
		"the target has nothing against it":  {v1alpha1.SourceStatus{Guest: guest}, &v1alpha1.TargetStatus{CheckedTime: now}, SourcePlan},
		"the target refuses it, too":         {v1alpha1.SourceStatus{Guest: guest}, &v1alpha1.TargetStatus{Problem: problem, Endpoint: &v1alpha1.TargetEndpoint{}}, SourcePlan},
		"the target does not tell of itself": {v1alpha1.SourceStatus{Guest: guest}, &v1alpha1.TargetStatus{Problem: problem}, SourceWait},
		"everything is known":                {v1alpha1.SourceStatus{Guest: guest, CheckedTime: now}, &v1alpha1.TargetStatus{CheckedTime: now}, SourceWait},
		"nothing is told of the guest":       {v1alpha1.SourceStatus{}, &v1alpha1.TargetStatus{CheckedTime: now}, SourceWait},
	} {
		lm := makeMigration("m").admitted().checked().lm
		c.source.AttemptID, c.source.Problem = AttemptID(lm), problem
		if lm.Status.Source, lm.Status.Target = &c.source, c.target; c.target != nil {
			c.target.AttemptID = AttemptID(lm)
		}
		if got := DecideSource(SourceFacts{Object: lm, Section: lm.Status.Source}, epoch); got != c.want {
			t.Errorf("%s: the source goes on with %s, want %s", name, got, c.want)
		}
	}
}
