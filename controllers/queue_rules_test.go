package controllers

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestWhatIsTheSameTurn: whose status would say the same is not woken for it.
func TestWhatIsTheSameTurn(t *testing.T) {
	other := func() *v1alpha1.LiveMigration { return newMigration("other", "web", "node-b", "5") }
	problem := func(message string) *v1alpha1.Problem {
		return &v1alpha1.Problem{Reason: "Resolving", Message: message}
	}
	for _, c := range []struct {
		name string
		a, b migration.Turn
		want bool
	}{
		{"nothing", migration.Turn{}, migration.Turn{}, true},
		{"admitted", migration.Turn{}, migration.Turn{Admit: true}, false},
		{"granted", migration.Turn{}, migration.Turn{Grant: true}, false},
		{"behind another", migration.Turn{}, migration.Turn{Before: other()}, false},
		{"no longer behind another", migration.Turn{Before: other()}, migration.Turn{}, false},
		{"behind the same one, which has changed", migration.Turn{Before: other()}, migration.Turn{Before: other()}, true},
		{"behind one and another", migration.Turn{Before: other()}, migration.Turn{Before: newMigration("third", "web", "node-b", "5")}, false},
		{"for a slot", migration.Turn{}, migration.Turn{WaitingFor: v1alpha1.SlotSource}, false},
		{"for another slot", migration.Turn{WaitingFor: v1alpha1.SlotTarget}, migration.Turn{WaitingFor: v1alpha1.SlotSource}, false},
		{"kept free", migration.Turn{}, migration.Turn{KeptFree: true}, false},
		{"another place", migration.Turn{Position: 1}, migration.Turn{Position: 2}, false},
		{"another place that is told the same", migration.Turn{Position: 11}, migration.Turn{Position: 20}, true},
		{"found elsewhere", migration.Turn{}, migration.Turn{Resolution: migration.Resolution{SourceNode: "node-a"}}, false},
		{"a problem", migration.Turn{}, migration.Turn{Resolution: migration.Resolution{Problem: problem("a")}}, false},
		{"no problem any more", migration.Turn{Resolution: migration.Resolution{Problem: problem("a")}}, migration.Turn{}, false},
		{"the same problem", migration.Turn{Resolution: migration.Resolution{Problem: problem("a")}}, migration.Turn{Resolution: migration.Resolution{Problem: problem("a")}}, true},
		{"another problem", migration.Turn{Resolution: migration.Resolution{Problem: problem("a")}}, migration.Turn{Resolution: migration.Resolution{Problem: problem("b")}}, false},
		{
			"the same problem elsewhere", migration.Turn{Resolution: migration.Resolution{Problem: problem("a")}},
			migration.Turn{Resolution: migration.Resolution{Problem: problem("a"), SourceNode: "node-a"}}, false,
		},
	} {
		if got := sameTurn(c.a, c.b); got != c.want {
			t.Errorf("%s: it is the same: %t", c.name, got)
		}
	}
}

// TestHowOftenAPlaceIsTold: the further behind, the less often.
func TestHowOftenAPlaceIsTold(t *testing.T) {
	for position, want := range map[int32]time.Duration{
		0: 0, 1: 0, 2: 5 * time.Second, 5: 5 * time.Second, 6: 30 * time.Second, 20: 30 * time.Second, 21: 5 * time.Minute, 9999: 5 * time.Minute,
	} {
		if got := placeInterval(position); got != want {
			t.Errorf("place %d: %s, want %s", position, got, want)
		}
	}
}

// TestTheLedgerIsBounded: those that find no room in it wait for others to have gone ahead.
func TestTheLedgerIsBounded(t *testing.T) {
	q, _ := newTurns()
	q.limits = migration.Limits{Source: 999, Target: 999, Cluster: 999, Preparing: 999}
	var guests []v1alpha1.HypervisorDomain
	for i := range maxPromises + 50 {
		id := fmt.Sprintf("%08d-1111-4111-8111-111111111111", i)
		guests = append(guests, guestOf(id, ""))
		lm := newMigration("m"+strconv.Itoa(i), id, "node-b", "5")
		lm.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown}}
		q.Put(lm)
	}
	q.PutNode(nodeWith("node-a", guests...))
	for range 2 {
		q.paused, q.dirty = time.Time{}, true
		if err := q.Settle(t.Context()); err != nil || promised(q) != maxPromises {
			t.Errorf("%d promises were made: %v", promised(q), err)
		}
	}
}

// TestWhoCameFirst is told by the version at which an object was first seen, until its status
// says so.
func TestWhoCameFirst(t *testing.T) {
	for _, told := range []bool{false, true} {
		q, s := newTurns()
		q.limits = migration.Limits{Source: 1, Target: 9, Cluster: 9}
		q.PutNode(nodeWith("node-a", guestOf(webUUID, "web"), guestOf(dbUUID, "db")))
		first, second := newMigration("first", "web", "node-b", "5"), newMigration("second", "db", "node-b", "6")
		second.CreationTimestamp = first.CreationTimestamp
		if told {
			// By another process, which saw them the other way round.
			first.Status.Queue, second.Status.Queue = &v1alpha1.QueueStatus{Order: 9}, &v1alpha1.QueueStatus{Order: 8}
		}
		q.Put(first)
		q.Put(second)
		first = first.DeepCopy()
		first.ResourceVersion = "7"
		q.Put(first)
		s.objects["first"], s.objects["second"] = first, second
		if err := q.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := q.entries["first"].promise != nil; got == told || got == (q.entries["second"].promise != nil) {
			t.Errorf("the status says who was first: %t; the first one may go ahead: %t", told, got)
		}
	}
}

// TestWhereAWaitingGuestIsFound matters until the migration goes ahead.
func TestWhereAWaitingGuestIsFound(t *testing.T) {
	looking := preparing(newMigration("m", "web", "node-b", "5"))
	looking.Status.SourceNode = ""
	for _, c := range []struct {
		name    string
		lm      *v1alpha1.LiveMigration
		promise *promise
		want    bool
	}{
		{"it waits", newMigration("m", "web", "node-b", "5"), nil, true},
		{"it was promised a slot", newMigration("m", "web", "node-b", "5"), &promise{}, false},
		{"it is prepared", preparing(newMigration("m", "web", "node-b", "5")), nil, false},
		{"it looks whether the guest is there", looking, nil, true},
	} {
		q, _ := newTurns()
		e := &entry{lm: c.lm, promise: c.promise}
		if got := q.foundElsewhere(e); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
		e.turn.Resolution = q.resolve(c.lm)
		if q.foundElsewhere(e) {
			t.Errorf("%s: it is found elsewhere than where it is", c.name)
		}
	}
}

// TestAnObjectThatChangesTooOften: after so many versions that had become old when they were
// to be written, it is passed over. Each counts once.
func TestAnObjectThatChangesTooOften(t *testing.T) {
	q, _ := newTurns()
	lm := newMigration("m", "web", "node-b", "5")
	q.Put(lm)
	e := q.entries["m"]
	e.turn.Admit = true
	conflict := apierrors.NewConflict(schema.GroupResource{}, "m", errors.New("the object has been modified"))
	for n := 1; n <= mostConflicts; n++ {
		lm.ResourceVersion = strconv.Itoa(n)
		for range 3 {
			q.Failed(lm, conflict)
		}
		if got := !e.passedOver.IsZero(); got != (n == mostConflicts) {
			t.Errorf("after %d versions it is passed over: %t", n, got)
		}
	}
}

// TestWhoseFailureCounts: that of a write of what it was given.
func TestWhoseFailureCounts(t *testing.T) {
	for _, c := range []struct {
		name         string
		admit, grant bool
		err          error
		want         bool
	}{
		{"it was given nothing", false, false, errRefused, false},
		{"it was admitted", true, false, errRefused, true},
		{"it was granted a slot", false, true, errRefused, true},
		{"it was given both", true, true, errRefused, true},
		{"it is gone", true, true, apierrors.NewNotFound(schema.GroupResource{}, "m"), false},
	} {
		q, _ := newTurns()
		lm := newMigration("m", "web", "node-b", "5")
		q.Put(lm)
		e := q.entries["m"]
		e.turn.Admit, e.turn.Grant = c.admit, c.grant
		q.Failed(lm, c.err)
		if e.passedOver.IsZero() == c.want {
			t.Errorf("%s: it is passed over until %v", c.name, e.passedOver)
		}
		q.Failed(newMigration("unknown", "web", "node-b", "5"), c.err)
	}
}

// TestPausesGrow with each write that was refused, and not while the API server may be away for
// all. One that succeeds ends that.
func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := newTurns()
		lm := newMigration("m", "web", "node-b", "5")
		q.Put(lm)
		e := q.entries["m"]
		e.turn.Admit = true
		for _, step := range []struct {
			name string
			err  error
			want time.Duration
		}{
			{"refused", errRefused, passedOverFirst},
			{"again", errRefused, 2 * passedOverFirst},
			{"a webhook", errWebhook, 4 * passedOverFirst},
			{"the API server is away", apierrors.NewServiceUnavailable("later"), passedOverFirst},
			{"refused since", errRefused, 2 * passedOverFirst},
			{"written", nil, 0},
			{"refused after that", errRefused, passedOverFirst},
		} {
			if step.err == nil {
				written := lm.DeepCopy()
				written.ResourceVersion = "6"
				q.Wrote(written)
				e.turn.Admit = true
			} else {
				q.Failed(lm, step.err)
			}
			got := time.Duration(0)
			if !e.passedOver.IsZero() {
				got = time.Until(e.passedOver)
			}
			if got != step.want {
				t.Errorf("%s: it is passed over for %s, want %s", step.name, got, step.want)
			}
		}
	})
}

// TestAWriteThatNeverArrives: after some minutes, what it was to keep goes to others, unless the
// API server shows that it has arrived.
func TestAWriteThatNeverArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name    string
			after   time.Duration
			version string
			kept    bool
		}{
			{"not for long", passedOverMost - 1, "5", true},
			{"for long", passedOverMost, "5", false},
			{"it has arrived", passedOverMost, "6", true},
		} {
			q, s := newTurns()
			lm := newMigration("m", "web", "node-b", "5")
			q.Put(lm)
			if err := q.Settle(t.Context()); err != nil || promised(q) != 1 {
				t.Fatalf("%s: %d promises: %v", c.name, promised(q), err)
			}
			q.Failed(lm, errTimeout)
			time.Sleep(c.after)
			there := lm.DeepCopy()
			if c.version != lm.ResourceVersion {
				copying(there, webUUID, "node-a").ResourceVersion = c.version
			}
			s.objects["m"] = there
			err := q.know(t.Context(), lm)
			e := q.entries["m"]
			if kept := e.passedOver.IsZero(); err != nil || kept != c.kept || (e.promise != nil) != (c.kept && c.version == "5") {
				t.Errorf("%s: it keeps what it was given: %t, promise %+v: %v", c.name, kept, e.promise, err)
			}
		}
	})
}
