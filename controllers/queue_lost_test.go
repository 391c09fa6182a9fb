package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestASourceThatIsLostHoldsNoSlotForever: once the target shows that the copy is over, nothing
// is copied any more, though the source may never say so. Before, it may be that its agent
// alone is away.
func TestASourceThatIsLostHoldsNoSlotForever(t *testing.T) {
	over := func(target *v1alpha1.TargetStatus, state, reason string) {
		target.Domain = &v1alpha1.DomainObservation{State: state, Reason: reason}
	}
	for name, c := range map[string]struct {
		ready  bool
		target func(target *v1alpha1.TargetStatus)
		want   bool
	}{
		"the half is gone": {target: func(target *v1alpha1.TargetStatus) {
			over(target, v1alpha1.StateAbsent, "")
			target.IncomingEndedTime = new(metav1.NowMicro())
		}, want: true},
		"the guest has arrived": {target: func(target *v1alpha1.TargetStatus) {
			over(target, "Running", "Migrated")
			target.ArrivedTime = new(metav1.NowMicro())
		}, want: true},
		"the half is there":           {target: func(target *v1alpha1.TargetStatus) { over(target, "Paused", "Migration") }},
		"the guest runs in post-copy": {target: func(target *v1alpha1.TargetStatus) { over(target, "Running", "Postcopy") }},
		"the source can say so itself": {ready: true, target: func(target *v1alpha1.TargetStatus) {
			over(target, v1alpha1.StateAbsent, "")
			target.IncomingEndedTime = new(metav1.NowMicro())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			q, s := newTurns()
			q.limits.Cluster, q.limits.Preparing = 1, 0
			first := copying(newMigration("first", webUUID, "node-b", "3"), webUUID, "node-a")
			first.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", StartRequestedTime: new(metav1.NowMicro())}
			first.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", IncomingTime: new(metav1.NowMicro())}
			s.objects["first"] = first
			second := newMigration("second", dbUUID, "node-b", "5")
			q.PutNode(nodeWith("node-c", guestOf(dbUUID, "db")))
			away := nodeWith("node-a", guestOf(webUUID, "web"))
			away.Ready = c.ready
			q.PutNode(away)
			q.Put(first)
			q.Put(second)
			if st := decide(t, q, second); st.Attempt != nil {
				t.Fatal("it is let copy beside the first")
			}
			news := first.DeepCopy()
			news.ResourceVersion = "7"
			c.target(news.Status.Target)
			s.objects["first"] = news
			q.Put(news)
			q.paused = time.Time{}
			if st := decide(t, q, second); (st.Attempt != nil) != c.want {
				t.Errorf("it is %s", reasonOf(st))
			}
		})
	}
}
