//go:build integration

package integration

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
