package controllers

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTheQueueIsOpenWhileTheLedgerIsWritten: news come in, and what they make void is not
// promised.
func TestTheQueueIsOpenWhileTheLedgerIsWritten(t *testing.T) {
	q, s := newTurns()
	lm := newMigration("m", "web", "node-b", "5")
	q.Put(lm)
	changed := lm.DeepCopy()
	changed.ResourceVersion, changed.Spec.TargetNode, changed.Generation = "9", "node-c", 2
	s.onApply = func() { q.Put(changed) }
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.onApply = nil
	if promised(q) != 0 || !q.dirty {
		t.Errorf("%d promises were made, and there may be new turns: %t", promised(q), q.dirty)
	}
	if st := decide(t, q, changed); st.TargetNode != "node-c" {
		t.Errorf("it goes to %q", st.TargetNode)
	}
}

// TestWhoAsksDuringAPass is told what comes of it.
func TestWhoAsksDuringAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTurns()
		lm := newMigration("m", "web", "node-b", "5")
		lm.Finalizers = nil
		q.Put(lm)
		if _, err := q.Decide(t.Context(), lm, func() string { return "attempt" }); !errors.Is(err, errNotHeld) {
			t.Fatalf("without its finalizer: %v", err)
		}
		held := newMigration("m", "web", "node-b", "7")
		q.Wrote(held)
		q.paused = time.Time{}
		decided := make(chan error)
		s.onApply = func() {
			s.onApply = nil
			go func() {
				_, err := q.Decide(t.Context(), held, func() string { return "attempt" })
				decided <- err
			}()
			synctest.Wait()
		}
		if err := q.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-decided; err != nil {
			t.Error(err)
		}
	})
}

// TestWhoComesDuringAPass is served by another one, and what is gone by then is forgotten.
func TestWhoComesDuringAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTurns()
		q.PutNode(nodeWith("node-b", guestOf(dbUUID, "db")))
		old, late := newMigration("old", "web", "node-b", "5"), newMigration("late", "db", "node-c", "7")
		q.Put(old)
		decided := make(chan error)
		s.onApply = func() {
			s.onApply = nil
			q.Remove(old)
			q.Put(late)
			go func() {
				summary, err := q.Decide(t.Context(), late, func() string { return "attempt" })
				if err == nil && summary.Status.Attempt == nil {
					err = errors.New(reasonOf(summary.Status))
				}
				decided <- err
			}()
			synctest.Wait()
		}
		if err := q.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-decided; err != nil {
			t.Errorf("it does not go ahead: %v", err)
		}
		if q.entries[old.UID] != nil || q.concerning["node/node-a"] != nil {
			t.Error("what was removed is there again")
		}
	})
}

// TestAWriteOfTheLedgerThatPanics loses nobody's turn: whoever looks next finds it.
func TestAWriteOfTheLedgerThatPanics(t *testing.T) {
	q, s := newTurns()
	q.Put(newMigration("m", "web", "node-b", "5"))
	s.onApply = func() { panic("no") }
	func() {
		defer func() { _ = recover() }()
		_ = q.Settle(t.Context())
	}()
	s.onApply = nil
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if promised(q) != 1 {
		t.Errorf("%d promises were made afterwards", promised(q))
	}
}

// TestWhoWaitsForOnePass does not have to wait for another, as something is always new.
func TestWhoWaitsForOnePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newTurns()
		q.limits.Preparing = 0
		q.PutNode(nodeWith("node-b", guestOf(dbUUID, "db")))
		waiter := newMigration("waiter", "nobody", "node-b", "7")
		q.Put(newMigration("m", "web", "node-b", "5"))
		q.Put(waiter)
		q.paused = time.Now().Add(time.Second)
		decided := make(chan error)
		go func() {
			_, err := q.Decide(t.Context(), waiter, func() string { return "attempt" })
			decided <- err
		}()
		synctest.Wait()
		s.onApply = func() {
			s.onApply = nil
			time.Sleep(time.Second)
			synctest.Wait()
			q.Put(newMigration("late", "db", "node-c", "9"))
		}
		q.mu.Lock()
		err := q.pass(t.Context(), nil)
		q.mu.Unlock()
		if err := errors.Join(err, <-decided); err != nil {
			t.Fatal(err)
		}
		if q.passes != 1 {
			t.Errorf("it took %d passes", q.passes)
		}
	})
}
