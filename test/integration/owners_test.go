//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
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
	requireOwners(t, done.ManagedFields, map[string][]string{
		v1alpha1.OwnerManager:     {".metadata.finalizers", ".status."},
		v1alpha1.OwnerSourceAgent: {".status.source.", ".status.progress"},
		v1alpha1.OwnerTargetAgent: {".status.target."},
	})
	requireOwners(t, w.hypervisor("a").ManagedFields, map[string][]string{
		v1alpha1.OwnerManager: {`.status.conditions[type="Ready"]`, `.status.conditions[type="WorkersSufficient"]`},
		v1alpha1.OwnerHypervisorAgent: {
			`.status.conditions[type="LibvirtConnected"]`, ".status.hostUUID", ".status.libvirtVersion", ".status.hypervisorVersion",
			".status.migrationAddress", ".status.domains", ".status.domainCount",
		},
	})
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
			lm := &v1alpha1.LiveMigration{}
			if err := cluster.client.Get(t.Context(), m.key(), lm); err != nil {
				t.Fatal(err)
			}
			status, err := json.Marshal(map[string]any{
				"apiVersion": "migration.virtferry.dev/v1alpha1", "kind": "LiveMigration",
				"metadata": map[string]any{"name": lm.Name, "namespace": lm.Namespace},
				"status":   map[string]any{"conditions": lm.Status.Conditions},
			})
			if err != nil {
				t.Fatal(err)
			}
			patch := client.RawPatch(types.ApplyPatchType, status)
			if err := cluster.client.Status().Patch(t.Context(), lm, patch, client.FieldOwner("stranger"), client.ForceOwnership); err != nil {
				t.Fatal(err)
			}
		}
		act.do()
		if i < len(acts)-1 {
			m.awaitReason(act.reason)
		}
	}
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	done := m.latest()
	if c := meta.FindStatusCondition(done.Status.Conditions, v1alpha1.ConditionReconciling); c != nil || done.Status.Phase != v1alpha1.PhaseSucceeded {
		t.Errorf("it has ended as %s, with %+v", done.Status.Phase, c)
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
