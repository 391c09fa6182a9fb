package node

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
)

// TestConnectedCondition: what is wrong with a connection is said before what is wrong with
// the list.
func TestConnectedCondition(t *testing.T) {
	t.Parallel()
	report := func(connected bool, reason, message string, listed int, count int32) agent.HypervisorReport {
		r := agent.HypervisorReport{Connected: connected, Reason: reason, Message: message}
		r.Status.Domains, r.Status.DomainCount = make([]v1alpha1.HypervisorDomain, listed), count
		return r
	}
	const well = "The agent is connected to libvirt"
	for _, c := range []struct {
		name            string
		report          agent.HypervisorReport
		status          metav1.ConditionStatus
		reason, message string
	}{
		{"all is well", report(true, "", "", 2, 2), metav1.ConditionTrue, v1alpha1.ReasonConnected, well},
		{"something is told", report(true, "", "x", 1, 2), metav1.ConditionTrue, v1alpha1.ReasonConnected, well + "; x"},
		{
			"not all are listed", report(true, "", "", 1, 2), metav1.ConditionTrue, v1alpha1.ReasonConnected,
			well + "; only 1 of its 2 guests are listed, which is as many as fit in",
		},
		{"it is not connected", report(false, "", "no", 1, 2), metav1.ConditionFalse, v1alpha1.ReasonDisconnected, "no"},
		{"for a reason", report(false, "Because", "no", 1, 2), metav1.ConditionFalse, "Because", "no"},
	} {
		at := time.Unix(1000, 0)
		got := connectedCondition(c.report, at)
		if got.Status != c.status || got.Reason != c.reason || got.Message != c.message || !got.LastTransitionTime.Time.Equal(at) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
