package controllers

import (
	"strings"
	"testing"
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
