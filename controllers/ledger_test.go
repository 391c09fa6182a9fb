package controllers

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestALedgerThatSomebodyEdited admits nothing, and the error says what to do.
func TestALedgerThatSomebodyEdited(t *testing.T) {
	q, s := newTurns()
	s.promises = "[{"
	q.Put(newMigration("first", webUUID, "node-b", "3"))
	err := q.Settle(t.Context())
	if err == nil || !strings.Contains(err.Error(), "somebody has edited the ConfigMap virtferry-system/virtferry-slots") ||
		!strings.Contains(err.Error(), "scale the manager to no replicas") {
		t.Errorf("the error is %v", err)
	}
	if n := promised(q); n != 0 {
		t.Errorf("%d were let go ahead", n)
	}
	s.promises = ""
	if err := q.Settle(t.Context()); err != nil || promised(q) != 1 {
		t.Errorf("after the repair, %d were let go ahead: %v", promised(q), err)
	}
}

// TestALedgerThatCannotBeRead keeps nobody from cancelling what is only prepared.
func TestALedgerThatCannotBeRead(t *testing.T) {
	q, s := newTurns()
	s.promises = "somebody's note"
	lm := copying(newMigration("m", "web", "node-b", "5"), webUUID, "node-a")
	lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", Guest: &v1alpha1.GuestFacts{Name: "web"}}
	lm.DeletionTimestamp = new(metav1.Now())
	q.Put(lm)
	summary, err := q.Decide(t.Context(), lm, func() string { return "attempt" })
	if err != nil || summary.Status.Phase != v1alpha1.PhaseCancelled {
		t.Errorf("an object that is being deleted is never let go: %v", err)
	}
}
