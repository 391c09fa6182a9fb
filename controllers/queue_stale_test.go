package controllers

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestNothingIsDecidedOnWhatHasChanged, not even while nothing can be admitted.
func TestNothingIsDecidedOnWhatHasChanged(t *testing.T) {
	t.Parallel()
	q, _ := newTurns()
	q.Put(newMigration("m", "web", "node-b", "5"))
	for name, c := range map[string]struct {
		lm    *v1alpha1.LiveMigration
		stale bool
	}{
		"as it is":      {newMigration("m", "web", "node-b", "5"), false},
		"as it was":     {newMigration("m", "web", "node-b", "3"), true},
		"nobody has it": {newMigration("other", "web", "node-b", "5"), true},
	} {
		turn, err := q.haltedTurn(c.lm)
		if errors.Is(err, errStale) != c.stale || turn.Halted == c.stale {
			t.Errorf("%s: %+v, %v", name, turn, err)
		}
	}
}

// TestCoOwners are those who have applied what is the manager's, or the manager itself by other
// means. The agents have their own sections, to which a policy keeps them.
func TestCoOwners(t *testing.T) {
	t.Parallel()
	const managers, agents = `{"f:status":{"f:phase":{}}}`, `{"f:status":{".":{},"f:source":{},"f:progress":{}}}`
	entry := func(manager string, operation metav1.ManagedFieldsOperationType, fields string) metav1.ManagedFieldsEntry {
		e := metav1.ManagedFieldsEntry{Manager: manager, Operation: operation}
		if fields != "" {
			e.FieldsV1 = metav1.NewFieldsV1(fields)
		}
		return e
	}
	const apply, update = metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate
	for name, c := range map[string]struct {
		entry metav1.ManagedFieldsEntry
		owner bool
	}{
		"the manager, by its applies":   {entry(v1alpha1.OwnerManager, apply, managers), false},
		"the manager, by an update":     {entry(v1alpha1.OwnerManager, update, managers), true},
		"the source's agent":            {entry(v1alpha1.OwnerSourceAgent, apply, managers), false},
		"the target's agent":            {entry(v1alpha1.OwnerTargetAgent, apply, managers), false},
		"somebody":                      {entry("kubectl", apply, managers), true},
		"somebody, of agents' sections": {entry("kubectl", apply, agents), false},
		"somebody, of the spec":         {entry("kubectl", apply, `{"f:spec":{}}`), false},
		"somebody, of nobody knows":     {entry("kubectl", apply, "{"), true},
		"somebody, of nothing":          {entry("kubectl", apply, ""), false},
	} {
		others := coOwners([]metav1.ManagedFieldsEntry{c.entry, entry("another", apply, managers)})
		if want := map[bool]int{false: 1, true: 2}[c.owner]; len(others) != want || others[len(others)-1].Manager != "another" {
			t.Errorf("%s: %+v", name, others)
		}
	}
}
