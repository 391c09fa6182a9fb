package controllers

import (
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestWorkersCondition(t *testing.T) {
	const needed = 15
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name    string
		workers int32
		status  metav1.ConditionStatus
		reason  string
		message string
	}{
		{"as many as are needed", 15, metav1.ConditionTrue, v1alpha1.ReasonEnoughWorkers, "libvirt has 15 workers; 15 are needed"},
		{"one too few", 14, metav1.ConditionFalse, v1alpha1.ReasonTooFewWorkers, "Set max_workers = 15 on the host in libvirtd.conf"},
		{"libvirt does not tell", 0, metav1.ConditionUnknown, v1alpha1.ReasonWorkersUnknown, "max_workers is at least 15 in libvirtd.conf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hv := &v1alpha1.Hypervisor{Status: v1alpha1.HypervisorStatus{MaxWorkers: tt.workers}}
			c := workersCondition(hv, needed, now)
			if c.Type != v1alpha1.ConditionWorkersSufficient || c.Status != tt.status || c.Reason != tt.reason ||
				!strings.Contains(c.Message, tt.message) || !c.LastTransitionTime.Time.Equal(now) {
				t.Errorf("the condition is %+v", c)
			}
			if !isNew(hv, c) {
				t.Error("it is not new to a Hypervisor without conditions")
			}
			hv.Status.Conditions = []metav1.Condition{c}
			if isNew(hv, workersCondition(hv, needed, now.Add(time.Hour))) {
				t.Error("the same condition is new again")
			}
		})
	}
}

// TestALeaseThatNeverRunsOut: how long an agent may be silent is not for the agent to say.
func TestALeaseThatNeverRunsOut(t *testing.T) {
	now := time.Now()
	lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: new(metav1.NewMicroTime(now)), LeaseDurationSeconds: new(int32(1 << 30))}}
	r := &HypervisorReconciler{renewals: map[string]renewal{}}
	hv := &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}
	if lost := r.expiry(hv, lease, now); !lost.Equal(now.Add(longestLease)) {
		t.Errorf("an agent that has gone is lost after %s", lost.Sub(now))
	}
}
