package controllers

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/internal/metrics"
	"github.com/virtferry/virtferry/pkg/migration"
)

// TestCensusFollowsTheQueue: what is told of the queue is what is in it, from the first
// sight of a migration to its end.
func TestCensusFollowsTheQueue(t *testing.T) {
	t.Parallel()
	now := testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	store := &store{objects: map[string]*v1alpha1.LiveMigration{}}
	q := newQueue(store, store, "virtferry-system", migration.DefaultLimits(), now)
	for _, node := range []string{"node-a", "node-b", "node-c"} {
		guests := map[string][]v1alpha1.HypervisorDomain{"node-a": {guestOf(webUUID, "web"), guestOf(dbUUID, "db")}}
		q.PutNode(nodeWith(node, guests[node]...))
		q.census.putNode(node, metrics.NodeAvailable)
	}
	web, db := newMigration("web", "web", "node-b", "1"), newMigration("db", "db", "node-b", "2")
	web.CreationTimestamp, db.CreationTimestamp = metav1.NewTime(now.Now()), metav1.NewTime(now.Now())
	copying(web, webUUID, "node-a").Status.Phase = v1alpha1.PhaseMigrating
	for _, lm := range []*v1alpha1.LiveMigration{web, db} {
		store.objects[lm.Name] = lm
		q.Put(lm)
	}
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	now.Step(time.Minute)
	q.Put(web) // Nothing new.
	want := metrics.State{
		Phases: map[v1alpha1.LiveMigrationPhase]metrics.Stay{
			v1alpha1.PhasePending: {Count: 1}, v1alpha1.PhaseMigrating: {Count: 1, Longest: time.Minute},
		},
		Waiting: map[migration.Wait]int{"Source": 1}, Oldest: time.Minute,
		Copying: metrics.Slots{Used: 1, Free: 2}, Preparing: metrics.Slots{Used: 1, Free: 5},
		Nodes: map[string]metrics.NodeState{"node-a": "Available", "node-b": "Available", "node-c": "Available"},
	}
	if diff := cmp.Diff(want, q.census.state()); diff != "" {
		t.Errorf("while one is copied, the state differs (-want +got):\n%s", diff)
	}

	web = web.DeepCopy()
	web.ResourceVersion = "5"
	meta.SetStatusCondition(&web.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue})
	q.Put(web)
	q.Remove(db)
	q.census.removeNode("node-c")
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := q.census.state()
	for phase, stay := range got.Phases {
		if stay.Count != 0 {
			t.Errorf("%d are left in %s", stay.Count, phase)
		}
	}
	if got.Copying != (metrics.Slots{Free: 2}) || got.Oldest != 0 || len(got.Waiting) != 0 {
		t.Errorf("in the end the state is %+v", got)
	}
}

// TestAPhaseBeginsWhenItIsSeen, and not again with each report of progress.
func TestAPhaseBeginsWhenItIsSeen(t *testing.T) {
	t.Parallel()
	now := testingclock.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c := newCensus(migration.DefaultLimits(), now)
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{UID: "1"}}
	for _, step := range []struct {
		phase v1alpha1.LiveMigrationPhase
		want  time.Duration
	}{
		{v1alpha1.PhaseMigrating, 0}, {v1alpha1.PhaseMigrating, time.Minute}, {v1alpha1.PhaseRecovering, 0}, {v1alpha1.PhaseRecovering, time.Minute},
	} {
		lm.Status.Phase = step.phase
		c.put(lm)
		if got := c.state().Phases[step.phase]; got != (metrics.Stay{Count: 1, Longest: step.want}) {
			t.Errorf("%s is %+v", step.phase, got)
		}
		now.Step(time.Minute)
	}
}

func TestCensusOfWhatCannotBeDecoded(t *testing.T) {
	t.Parallel()
	c := newCensus(migration.DefaultLimits(), testingclock.NewFakeClock(time.Time{}))
	lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{UID: "1"}}
	for _, unreadable := range []bool{true, true, false} {
		c.noteUnreadable(lm, unreadable)
		if got := c.state().UnreadableMigrations; got > 0 != unreadable || got > 1 {
			t.Errorf("%d cannot be decoded; of the last that is %v", got, unreadable)
		}
	}
}

func TestStateOfANode(t *testing.T) {
	t.Parallel()
	ready := func(status metav1.ConditionStatus, reason string) *v1alpha1.Hypervisor {
		hv := &v1alpha1.Hypervisor{}
		hv.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason}}
		return hv
	}
	unreadable := ready(metav1.ConditionTrue, v1alpha1.ReasonAvailable)
	unreadable.Annotations = map[string]string{caches.UnreadableMark: "status.domains: a number"}
	for want, hv := range map[metrics.NodeState]*v1alpha1.Hypervisor{
		metrics.NodeAvailable: ready(metav1.ConditionTrue, v1alpha1.ReasonAvailable), metrics.NodeUnreadable: unreadable,
		metrics.NodeAgentLost:    ready(metav1.ConditionUnknown, v1alpha1.ReasonAgentLost),
		metrics.NodeDisconnected: ready(metav1.ConditionFalse, v1alpha1.ReasonDisconnected),
	} {
		if got := stateOf(hv); got != want {
			t.Errorf("the state is %s, not %s", got, want)
		}
	}
	if got := stateOf(&v1alpha1.Hypervisor{}); got != metrics.NodeDisconnected {
		t.Errorf("before its agent has reported, the state is %s", got)
	}
}

// TestAScrapeCostsWhatIsUnderWay, however many migrations wait.
func TestAScrapeCostsWhatIsUnderWay(t *testing.T) {
	cost := func(waiting int) float64 {
		c := newCensus(migration.DefaultLimits(), testingclock.NewFakeClock(time.Time{}))
		for i := range waiting + 50 {
			lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{UID: types.UID(strconv.Itoa(i))}}
			if i < 50 {
				lm.Status.Phase = v1alpha1.PhaseMigrating
			}
			c.put(lm)
		}
		// The least of many: the machine has other things to do.
		best := time.Hour
		for range 200 {
			began := time.Now()
			c.state()
			best = min(best, time.Since(began))
		}
		return best.Seconds()
	}
	few, many := cost(10), cost(10_000)
	t.Logf("%.1f µs among 10 that wait, %.1f µs among 10,000", few*1e6, many*1e6)
	if many > 20*few {
		t.Error("a scrape takes longer the more migrations wait")
	}
}
