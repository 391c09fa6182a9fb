package controllers

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// preparing makes a migration one that was let go ahead, and waits for its slot for copying.
func preparing(lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	copying(lm, webUUID, "node-a").Status.Attempt.CopyGrantedTime = nil
	return lm
}

// succeeded makes a migration one that has brought its guest to its target.
func succeeded(lm *v1alpha1.LiveMigration, at time.Time) *v1alpha1.LiveMigration {
	copying(lm, webUUID, "node-a")
	lm.Status.Phase, lm.Status.CompletionTime = v1alpha1.PhaseSucceeded, new(metav1.NewTime(at))
	lm.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}}
	return lm
}

// TestWhatMayChangeATurn: each of these by itself has turns looked for, and nothing else does.
func TestWhatMayChangeATurn(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.LiveMigration)
		want   bool
	}{
		{"nothing", func(*v1alpha1.LiveMigration) {}, false},
		{"its phase", func(lm *v1alpha1.LiveMigration) { lm.Status.Phase = v1alpha1.PhasePreparing }, false},
		{"a slot for copying", func(lm *v1alpha1.LiveMigration) { lm.Status.Attempt.CopyGrantedTime = new(metav1.NowMicro()) }, true},
		{"the target is prepared", func(lm *v1alpha1.LiveMigration) { lm.Status.Target.ReadyTime = new(metav1.NowMicro()) }, true},
		{"it is to be cancelled", func(lm *v1alpha1.LiveMigration) { lm.DeletionTimestamp = new(metav1.Now()) }, true},
		{"its source", func(lm *v1alpha1.LiveMigration) { lm.Status.SourceNode = "node-c" }, true},
		{"its target", func(lm *v1alpha1.LiveMigration) { lm.Status.TargetNode = "node-c" }, true},
		{"its spec", func(lm *v1alpha1.LiveMigration) { lm.Generation++ }, true},
		{"its attempt", func(lm *v1alpha1.LiveMigration) { lm.Status.Attempt.ID = "2" }, true},
		{"its guest", func(lm *v1alpha1.LiveMigration) { lm.Status.DomainUUID = dbUUID }, true},
		{"its finalizer", func(lm *v1alpha1.LiveMigration) { lm.Finalizers = nil }, true},
	} {
		q, _ := newTurns()
		before := preparing(newMigration("m", "web", "node-b", "5"))
		before.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1"}
		if !q.Put(before) {
			t.Fatalf("%s: a new migration has no turns looked for", c.name)
		}
		q.dirty = false
		after := before.DeepCopy()
		after.ResourceVersion = "6"
		c.change(after)
		if got := q.Put(after); got != c.want {
			t.Errorf("%s: turns are looked for: %t", c.name, got)
		}
	}
}

// TestWhereAGuestArrivedLast is what the last migration says that has succeeded, for as long as
// its object is there.
func TestWhereAGuestArrivedLast(t *testing.T) {
	now := time.Now()
	at := func(name, target string, after time.Duration) *v1alpha1.LiveMigration {
		return succeeded(newMigration(name, "web", target, "5"), now.Add(after))
	}
	failed := at("failed", "node-c", time.Minute)
	failed.Status.Phase, failed.Status.Conditions[0].Status = v1alpha1.PhaseFailed, metav1.ConditionFalse
	q, _ := newTurns()
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"one has failed before", func() { q.Put(failed) }, ""},
		{"one has succeeded", func() { q.Put(at("first", "node-b", 0)) }, "node-b"},
		{"one has failed since", func() { q.Put(failed) }, "node-b"},
		{"one that succeeded before is heard of late", func() { q.Put(at("late", "node-c", -time.Second)) }, "node-b"},
		{"another has succeeded at the same time", func() { q.Put(at("second", "node-a", 0)) }, "node-a"},
		{"one that says nothing is gone", func() { q.Remove(at("first", "node-b", 0)) }, "node-a"},
		{"the one that says it is gone", func() { q.Remove(at("second", "node-a", 0)) }, ""},
	} {
		step.do()
		if got := q.arrivals[webUUID].Node; got != step.want {
			t.Errorf("%s: the guest has arrived on %q, want %q", step.name, got, step.want)
		}
	}
}

// TestWhoIsWokenByANode: those that it concerns, be it as the source or as the target.
func TestWhoIsWokenByANode(t *testing.T) {
	q, _ := newTurns()
	q.Put(newMigration("to-b", "web", "node-b", "3"))
	q.Put(newMigration("to-c", "other", "node-c", "4"))
	named := newMigration("from-a", "another", "node-c", "5")
	named.Spec.SourceNode = "node-a"
	q.Put(named)
	q.Put(copying(newMigration("runs", "fourth", "node-b", "6"), dbUUID, "node-a"))
	var woken []string
	q.wake = func(key types.NamespacedName) { woken = append(woken, key.Name) }
	ready := func(name string, ready bool, guests ...v1alpha1.HypervisorDomain) func() {
		return func() {
			n := nodeWith(name, guests...)
			n.Ready = ready
			q.PutNode(n)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"nothing new", ready("node-b", true), nil},
		{"a target is lost", ready("node-b", false), []string{"runs", "to-b"}},
		{"another is", ready("node-c", false), []string{"from-a", "to-c"}},
		{"a source is", ready("node-a", false, guestOf(webUUID, "web")), []string{"from-a", "runs"}},
		{"a guest is gone", ready("node-a", false), []string{"to-b"}},
		{"a node that concerns nobody", ready("node-x", true), nil},
		{"it is removed", func() { q.RemoveNode("node-x") }, nil},
		{"a guest that concerns nobody", ready("node-a", false, guestOf("33333333-3333-4333-8333-333333333333", "nobody")), nil},
	} {
		woken, q.dirty = nil, false
		step.do()
		slices.Sort(woken)
		if woken = slices.Compact(woken); !slices.Equal(woken, step.want) || q.dirty != (len(step.want) > 0) {
			t.Errorf("%s: woken are %q, want %q; turns are looked for: %t", step.name, woken, step.want, q.dirty)
		}
	}
	for _, e := range q.entries {
		q.Remove(e.lm)
	}
	if len(q.concerning) != 0 || len(q.entries) != 0 {
		t.Errorf("of what is gone, there is left %v", q.concerning)
	}
}

// TestWhoWaitsForTheCluster is woken when another node is ready: the first in the line.
func TestWhoWaitsForTheCluster(t *testing.T) {
	q, _ := newTurns()
	for name, turn := range map[string]migration.Turn{
		"first": {WaitingFor: v1alpha1.SlotCluster, Position: 1}, "second": {WaitingFor: v1alpha1.SlotCluster, Position: 2},
		"elsewhere": {WaitingFor: v1alpha1.SlotSource, Position: 1},
	} {
		lm := newMigration(name, name, "node-b", "3")
		q.Put(lm)
		q.entries[lm.UID].turn = turn
	}
	var woken []string
	q.wake = func(key types.NamespacedName) { woken = append(woken, key.Name) }
	q.PutNode(nodeWith("node-x"))
	if !slices.Equal(woken, []string{"first"}) {
		t.Errorf("woken are %q", woken)
	}
}

// TestWhoNeedsATurn: one that was started goes on, and one that is to be cancelled before ends,
// though the ledger cannot be read.
func TestWhoNeedsATurn(t *testing.T) {
	started := copying(newMigration("m", "web", "node-b", "5"), webUUID, "node-a")
	started.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", StartRequestedTime: new(metav1.NowMicro())}
	cancelled := newMigration("m", "web", "node-b", "5")
	cancelled.DeletionTimestamp = new(metav1.Now())
	for _, c := range []struct {
		name string
		lm   *v1alpha1.LiveMigration
		want bool
	}{
		{"one that waits", newMigration("m", "web", "node-b", "5"), true},
		{"one that is prepared", preparing(newMigration("m", "web", "node-b", "5")), true},
		{"one that was started", started, false},
		{"one that is to be cancelled", cancelled, false},
		{"one that has ended", succeeded(newMigration("m", "web", "node-b", "5"), time.Now()), false},
	} {
		q, s := newTurns()
		s.ledgerRefusal = apierrors.NewServiceUnavailable("later")
		q.Put(c.lm)
		if _, err := q.Decide(t.Context(), c.lm, func() string { return "attempt" }); apierrors.IsServiceUnavailable(err) != c.want || !c.want && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestWhenTurnsAreLookedFor: when something is new, and now and then.
func TestWhenTurnsAreLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTurns()
		lm := copying(newMigration("m", "web", "node-b", "5"), webUUID, "node-a")
		s.objects["m"] = lm
		q.Put(lm)
		look := func(name string, want int) {
			t.Helper()
			before := q.passes
			decide(t, q, lm)
			if err := q.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := q.passes - before; got != want {
				t.Errorf("%s: turns are looked for %d times, want %d", name, got, want)
			}
		}
		look("at first", 1)
		look("nothing is new", 0)
		time.Sleep(passInterval - time.Nanosecond)
		look("not for a while", 0)
		time.Sleep(time.Nanosecond)
		look("for a while", 1)
		look("just now", 0)
		q.Put(newMigration("another", "db", "node-c", "6"))
		look("another has come", 1)
	})
}

// TestOurOwnNews: a watch may be late for a while with what this process has written. One that is
// late for longer is not believed.
func TestOurOwnNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for late, want := range map[time.Duration]bool{ownNews: false, ownNews + 1: true} {
			q, _ := newTurns()
			old, written := newMigration("m", "web", "node-b", "5"), newMigration("m", "web", "node-b", "9")
			q.Put(old)
			q.Wrote(written)
			time.Sleep(late)
			q.Put(old)
			if got := q.entries["m"].doubted; got != want || q.entries["m"].lm.ResourceVersion != "9" {
				t.Errorf("after %s: doubted %t; known is version %s", late, got, q.entries["m"].lm.ResourceVersion)
			}
			q.Released(written)
			time.Sleep(late)
			if got := q.IsReleased(old); got == want {
				t.Errorf("after %s, the view with its finalizer is old: %t", late, got)
			}
			if q.IsReleased(written) || q.IsReleased(newMigration("m", "web", "node-b", "10")) {
				t.Errorf("after %s, a view that is not older is taken for old", late)
			}
		}
	})
}
