package controllers

import (
	"context"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

const webUUID, dbUUID = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

// store is an API server that has a ledger, and LiveMigrations by their names.
type store struct {
	client.Client
	objects map[string]*v1alpha1.LiveMigration
	// promises is what the ledger says, unless it may not be read.
	promises      string
	ledgerRefusal error
	// ledgerMissing is whether there is no ledger, and onCreate says what comes of making one.
	ledgerMissing bool
	onCreate      func() error
	// onApply is called with each write; refusal is what the API server says to those of
	// LiveMigrations, of which it has taken the given number.
	onApply func()
	refusal error
	taken   int
}

func (s *store) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch o := o.(type) {
	case *corev1.ConfigMap:
		if s.ledgerMissing {
			break
		}
		o.Name, o.Namespace, o.ResourceVersion = key.Name, key.Namespace, "1"
		o.Data = map[string]string{ledgerKey: s.promises}
		return s.ledgerRefusal
	case *v1alpha1.LiveMigration:
		if found := s.objects[key.Name]; found != nil {
			found.DeepCopyInto(o)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (s *store) Create(context.Context, client.Object, ...client.CreateOption) error {
	return s.onCreate()
}

func (*store) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func (s *store) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	if s.onApply != nil {
		s.onApply()
	}
	return nil
}

func (s *store) Status() client.SubResourceWriter { return statusStore{store: s} }

// statusStore writes statuses.
type statusStore struct {
	client.SubResourceWriter
	store *store
}

func (s statusStore) Apply(context.Context, runtime.ApplyConfiguration, ...client.SubResourceApplyOption) error {
	if s.store.refusal == nil {
		s.store.taken++
	}
	return s.store.refusal
}

// newTurns returns a queue for three nodes, of which node-a has the guest web, and its
// store.
func newTurns() (*queue, *store) {
	s := &store{objects: map[string]*v1alpha1.LiveMigration{}}
	q := newQueue(s, s, "virtferry-system", migration.DefaultLimits(), clock.RealClock{})
	q.PutNode(nodeWith("node-a", guestOf(webUUID, "web")))
	q.PutNode(nodeWith("node-b"))
	q.PutNode(nodeWith("node-c"))
	return q, s
}

func nodeWith(name string, guests ...v1alpha1.HypervisorDomain) migration.Node {
	return migration.Node{Name: name, Ready: true, Domains: guests}
}

func guestOf(uuid, name string) v1alpha1.HypervisorDomain {
	return v1alpha1.HypervisorDomain{UUID: uuid, Name: name, State: "Running"}
}

// newMigration returns one that is held by its finalizer.
func newMigration(name, domain, target, version string) *v1alpha1.LiveMigration {
	return &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "default", UID: types.UID(name), ResourceVersion: version,
			CreationTimestamp: metav1.Now(), Finalizers: []string{v1alpha1.FinalizerGuestSafe},
		},
		Spec: v1alpha1.LiveMigrationSpec{Domain: domain, TargetNode: target},
	}
}

// copying makes a migration one that has its slot for copying.
func copying(lm *v1alpha1.LiveMigration, uuid, source string) *v1alpha1.LiveMigration {
	lm.Status.DomainUUID, lm.Status.SourceNode, lm.Status.TargetNode = uuid, source, lm.Spec.TargetNode
	lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1", AdmittedTime: metav1.NowMicro(), CopyGrantedTime: new(metav1.NowMicro())}
	return lm
}

func decide(t *testing.T, q *queue, lm *v1alpha1.LiveMigration) v1alpha1.LiveMigrationStatus {
	t.Helper()
	summary, err := q.Decide(t.Context(), lm, func() string { return "attempt" })
	if err != nil {
		t.Fatal(err)
	}
	return summary.Status
}

func reasonOf(st v1alpha1.LiveMigrationStatus) string {
	return meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionSucceeded).Reason
}

// TestWhatIsGoneStaysGone: a reconciler that has read an object before it was deleted
// does not bring it back into the queue, where it would hold its guest for ever.
func TestWhatIsGoneStaysGone(t *testing.T) {
	q, _ := newTurns()
	old := newMigration("old", "web", "node-b", "5")
	old.Finalizers = nil
	q.Put(old)
	q.Remove(old)
	if _, err := q.Decide(t.Context(), old.DeepCopy(), func() string { return "attempt" }); err == nil {
		t.Error("something was decided on it")
	}
	q.Wrote(old)
	next := newMigration("next", "web", "node-b", "9")
	q.Put(next)
	if st := decide(t, q, next); st.Attempt == nil {
		t.Errorf("the next one does not go ahead: %s", reasonOf(st))
	}
}

// TestAnObjectOfTheSameName takes the place of one whose deletion was not heard of.
func TestAnObjectOfTheSameName(t *testing.T) {
	q, _ := newTurns()
	h, w := migrationHandler{q}, &wakes{}
	old, is := newMigration("m", "web", "node-b", "5"), newMigration("m", "web", "node-b", "9")
	is.UID = "another"
	h.Create(t.Context(), event.CreateEvent{Object: old}, w)
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: old, ObjectNew: is}, w)
	if st := decide(t, q, is); st.Attempt == nil {
		t.Errorf("it does not go ahead: %s", reasonOf(st))
	}
}

// TestAPromiseIsKeptAsItWasMade though the guest is listed elsewhere by then: the slots
// are those of the nodes that it names.
func TestAPromiseIsKeptAsItWasMade(t *testing.T) {
	q, s := newTurns()
	s.objects["busy"] = copying(newMigration("busy", dbUUID, "node-c", "3"), dbUUID, "node-b")
	q.Put(s.objects["busy"])
	lm := newMigration("m", "web", "node-c", "5")
	q.Put(lm)
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.PutNode(nodeWith("node-a"))
	q.PutNode(nodeWith("node-b", guestOf(webUUID, "web")))
	if st := decide(t, q, lm); st.SourceNode != "node-a" {
		t.Errorf("it goes ahead from %q, with a slot of node-a", st.SourceNode)
	}
}

// TestAPromiseHoldsItsGuest though nobody knows the guest by that name any more.
func TestAPromiseHoldsItsGuest(t *testing.T) {
	q, s := newTurns()
	first := newMigration("first", "web", "node-b", "3")
	q.Put(first)
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.objects["first"] = first
	q.PutNode(nodeWith("node-a", guestOf(webUUID, "renamed")))
	second := newMigration("second", webUUID, "node-c", "5")
	q.Put(second)
	if st := decide(t, q, second); reasonOf(st) != v1alpha1.ReasonWaitingForOtherMigration {
		t.Errorf("the second one is %s", reasonOf(st))
	}
}

// TestTheEndOfAnotherWakes those that wait for it, if the end is all that the watch tells.
func TestTheEndOfAnotherWakes(t *testing.T) {
	q, s := newTurns()
	h, w := migrationHandler{q}, &wakes{}
	first := copying(newMigration("first", webUUID, "node-b", "3"), webUUID, "node-a")
	second := newMigration("second", "web", "node-b", "5")
	s.objects["first"] = first
	h.Create(t.Context(), event.CreateEvent{Object: first}, w)
	h.Create(t.Context(), event.CreateEvent{Object: second}, w)
	if st := decide(t, q, second); reasonOf(st) != v1alpha1.ReasonWaitingForOtherMigration {
		t.Fatalf("the second one is %s", reasonOf(st))
	}
	end := first.DeepCopy()
	end.ResourceVersion, end.Finalizers = "9", nil
	end.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse, Reason: "Test"}}
	w.keys = nil
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: first, ObjectNew: end}, w)
	if len(w.keys) == 0 {
		t.Fatal("nobody is to look for new turns")
	}
	w.keys = nil
	q.mu.Lock()
	q.paused = time.Time{}
	q.mu.Unlock()
	if err := q.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.keys) != 1 || w.keys[0].Name != "second" {
		t.Errorf("those that are woken are %v", w.keys)
	}
}

// TestWhoWaitsIsToldOfAnUnknownOutcome of the migration that goes first, and when it is known
// after all.
func TestWhoWaitsIsToldOfAnUnknownOutcome(t *testing.T) {
	q, s := newTurns()
	w := &wakes{}
	first := copying(newMigration("first", webUUID, "node-b", "3"), webUUID, "node-a")
	first.Status.Phase = v1alpha1.PhaseConfirming
	second := newMigration("second", "web", "node-b", "5")
	s.objects["first"] = first
	q.Put(first)
	q.Put(second)
	decide(t, q, second)
	q.wake = func(key types.NamespacedName) { w.keys = append(w.keys, key) }
	for i, phase := range []v1alpha1.LiveMigrationPhase{v1alpha1.PhaseUnknown, v1alpha1.PhaseConfirming} {
		first = first.DeepCopy()
		first.ResourceVersion, first.Status.Phase, w.keys = strconv.Itoa(6+i), phase, nil
		q.Put(first)
		q.paused = time.Time{}
		if err := q.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(w.keys) != 1 || w.keys[0].Name != "second" {
			t.Errorf("once the first one is %s, those that are woken are %v", phase, w.keys)
		}
	}
}

// TestALookForTurnsIsNeverLost: in a pause somebody is asked to look after it, each time.
func TestALookForTurnsIsNeverLost(t *testing.T) {
	q, _ := newTurns()
	w := &wakes{}
	h := migrationHandler{q}
	h.Create(t.Context(), event.CreateEvent{Object: newMigration("m", "web", "node-b", "5")}, w)
	q.paused = time.Now().Add(time.Hour)
	for range 2 {
		w.later = nil
		if err := q.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(w.later) != 1 || w.later[0] != settleKey {
			t.Fatalf("those that are woken later are %v", w.later)
		}
	}
	q.paused, w.later = time.Time{}, nil
	if err := q.Settle(t.Context()); err != nil || len(w.later) > 0 || q.dirty {
		t.Errorf("after the pause: %v, woken later %v, dirty %v", err, w.later, q.dirty)
	}
}

// TestRestoredVersions: the API server's data were restored from a backup, and versions
// have gone back.
func TestRestoredVersions(t *testing.T) {
	q, s := newTurns()
	q.Put(newMigration("m", "web", "node-b", "900"))
	restored := newMigration("m", "web", "node-c", "50")
	s.objects["m"] = restored
	q.Put(restored)
	if st := decide(t, q, restored); st.TargetNode != "node-c" {
		t.Errorf("it goes to %q", st.TargetNode)
	}
}

// wakes is a work queue that notes what is added.
type wakes struct {
	work
	keys, later []types.NamespacedName
}

func (w *wakes) AddAfter(r reconcile.Request, _ time.Duration) {
	w.later = append(w.later, r.NamespacedName)
}

func (w *wakes) Add(r reconcile.Request) { w.keys = append(w.keys, r.NamespacedName) }
