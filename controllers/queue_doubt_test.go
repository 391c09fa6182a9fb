package controllers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/migration"
)

// listing is a store that lists what it has, too.
type listing struct{ *store }

func (s listing) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	if list, ok := into.(*v1alpha1.LiveMigrationList); ok {
		for _, lm := range s.objects {
			list.Items = append(list.Items, *lm.DeepCopy())
		}
	}
	return nil
}

// twoOfOneNode returns a queue in which two migrations of guests of node-a are known, by
// what the watch has told: of the first its finalizer, and no more.
func twoOfOneNode() (q *queue, s *store, clk *clocktesting.FakeClock, first, second *v1alpha1.LiveMigration) {
	clk = clocktesting.NewFakeClock(time.Now())
	q, s = newTurns()
	q.clock, q.limits.Preparing = clk, 0
	q.PutNode(nodeWith("node-a", guestOf(webUUID, "web"), guestOf(dbUUID, "db")))
	first, second = newMigration("first", "web", "node-b", "95"), newMigration("second", "db", "node-b", "96")
	return q, s, clk, first, second
}

// urgent returns a migration that goes before all others that wait.
func urgent(lm *v1alpha1.LiveMigration) *v1alpha1.LiveMigration {
	lm.Spec.Priority = new(int32(1))
	return lm
}

// TestALateWatchTakesNoSlotBack: what was read past all caches, because another manager
// had admitted something, is newer than what the watch tells a moment later.
func TestALateWatchTakesNoSlotBack(t *testing.T) {
	q, s, _, first, second := twoOfOneNode()
	q.reader = listing{s}
	admitted := copying(newMigration("first", "web", "node-b", "100"), webUUID, "node-a")
	admitted.Status.Phase = v1alpha1.PhasePreparing
	s.objects["first"], s.objects["second"] = admitted, urgent(second)
	q.Put(second)
	if st := decide(t, q, second); st.Attempt != nil {
		t.Fatal("the first one holds the slot")
	}
	q.Put(first) // The watch is late: version 95 comes before version 100.
	q.paused = time.Time{}
	if st := decide(t, q, second); st.Attempt != nil {
		t.Error("a node sends two guests at a time")
	}
}

// TestALateWatchTakesNoGuestBack is the same for one guest.
func TestALateWatchTakesNoGuestBack(t *testing.T) {
	q, s, _, first, _ := twoOfOneNode()
	q.limits = migration.Limits{Source: 9, Target: 9, Cluster: 9, Preparing: 9}
	q.reader = listing{s}
	other := urgent(newMigration("other", webUUID, "node-c", "97"))
	admitted := copying(newMigration("first", "web", "node-b", "100"), webUUID, "node-a")
	admitted.Status.Phase = v1alpha1.PhasePreparing
	s.objects["first"], s.objects["other"] = admitted, other
	q.Put(other)
	if st := decide(t, q, other); st.Attempt != nil {
		t.Fatal("the first one holds the guest")
	}
	q.Put(first)
	q.paused = time.Time{}
	if st := decide(t, q, other); st.Attempt != nil {
		t.Error("two migrations of one guest are admitted")
	}
}

// TestALateWatchTakesNoPromiseBack: a reconciler has read a version in the cache whose
// event, and that of the one before, has not come to the handler yet.
func TestALateWatchTakesNoPromiseBack(t *testing.T) {
	q, s, _, first, second := twoOfOneNode()
	s.objects["first"], s.objects["second"] = newMigration("first", "web", "node-b", "99"), urgent(second)
	q.Put(newMigration("first", "web", "node-b", "90"))
	if st := decide(t, q, newMigration("first", "web", "node-b", "99")); st.Attempt == nil || promised(q) != 1 {
		t.Fatal("the first one has been promised its slot")
	}
	// Its status is on its way to the API server, which has version 99 of it.
	q.Put(second)
	q.Put(first)
	q.paused = time.Time{}
	if st := decide(t, q, second); st.Attempt != nil {
		t.Error("the slot is promised to another while the first one's admission is being written")
	}
}

// TestAWatchThatLagsTakesNoSlotBack although it lags by more than half a minute, as behind
// an API server that has too much to do.
func TestAWatchThatLagsTakesNoSlotBack(t *testing.T) {
	q, s, clk, first, second := twoOfOneNode()
	q.Put(newMigration("first", "web", "node-b", "90"))
	if st := decide(t, q, newMigration("first", "web", "node-b", "90")); st.Attempt == nil {
		t.Fatal("the first one gets the slot")
	}
	admitted := copying(newMigration("first", "web", "node-b", "100"), webUUID, "node-a")
	q.Wrote(admitted)
	s.objects["first"], s.objects["second"] = admitted, urgent(second)
	q.Put(second)
	clk.Step(ownNews + time.Second)
	q.Put(first)
	q.paused = time.Time{}
	if st := decide(t, q, second); st.Attempt != nil {
		t.Error("a node sends two guests at a time")
	}
}

// renamed returns a queue in which a migration of the guest web has been promised its slot,
// and its status names the guest that was called so before.
func renamed(t *testing.T) (q *queue, lm *v1alpha1.LiveMigration) {
	t.Helper()
	q, _ = newTurns()
	q.limits = migration.Limits{Source: 9, Target: 9, Cluster: 9, Preparing: 9}
	lm = newMigration("m", "web", "node-b", "5")
	lm.Status.DomainUUID = dbUUID // It was not running, and was defined anew a moment ago.
	q.Put(lm)
	if st := decide(t, q, lm); st.Attempt == nil || st.DomainUUID != webUUID {
		t.Fatalf("the guest is %s on node-a", webUUID)
	}
	q.dirty, q.paused = true, time.Time{}
	return q, lm
}

// TestAPromiseIsOfTheGuestThatWasFound, not of the one that had its name before: the
// promise is what counts while the status is written, and when that is tried again.
func TestAPromiseIsOfTheGuestThatWasFound(t *testing.T) {
	q, lm := renamed(t)
	if st := decide(t, q, lm); st.DomainUUID != webUUID {
		t.Errorf("it is admitted from %s for the guest %s, which is not there", st.SourceNode, st.DomainUUID)
	}
}

// TestAPromiseHoldsTheGuestThatWasFound, so that no other migration of it is let go ahead.
func TestAPromiseHoldsTheGuestThatWasFound(t *testing.T) {
	q, _ := renamed(t)
	other := newMigration("other", webUUID, "node-c", "7")
	q.Put(other)
	if st := decide(t, q, other); st.Attempt != nil {
		t.Errorf("two migrations of the guest %s are admitted at once", webUUID)
	}
}

// TestOneObjectThatCannotBeDecoded keeps no manager from admitting others.
func TestOneObjectThatCannotBeDecoded(t *testing.T) {
	object := func(name, admitted string) string {
		return fmt.Sprintf(`{"apiVersion":"migration.virtferry.dev/v1alpha1","kind":"LiveMigration",`+
			`"metadata":{"name":%q,"namespace":"default","uid":%[1]q,"resourceVersion":"7"},"spec":{"domain":"old","targetNode":"node-b"},`+
			`"status":{"phase":"Migrating","sourceNode":"node-c","targetNode":"node-b","attempt":{"id":"1","admittedTime":%q}}}`, name, admitted)
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"apiVersion":"migration.virtferry.dev/v1alpha1","kind":"LiveMigrationList","metadata":{"resourceVersion":"7"},"items":[%s,%s]}`,
			object("good", "2026-01-02T03:04:05.000006Z"), object("bad", "2026-01-02t03:04:05z"))
	}))
	defer api.Close()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("LiveMigration"), meta.RESTScopeNamespace)
	direct, err := client.New(&rest.Config{Host: api.URL}, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	q, s := newTurns()
	q.reader = caches.NewReader(direct, scheme, logr.Discard())
	lm := newMigration("m", "web", "node-b", "5")
	s.objects["m"] = lm
	q.Put(lm)
	summary, err := q.Decide(t.Context(), lm, func() string { return "attempt" })
	if err != nil || summary.Status.Attempt == nil {
		t.Errorf("nothing is admitted any more: %v", err)
	}
}
