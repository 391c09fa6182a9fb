package controllers

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// promised counts the promises that are not kept yet.
func promised(q *queue) int {
	n := 0
	for _, e := range q.entries {
		if e.promise != nil {
			n++
		}
	}
	return n
}

// TestACrowdIsToldFirst: of thousands that are applied at once, few go ahead before all
// have been looked at.
func TestACrowdIsToldFirst(t *testing.T) {
	s := &store{}
	clk := clocktesting.NewFakeClock(time.Now())
	q := newQueue(s, s, "virtferry-system", migration.Limits{Source: 1000, Target: 1000, Cluster: 1000, Preparing: 1000}, clk)
	source, all := nodeWith("node-a"), make([]*v1alpha1.LiveMigration, crowd+50)
	for i := range all {
		uuid := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		source.Domains = append(source.Domains, guestOf(uuid, uuid))
		all[i] = newMigration(uuid, uuid, "node-b", "5")
	}
	q.PutNode(source)
	q.PutNode(nodeWith("node-b"))
	for _, lm := range all {
		q.Put(lm)
	}
	settle := func(after time.Duration) int {
		t.Helper()
		clk.Step(after)
		if err := q.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		return promised(q)
	}
	if n := settle(time.Minute / 2); n != 1 {
		t.Errorf("%d were let go ahead at once", n)
	}
	if n := settle(crowdInterval / 2); n != 1 {
		t.Errorf("%d were let go ahead within less than the interval", n)
	}
	if n := settle(crowdInterval); n != 2 {
		t.Errorf("%d were let go ahead after the interval", n)
	}
	if !q.dirty {
		t.Error("nobody looks for the turns of the others")
	}
	for _, lm := range all[crowd:] {
		told := lm.DeepCopy()
		told.ResourceVersion, told.Status.Conditions = "9", []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionUnknown}}
		q.Put(told)
	}
	if n := settle(crowdInterval / 10); n < crowd {
		t.Errorf("%d were let go ahead when most had been told", n)
	}
}

// TestAnUrgentOneInACrowd is the next to go ahead, though it comes last.
func TestAnUrgentOneInACrowd(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	q, _ := newTurns()
	q.clock, q.limits = clk, migration.Limits{Source: 1000, Target: 1000, Cluster: 1000, Preparing: 1000}
	source := nodeWith("node-a", guestOf(webUUID, "web"))
	for i := range 2 * crowd {
		uuid := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		source.Domains = append(source.Domains, guestOf(uuid, uuid))
		q.Put(newMigration(uuid, uuid, "node-b", "5"))
	}
	q.PutNode(source)
	q.PutNode(nodeWith("node-b"))
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	urgent := newMigration("urgent", "web", "node-b", "9")
	urgent.Spec.Priority = new(int32(100))
	q.Put(urgent)
	clk.Step(crowdInterval)
	if st := decide(t, q, urgent); st.Attempt == nil || st.Attempt.CopyGrantedTime == nil {
		t.Errorf("it is %s", reasonOf(st))
	}
}

// TestACrowdHoldsNobodyUp who was admitted before it came.
func TestACrowdHoldsNobodyUp(t *testing.T) {
	q, s := newTurns()
	q.limits = migration.Limits{Source: 1000, Target: 1000, Cluster: 1000, Preparing: 1000}
	for i := range 2 * crowd {
		q.Put(newMigration(fmt.Sprint("m", i), "nobody", "node-b", "5"))
	}
	q.admitted = q.clock.Now()
	prepared := copying(newMigration("prepared", "web", "node-b", "9"), webUUID, "node-a")
	prepared.Status.Attempt.CopyGrantedTime = nil
	prepared.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", ReadyTime: new(metav1.NowMicro())}
	prepared.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1"}
	s.objects["prepared"] = prepared
	q.Put(prepared)
	if st := decide(t, q, prepared); st.Attempt == nil || st.Attempt.CopyGrantedTime == nil {
		t.Errorf("it is %s", reasonOf(st))
	}
}

// TestACrowdThatCannotBeTold does not hold the others up for ever.
func TestACrowdThatCannotBeTold(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	q, _ := newTurns()
	q.clock = clk
	for i := range 2 * crowd {
		q.Put(newMigration(fmt.Sprint("m", i), "web", "node-b", "5"))
	}
	if got := q.admissions(); got != 1 {
		t.Errorf("at first, %d may be admitted", got)
	}
	clk.Step(crowdTime)
	if got := q.admissions(); got != maxPromises {
		t.Errorf("after a while, %d may be admitted", got)
	}
}

var (
	errRefused = apierrors.NewForbidden(schema.GroupResource{}, "first", errors.New("a webhook says no")) //nolint:gochecknoglobals // A constant.
	errTimeout = apierrors.NewTimeoutError("no answer", 1)                                                //nolint:gochecknoglobals // A constant.
)

// reconcilerOf returns a reconciler that writes to a store and goes by a queue.
func reconcilerOf(t *testing.T, q *queue, s *store) *LiveMigrationReconciler {
	t.Helper()
	r := &LiveMigrationReconciler{Client: s, Reader: s, Events: &events.FakeRecorder{}, Clock: q.clock, turns: q}
	r.once.Do(func() {})
	if err := r.setupMetrics(nil); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWhatCannotBeWritten does not keep its turn: another migration gets it. After a while
// it is tried again.
func TestWhatCannotBeWritten(t *testing.T) {
	for name, tc := range map[string]struct {
		failures []error
		goesOn   bool
	}{
		"refused":                   {[]error{errRefused}, true},
		"not known":                 {[]error{errTimeout}, false},
		"refused, but maybe before": {[]error{errTimeout, errRefused}, false},
	} {
		t.Run(name, func(t *testing.T) {
			clk := clocktesting.NewFakeClock(time.Now())
			q, s := newTurns()
			q.clock, q.limits.Preparing = clk, 0
			q.PutNode(nodeWith("node-a", guestOf(webUUID, "web"), guestOf(dbUUID, "db")))
			r := reconcilerOf(t, q, s)
			first, second := newMigration("first", "web", "node-b", "3"), newMigration("second", "db", "node-b", "5")
			q.Put(first)
			q.Put(second)
			for _, err := range tc.failures {
				s.refusal = err
				if _, err := r.reconcileStatus(t.Context(), first.DeepCopy()); err == nil {
					t.Fatal("it was written")
				}
			}
			s.refusal = nil
			clk.Step(time.Second)
			if st := decide(t, q, second); (st.Attempt != nil && st.Attempt.CopyGrantedTime != nil) != tc.goesOn {
				t.Errorf("the second one is %s", reasonOf(st))
			}
			q.Remove(second)
			clk.Step(passedOverFirst)
			if st := decide(t, q, first); st.Attempt == nil {
				t.Errorf("the first one is not tried again: %s", reasonOf(st))
			}
		})
	}
}

// TestAnUncertainWriteOfNoPromise does not hold a place for one that is refused later.
func TestAnUncertainWriteOfNoPromise(t *testing.T) {
	q, _ := newTurns()
	q.limits.Preparing = 0
	q.PutNode(nodeWith("node-a", guestOf(webUUID, "web"), guestOf(dbUUID, "db")))
	first, second := newMigration("first", "web", "node-b", "3"), newMigration("second", "db", "node-b", "5")
	first.Finalizers = nil
	q.Put(first)
	q.Put(second)
	if _, err := q.Decide(t.Context(), first, func() string { return "attempt" }); !errors.Is(err, errNotHeld) {
		t.Fatal(err)
	}
	q.Failed(first, errTimeout)
	q.Failed(first, errRefused)
	q.paused = time.Time{}
	if st := decide(t, q, second); st.Attempt == nil || st.Attempt.CopyGrantedTime == nil {
		t.Errorf("the second one is %s", reasonOf(st))
	}
}

// TestWhoIsPassedOverMayBeTold so, and is given nothing before its time all the same.
func TestWhoIsPassedOverMayBeTold(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	q, s := newTurns()
	q.clock = clk
	r := &LiveMigrationReconciler{Client: s, Reader: s, Events: &events.FakeRecorder{}, Clock: clk, turns: q}
	r.once.Do(func() {})
	lm := newMigration("m", "web", "node-b", "3")
	q.Put(lm)
	s.refusal = errRefused
	if _, err := r.reconcileStatus(t.Context(), lm.DeepCopy()); err == nil {
		t.Fatal("it was written")
	}
	s.refusal = nil
	told := lm.DeepCopy()
	if _, err := r.reconcileStatus(t.Context(), told); err != nil || s.taken != 1 || told.Status.Attempt != nil {
		t.Fatalf("%v; %d writes, %s", err, s.taken, reasonOf(told.Status))
	}
	clk.Step(passedOverFirst / 2)
	q.dirty = true
	if st := decide(t, q, lm); st.Attempt != nil {
		t.Error("it is tried again at once")
	}
}

// TestAnAdoptedPromiseThatIsRefused may still be kept by whoever has made it.
func TestAnAdoptedPromiseThatIsRefused(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	q, s := newTurns()
	q.clock, q.limits.Preparing = clk, 0
	q.PutNode(nodeWith("node-a", guestOf(webUUID, "web"), guestOf(dbUUID, "db")))
	first, second := newMigration("first", "web", "node-b", "3"), newMigration("second", "db", "node-b", "5")
	s.objects["first"], s.objects["second"] = first, second
	q.Put(first)
	q.Put(second)
	p := promise{UID: first.UID, Namespace: first.Namespace, Name: "first", Version: "3", Copying: true, Guest: webUUID, Source: "node-a", Target: "node-b"}
	if err := q.adopt(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	decide(t, q, first)
	q.Failed(first, errRefused)
	if st := decide(t, q, second); st.Attempt != nil {
		t.Error("another has its slot")
	}
	clk.Step(passedOverMost)
	q.Failed(first, errRefused)
	if st := decide(t, q, second); st.Attempt == nil {
		t.Errorf("another waits for ever: %s", reasonOf(st))
	}
}

// TestStatusesThatMayWait are written together.
func TestStatusesThatMayWait(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	q, s := newTurns()
	q.clock = clk
	r := reconcilerOf(t, q, s)
	lm := newMigration("m", "web", "node-b", "3")
	q.Put(lm)
	reconcile := func() time.Time {
		t.Helper()
		recheck, err := r.reconcileStatus(t.Context(), lm)
		if err != nil {
			t.Fatal(err)
		}
		return recheck
	}
	reconcile()
	if s.taken != 1 || lm.Status.Attempt == nil {
		t.Fatalf("%d writes, %s", s.taken, reasonOf(lm.Status))
	}
	began := clk.Now()
	lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: lm.Status.Attempt.ID, Guest: &v1alpha1.GuestFacts{Name: "web"}}
	if recheck := reconcile(); s.taken != 1 || !recheck.Equal(began.Add(migration.StatusInterval)) {
		t.Errorf("%d writes, and another look after %s", s.taken, recheck.Sub(began))
	}
	clk.Step(migration.StatusInterval)
	reconcile()
	if s.taken != 2 {
		t.Errorf("%d writes after the interval", s.taken)
	}
	lm.Status.Source.Problem = &v1alpha1.Problem{Reason: v1alpha1.ReasonSourceCheckFailed, Message: "No."}
	lm.Status.Source.CheckedTime = new(metav1.NewMicroTime(clk.Now()))
	reconcile()
	if s.taken != 3 || lm.Status.CompletionTime == nil {
		t.Errorf("%d writes, and %s", s.taken, reasonOf(lm.Status))
	}
}

// TestPlacesAreToldSeldom: that one leaves a line is not a write for all others at once.
func TestPlacesAreToldSeldom(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	q, s := newTurns()
	q.clock, q.limits.Preparing = clk, 0
	w := &wakes{}
	q.serve(w)
	source := nodeWith("node-a")
	var line []*v1alpha1.LiveMigration
	for i := range 5 {
		uuid := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		source.Domains = append(source.Domains, guestOf(uuid, uuid))
		line = append(line, newMigration(uuid, uuid, "node-b", strconv.Itoa(i+1)))
	}
	q.PutNode(source)
	s.objects[line[0].Name] = copying(line[0], line[0].Spec.Domain, "node-a")
	q.Put(line[0])
	for _, lm := range line[1:] {
		q.Put(lm)
	}
	settle := func(after time.Duration) []string {
		t.Helper()
		clk.Step(after)
		w.keys = nil
		if err := q.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		var woken []string
		for _, key := range w.keys {
			woken = append(woken, key.Name[len(key.Name)-1:])
		}
		slices.Sort(woken)
		return woken
	}
	place := func(i int) int32 { return q.entries[line[i].UID].turn.Position }
	settle(time.Minute)
	if place(1) != 1 || place(4) != 4 {
		t.Fatalf("the places are %d and %d", place(1), place(4))
	}
	q.Remove(line[1])
	if woken := settle(time.Second); !slices.Equal(woken, []string{"2"}) || place(2) != 1 || place(4) != 4 {
		t.Errorf("at once, %v are told, and the places are %d and %d", woken, place(2), place(4))
	}
	clk.Step(5 * time.Second)
	if st := decide(t, q, line[4]); st.Queue.Position != 3 {
		t.Errorf("in the end, the last one is told that its place is %d", st.Queue.Position)
	}
	q.Remove(line[2])
	if woken := settle(5 * time.Second); !slices.Equal(woken, []string{"3", "4"}) || place(4) != 2 {
		t.Errorf("later, %v are told, and the last place is %d", woken, place(4))
	}
}

// TestANodeThatBecomesReady adds to what the cluster may move at once, which wakes the
// first that waits for that.
func TestANodeThatBecomesReady(t *testing.T) {
	q, s := newTurns()
	q.limits.Preparing = 0
	for _, name := range []string{"node-b", "node-c"} {
		n := nodeWith(name)
		n.Ready = name == "node-b"
		q.PutNode(n)
	}
	q.PutNode(nodeWith("node-d", guestOf(dbUUID, "db")))
	q.limits.Cluster = 0
	first, second := copying(newMigration("first", "web", "node-b", "3"), webUUID, "node-a"), newMigration("second", "db", "node-b", "5")
	third := copying(newMigration("third", "other", "node-b", "4"), "33333333-3333-4333-8333-333333333333", "node-b")
	fourth := copying(newMigration("fourth", "another", "node-a", "2"), "44444444-4444-4444-8444-444444444444", "node-c")
	w := &wakes{}
	q.serve(w)
	for _, lm := range []*v1alpha1.LiveMigration{first, second, third, fourth} {
		s.objects[lm.Name] = lm
		q.Put(lm)
	}
	q.limits.Target = 5
	if st := decide(t, q, second); st.Queue.WaitingFor != v1alpha1.SlotCluster {
		t.Fatalf("it waits for %q: %s", st.Queue.WaitingFor, reasonOf(st))
	}
	w.keys = nil
	q.PutNode(nodeWith("node-c"))
	if !slices.Contains(w.keys, client.ObjectKeyFromObject(second)) {
		t.Fatalf("those that are woken are %v", w.keys)
	}
	q.paused = time.Time{}
	if st := decide(t, q, second); st.Attempt == nil {
		t.Errorf("it does not go ahead: %s", reasonOf(st))
	}
}

// TestAFinalizerIsRemovedOnce though the watch shows it for a while.
func TestAFinalizerIsRemovedOnce(t *testing.T) {
	clk := clocktesting.NewFakeClock(time.Now())
	q, _ := newTurns()
	q.clock = clk
	shown := newMigration("m", "web", "node-b", "5")
	if q.IsReleased(shown) {
		t.Error("nobody has removed the finalizer")
	}
	released := newMigration("m", "web", "node-b", "7")
	released.Finalizers = nil
	q.Released(released)
	q.Put(shown)
	if !q.IsReleased(shown) {
		t.Error("the finalizer is to be removed again")
	}
	again := newMigration("m", "web", "node-b", "9")
	if q.IsReleased(again) {
		t.Error("a finalizer that somebody has put back stays")
	}
	clk.Step(ownNews + time.Second)
	if q.IsReleased(shown) {
		t.Error("a finalizer that came back with an older version stays")
	}
	q.Put(released)
	if len(q.released) != 0 {
		t.Error("what the watch has shown is still remembered")
	}
	q.Released(released)
	q.Remove(released)
	if len(q.released) != 0 {
		t.Error("what is gone is still remembered")
	}
}

// TestNodesThatHaveDied while they sent guests keep those that are left from moving none:
// the cluster's limit is the number of its nodes.
func TestNodesThatHaveDied(t *testing.T) {
	q, _ := newTurns()
	q.PutNode(nodeWith("node-c", guestOf(dbUUID, "db")))
	q.PutNode(nodeWith("node-d"))
	for from, to := range map[string]string{"node-a": "node-c", "node-b": "node-d"} {
		q.PutNode(migration.Node{Name: from, Message: "its agent is lost"})
		lm := copying(newMigration("from-"+from, "guest-of-"+from, to, "5"), "uuid-"+from, from)
		lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", StartRequestedTime: new(metav1.NowMicro())}
		q.Put(lm)
	}
	rescue := newMigration("rescue", "db", "node-d", "7")
	q.Put(rescue)
	if st := decide(t, q, rescue); st.Attempt == nil || st.Attempt.CopyGrantedTime == nil {
		t.Errorf("two nodes of four are alive, and nothing may move between them: %s",
			meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionSucceeded).Message)
	}
}

// TestAForecastSharesTheLinksAsTheLimitsSay: as many guests as may move over a link at once
// count, not as many as do.
func TestAForecastSharesTheLinksAsTheLimitsSay(t *testing.T) {
	for _, c := range []struct {
		limits migration.Limits
		want   int64
	}{
		{migration.Limits{Source: 1, Target: 1, Preparing: 1}, 1_250_000_000},
		{migration.Limits{Source: 4, Target: 1, Preparing: 1}, 312_500_000},
		{migration.Limits{Source: 1, Target: 5, Preparing: 1}, 250_000_000},
	} {
		q, s := newTurns()
		q.limits = c.limits
		for _, name := range []string{"node-a", "node-b"} {
			node := nodeWith(name)
			node.LinkMbps = 10_000
			q.PutNode(node)
		}
		lm := copying(newMigration("m", webUUID, "node-b", "5"), webUUID, "node-a")
		lm.Spec.DryRun = new(true)
		lm.Status.Source = &v1alpha1.SourceStatus{
			AttemptID: "1", Guest: &v1alpha1.GuestFacts{Name: "web"}, CheckedTime: new(metav1.NowMicro()),
			Load: &v1alpha1.GuestLoad{MemoryBytes: 1 << 30, DirtyBytesPerSecond: new(int64(0))},
		}
		lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", ReadyTime: new(metav1.NowMicro())}
		s.objects[lm.Name] = lm
		q.Put(lm)
		f := decide(t, q, lm).Forecast
		if f == nil || f.BandwidthBytesPerSecond == nil || *f.BandwidthBytesPerSecond != c.want {
			t.Errorf("with %+v, the forecast is %+v, want %d bytes per second", c.limits, f, c.want)
		}
	}
}
