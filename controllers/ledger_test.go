package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestALedgerThatSomebodyEdited admits nothing, and the error says what to do.
func TestALedgerThatSomebodyEdited(t *testing.T) {
	q, s := newTurns()
	s.promises = "[{"
	q.Put(newMigration("first", webUUID, "node-b", "3"))
	err := q.Settle(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the ConfigMap virtferry-system/virtferry-slots: somebody has edited it") ||
		!strings.Contains(err.Error(), "scale the manager to no replicas") {
		t.Errorf("the error is %v", err)
	}
	if n := promised(q); n != 0 {
		t.Errorf("%d were let go ahead", n)
	}
	const halted = "Waiting for a slot: Virtferry cannot admit any migration at the moment; ask an administrator to repair what the manager's log says"
	if told := whatIsTold(t, q, "first"); told != halted {
		t.Errorf("its user is told %q", told)
	}
	s.promises = ""
	if err := q.Settle(t.Context()); err != nil || promised(q) != 1 {
		t.Errorf("after the repair, %d were let go ahead: %v", promised(q), err)
	}
}

// TestALedgerThatMayNotBeRead is told as well: a role has to be repaired.
func TestALedgerThatMayNotBeRead(t *testing.T) {
	q, s := newTurns()
	s.ledgerRefusal = apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, LedgerName, errors.New("no"))
	q.Put(newMigration("first", webUUID, "node-b", "3"))
	if told := whatIsTold(t, q, "first"); !strings.Contains(told, "cannot admit any migration") {
		t.Errorf("its user is told %q", told)
	}
	s.ledgerRefusal = apierrors.NewServiceUnavailable("later")
	if _, err := q.Decide(t.Context(), q.entries["first"].lm, nil); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("an API server that is away for a moment is an error to try again after, not %v", err)
	}
	s.ledgerRefusal = nil
	woken := 0
	q.wake = func(types.NamespacedName) { woken++ }
	if err := q.Settle(t.Context()); err != nil || woken != 1 {
		t.Errorf("after the repair, it is looked at %d times: %v", woken, err)
	}
}

// TestWhoWasToldThatNothingIsAdmitted is told his turn again after the repair, though it is
// the one that he had before.
func TestWhoWasToldThatNothingIsAdmitted(t *testing.T) {
	q, s := newTurns()
	q.Put(newMigration("first", webUUID, "node-b", "3"))
	q.Put(newMigration("second", webUUID, "node-c", "4"))
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := whatIsTold(t, q, "second")
	s.promises, q.ledger.version, q.dirty, q.paused = "[{", "", true, time.Time{}
	if halted := whatIsTold(t, q, "second"); halted == before || !strings.Contains(halted, "cannot admit any migration") {
		t.Fatalf("while nothing can be admitted, it is told %q", halted)
	}
	s.promises = ""
	woken := false
	q.wake = func(key types.NamespacedName) { woken = woken || key.Name == "second" }
	if err := q.Settle(t.Context()); err != nil || !woken {
		t.Errorf("after the repair, it is not looked at: %v", err)
	}
}

// whatIsTold is what the user of a migration that waits is told of it.
func whatIsTold(t *testing.T, q *queue, uid types.UID) string {
	t.Helper()
	summary, err := q.Decide(t.Context(), q.entries[uid].lm, func() string { return "attempt" })
	if err != nil {
		t.Fatal(err)
	}
	if c := meta.FindStatusCondition(summary.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Message
	}
	return ""
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

// TestALedgerIsMade where there is none, be it by this manager or by another.
func TestALedgerIsMade(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		made bool
	}{
		{"by this one", nil, true},
		{"by another", apierrors.NewAlreadyExists(schema.GroupResource{Resource: "configmaps"}, LedgerName), true},
		{"by nobody", apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, LedgerName, errors.New("no")), false},
	} {
		q, s := newTurns()
		s.ledgerMissing, s.promises = true, "[]"
		s.onCreate = func() error {
			s.ledgerMissing = !c.made
			return c.err
		}
		promises, err := q.ledger.read(t.Context())
		if (err == nil) != c.made || len(promises) != 0 || (q.ledger.version == "1") != c.made {
			t.Errorf("%s: version %q, %v", c.name, q.ledger.version, err)
		}
	}
}

// TestWhoseLedgerItIs: who has written it last goes on from there, unless that has failed.
func TestWhoseLedgerItIs(t *testing.T) {
	q, s := newTurns()
	if _, err := q.ledger.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := q.ledger.write(t.Context(), nil); err != nil || q.ledger.version != "1" {
		t.Errorf("after it was written, version %q is known: %v", q.ledger.version, err)
	}
	for _, c := range []struct{ err, want error }{
		{apierrors.NewConflict(schema.GroupResource{}, LedgerName, errors.New("changed")), errLedgerChanged},
		{apierrors.NewNotFound(schema.GroupResource{}, LedgerName), errLedgerChanged},
		{errRefused, errRefused},
	} {
		q.ledger.version = "1"
		q.ledger.client = failing{s, c.err}
		if err := q.ledger.write(t.Context(), nil); !errors.Is(err, c.want) || q.ledger.version != "" {
			t.Errorf("after %v, version %q is known: %v", c.err, q.ledger.version, err)
		}
	}
}

// failing is a store that applies nothing.
type failing struct {
	*store
	err error
}

func (s failing) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	return s.err
}
