//go:build integration

package integration

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// ownedPaths returns the leaves that each manager of an object owns.
func ownedPaths(t *testing.T, entries []metav1.ManagedFieldsEntry) map[string]*fieldpath.Set {
	t.Helper()
	owned := map[string]*fieldpath.Set{}
	for _, entry := range entries {
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
			t.Fatal(err)
		}
		if owned[entry.Manager] == nil {
			owned[entry.Manager] = &fieldpath.Set{}
		}
		owned[entry.Manager] = owned[entry.Manager].Union(set.Leaves())
	}
	return owned
}

// requireOwners fails unless each of the owners has fields, under the given
// prefixes only, and no field has two of them.
func requireOwners(t *testing.T, entries []metav1.ManagedFieldsEntry, prefixes map[string][]string) {
	t.Helper()
	owned := ownedPaths(t, entries)
	for owner, allowed := range prefixes {
		set := owned[owner]
		if set == nil || set.Empty() {
			t.Errorf("%s owns nothing", owner)
			continue
		}
		set.Iterate(func(p fieldpath.Path) {
			if !slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(p.String(), prefix) }) {
				t.Errorf("%s owns %s", owner, p)
			}
		})
		for other := range owned {
			if common := set.Intersection(owned[other]); other != owner && !common.Empty() {
				t.Errorf("%s and %s both own %s", owner, other, common)
			}
		}
	}
}

// TestEveryFieldHasOneOwner looks at all states of a migration.
func TestEveryFieldHasOneOwner(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	carryOut(m, successfulMove(m, g, a, b)[:7])
	requireOwners(t, m.latest().ManagedFields, map[string][]string{
		v1alpha1.OwnerManager: {
			`.metadata.finalizers`, ".status.conditions", ".status.observedGeneration", ".status.phase", ".status.domainUUID", ".status.domainName",
			".status.sourceNode", ".status.targetNode", ".status.attempt", ".status.startTime",
			".status.queue", ".status.resolvingTime",
		},
		v1alpha1.OwnerSourceAgent: {".status.source.", ".status.progress"},
		v1alpha1.OwnerTargetAgent: {".status.target."},
	})
	last := successfulMove(m, g, a, b)[7]
	last.do()
	done := m.awaitReason(last.reason)
	for _, f := range done.ManagedFields {
		if f.Subresource == "status" && f.Operation != metav1.ManagedFieldsOperationApply {
			t.Errorf("%s has written to the status by %s", f.Manager, f.Operation)
		}
	}
	requireOwners(t, done.ManagedFields, map[string][]string{
		v1alpha1.OwnerManager:     {".metadata.finalizers", ".status."},
		v1alpha1.OwnerSourceAgent: {".status.source.", ".status.progress"},
		v1alpha1.OwnerTargetAgent: {".status.target."},
	})
	requireOwners(t, w.hypervisor("a").ManagedFields, map[string][]string{
		v1alpha1.OwnerManager: {`.status.conditions[type="Ready"]`, `.status.conditions[type="WorkersSufficient"]`, `.status.conditions[type="GuestsUpgradable"]`},
		v1alpha1.OwnerHypervisorAgent: {
			`.status.conditions[type="LibvirtConnected"]`, ".status.hostUUID", ".status.libvirtVersion", ".status.hypervisorVersion",
			`.status.conditions[type="CertificatesValid"]`, ".status.migrationAddress", ".status.domains", ".status.domainCount",
		},
	})
}

// coOwn has somebody apply the conditions of a migration as they are.
func (m *move) coOwn() {
	m.t.Helper()
	lm := &v1alpha1.LiveMigration{}
	if err := cluster.client.Get(m.t.Context(), m.key(), lm); err != nil {
		m.t.Fatal(err)
	}
	if err := applyStatus(m.t, cluster.client, "stranger", lm, map[string]any{"conditions": lm.Status.Conditions}); err != nil {
		m.t.Fatal(err)
	}
}

// requireOver fails if something in a status says that the migration goes on.
func requireOver(t *testing.T, lm *v1alpha1.LiveMigration) {
	t.Helper()
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionReconciling); c != nil || lm.Status.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("it has ended as %s, with %+v", lm.Status.Phase, c)
	}
}

// TestWhatOthersOwnIsRemoved: somebody applies what is in a status as it is, and so becomes
// another owner of it. What the manager leaves out later goes all the same.
func TestWhatOthersOwnIsRemoved(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	m := w.migrate(g, "b")
	m.await("its admission", func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Attempt != nil })
	acts := successfulMove(m, g, a, b)
	for i, act := range acts {
		if i == 5 {
			m.coOwn()
		}
		act.do()
		if i < len(acts)-1 {
			m.awaitReason(act.reason)
		}
	}
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	requireOver(t, m.latest())
}

// interveningClient has somebody write the object just before the manager writes its end.
type interveningClient struct {
	client.Client
	once sync.Once
	did  chan struct{}
}

func (c *interveningClient) through(next client.Client) client.Client {
	c.Client = next
	return c
}

// Status implements client.Client.
func (c *interveningClient) Status() client.SubResourceWriter {
	return interveningWriter{SubResourceWriter: c.Client.Status(), client: c}
}

type interveningWriter struct {
	client.SubResourceWriter
	client *interveningClient
}

// Patch implements client.SubResourceWriter.
func (w interveningWriter) Patch(ctx context.Context, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	data, err := patch.Data(o)
	if err != nil {
		return err
	}
	if bytes.Contains(data, []byte("completionTime")) {
		w.client.once.Do(func() {
			defer close(w.client.did)
			label := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`))
			err = cluster.client.Patch(ctx, o.DeepCopyObject().(client.Object), label)
		})
	}
	if err != nil {
		return err
	}
	return w.SubResourceWriter.Patch(ctx, o, patch, opts...)
}

// TestWhatOthersOwnIsRemovedFromAnEndThatSomebodyWritesTo: the end is written as one, or not
// at all. There is one event of it.
func TestWhatOthersOwnIsRemovedFromAnEndThatSomebodyWritesTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	between := &interveningClient{did: make(chan struct{})}
	w.runManager(ctrl.Options{Cache: w.cacheOptions()}, managerSetup{clock: clock.RealClock{}, limits: plenty(), through: between.through})
	w.awaitReady("a", "b")
	m := w.migrate(g, "b")
	acts := successfulMove(m, g, a, b)
	last := len(acts) - 1
	carryOut(m, acts[:last])
	m.coOwn()
	acts[last].do()
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	select {
	case <-between.did:
	default:
		t.Fatal("nobody has written to it before its end")
	}
	requireOver(t, m.latest())
	for _, lm := range m.history() {
		if lm.Status.CompletionTime != nil {
			requireOver(t, lm)
		}
	}
	if !poll(t.Context(), func() bool { return w.countEvents(m)[v1alpha1.ReasonMigrated] > 0 }) || w.countEvents(m)[v1alpha1.ReasonMigrated] != 1 {
		t.Errorf("the events are %v", w.countEvents(m))
	}
}

// TestAnEndThatIsHalfWritten, by a manager that died there or of a version that wrote it in
// two steps, is made whole.
func TestAnEndThatIsHalfWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	lm.Status.Phase, lm.Status.ObservedGeneration, lm.Status.CompletionTime = v1alpha1.PhaseSucceeded, 1, new(metav1.Now())
	lm.Status.Queue = &v1alpha1.QueueStatus{Order: 1, WaitingFor: v1alpha1.SlotSource, Position: 5}
	for _, kind := range []string{v1alpha1.ConditionSucceeded, v1alpha1.ConditionReady, v1alpha1.ConditionReconciling} {
		lm.Status.Conditions = append(lm.Status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonMigrated, LastTransitionTime: metav1.Now(), ObservedGeneration: 1,
		})
	}
	if err := cluster.client.Status().Update(t.Context(), lm); err != nil {
		t.Fatal(err)
	}
	w.startManager(clock.RealClock{})
	if !poll(t.Context(), func() bool {
		err := cluster.client.Get(t.Context(), client.ObjectKeyFromObject(lm), lm)
		return err == nil && meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionReconciling) == nil && lm.Status.Queue.Position == 0
	}) {
		t.Errorf("it still says that it goes on: %+v", lm.Status)
	}
}

// TestAStatusThatWasRestored by a tool for backups belongs to that tool as well. What the
// manager takes out of it is gone all the same.
func TestAStatusThatWasRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	lm := w.newMigration(g, "b")
	w.create(lm)
	lm.Status.Phase, lm.Status.ObservedGeneration = v1alpha1.PhasePending, 1
	lm.Status.StartTime = new(metav1.Now())
	lm.Status.Queue = &v1alpha1.QueueStatus{Order: 1, WaitingFor: v1alpha1.SlotSource, Position: 5}
	for kind, status := range map[string]metav1.ConditionStatus{
		v1alpha1.ConditionSucceeded: metav1.ConditionUnknown, v1alpha1.ConditionReady: metav1.ConditionUnknown, v1alpha1.ConditionReconciling: metav1.ConditionTrue,
	} {
		lm.Status.Conditions = append(lm.Status.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: v1alpha1.ReasonWaitingForSlot, Message: "Waiting", LastTransitionTime: metav1.Now(), ObservedGeneration: 1,
		})
	}
	if err := cluster.client.Status().Update(t.Context(), lm); err != nil {
		t.Fatal(err)
	}
	m := w.observe(lm)
	w.startManager(clock.RealClock{})
	w.awaitReady("a", "b")
	carryOut(m, successfulMove(m, g, a, b))
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	st := m.latest().Status
	if c := meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionReconciling); c != nil {
		t.Errorf("it has ended and is still %s", c.Type)
	}
	if st.Queue != nil && st.Queue.WaitingFor != "" {
		t.Errorf("it has ended and still waits for %s, at place %d", st.Queue.WaitingFor, st.Queue.Position)
	}
}
