package migration

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestACancelledMigrationTellsWhatWasTaken: a guest that was asked for its interfaces was
// touched.
func TestACancelledMigrationTellsWhatWasTaken(t *testing.T) {
	t.Parallel()
	const mac = "52:54:00:00:00:0a"
	for name, c := range map[string]struct {
		state  v1alpha1.HostInterfaceState
		says   string
		silent bool // Whether the source's agent has given up.
	}{
		"nothing was taken": {"", "before it started; the guest was not touched", false},
		"it is given back":  {v1alpha1.HostInterfaceAttached, "the guest has been given back the interfaces that were taken from it", false},
		"it is not yet":     {v1alpha1.HostInterfaceDetached, "interfaces were taken from the guest; what was done for it on the nodes is being undone", false},
		"it could not be":   {v1alpha1.HostInterfaceDetached, "interfaces were taken from the guest; the guest does not have these interfaces", true},
	} {
		b := makeMigration("m").admitted().checked().ready().deleted()
		if c.state != "" {
			b.lm.Status.Source.HostInterfaces = []v1alpha1.HostInterface{{MACAddress: mac, State: c.state}}
		}
		if c.silent {
			b.lm.Status.Attempt.AbandonedTime = new(metav1.NewMicroTime(epoch.Add(-ConfirmTimeout)))
		}
		said := meta.FindStatusCondition(b.turned(Turn{}, epoch).Status.Conditions, v1alpha1.ConditionSucceeded).Message
		if !strings.Contains(said, c.says) || (c.state != "") == strings.Contains(said, "not touched") {
			t.Errorf("%s: it says %q", name, said)
		}
	}
}
