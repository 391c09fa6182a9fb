package controllers

import (
	"encoding/json"
	"unique"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/migration"
)

// CacheOptions returns how the manager caches what it watches. Leases are watched in the
// system's namespace alone. Objects are handed out as they are in the cache, so nobody
// may change what is read from it.
func CacheOptions(namespace string) cache.Options {
	return cache.Options{
		DefaultUnsafeDisableDeepCopy: new(true),
		DefaultTransform:             cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&coordinationv1.Lease{}:   {Namespaces: map[string]cache.Config{namespace: {}}},
			&v1alpha1.LiveMigration{}: {Transform: trim},
			&v1alpha1.Hypervisor{}:    {Transform: trimHypervisor},
		},
	}
}

// trim drops what the manager does not need of a LiveMigration: most are kept for long
// after they have ended.
func trim(o any) (any, error) {
	lm, ok := o.(*v1alpha1.LiveMigration)
	if !ok {
		return o, nil
	}
	lm.ManagedFields = coOwners(lm.ManagedFields)
	for annotation := range lm.Annotations {
		switch annotation {
		case v1alpha1.AnnotationCancel, v1alpha1.AnnotationForceComplete, caches.UnreadableMark:
		default:
			delete(lm.Annotations, annotation)
		}
	}
	lm.Spec.MigrateData = nil
	if a := lm.Status.Attempt; a != nil {
		for i := range a.StorageMappings { // A node has a few, which many migrations share.
			m := &a.StorageMappings[i]
			m.From, m.To = unique.Make(m.From).Value(), unique.Make(m.To).Value()
		}
	}
	if migration.Finished(lm) {
		trimFinished(lm)
	}
	if t := lm.Status.Target; t != nil {
		t.Offer = nil
	}
	return lm, nil
}

// trimHypervisor drops what no decision depends on: of thousands of nodes, what they have and
// offer would be most of what the manager keeps.
func trimHypervisor(o any) (any, error) {
	if hv, ok := o.(*v1alpha1.Hypervisor); ok {
		host := hv.Status.Host
		hv.ManagedFields, hv.Status.Host = nil, nil
		hv.Spec = v1alpha1.HypervisorSpec{StorageMappings: hv.Spec.StorageMappings}
		for i := range hv.Status.Domains {
			d := &hv.Status.Domains[i]
			d.MachineType = unique.Make(d.MachineType).Value() // Guests have a few.
		}
		if host != nil && (host.MigrationLinkMbps != 0 || host.Architectures != nil) {
			hv.Status.Host = &v1alpha1.HypervisorHost{MigrationLinkMbps: host.MigrationLinkMbps, Architectures: trimArchitectures(host.Architectures)}
		}
	}
	return o, nil
}

// trimArchitectures keeps what machine types a host has.
func trimArchitectures(all *v1alpha1.HostArchitectures) *v1alpha1.HostArchitectures {
	if all == nil {
		return nil
	}
	out := &v1alpha1.HostArchitectures{Count: all.Count}
	for _, a := range all.Items {
		out.Items = append(out.Items, v1alpha1.HostArchitecture{
			MachineTypeCount: a.MachineTypeCount, MachineTypes: shared(a.MachineTypes), Deprecated: shared(a.Deprecated),
		})
	}
	return out
}

// trimFinished keeps of a migration that has ended what a downtime is judged and counted
// by that comes to be known afterwards.
func trimFinished(lm *v1alpha1.LiveMigration) {
	if o := lm.Spec.Options; o != nil {
		lm.Spec.Options = nil
		if o.MaxDowntimeMilliseconds != nil {
			lm.Spec.Options = &v1alpha1.MigrationOptions{MaxDowntimeMilliseconds: o.MaxDowntimeMilliseconds}
		}
	}
	if s := lm.Status.Source; s != nil {
		lm.Status.Source = nil
		if s.GuestPaused {
			lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: s.AttemptID, GuestPaused: true}
		}
	}
	if p := lm.Status.Progress; p != nil {
		lm.Status.Progress = &v1alpha1.ProgressStatus{Switchover: p.Switchover, DowntimeMilliseconds: p.DowntimeMilliseconds}
	}
	if t := lm.Status.Target; t != nil {
		lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: t.AttemptID, DowntimeMilliseconds: t.DowntimeMilliseconds}
	}
}

// coOwners returns the entries of those who own a part of a status that is the manager's, but
// for what the manager has applied. What it leaves out of an apply, these keep.
func coOwners(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	var others []metav1.ManagedFieldsEntry
	for i := range entries {
		e := &entries[i]
		switch e.Manager {
		case v1alpha1.OwnerSourceAgent, v1alpha1.OwnerTargetAgent: // A policy keeps them to their sections.
			continue
		case v1alpha1.OwnerManager:
			if e.Operation == metav1.ManagedFieldsOperationApply {
				continue
			}
		}
		if ownsOfManager(e) {
			others = append(others, *e)
		}
	}
	return others
}

// ownsOfManager reports whether an entry names fields of a status that are no agent's.
func ownsOfManager(e *metav1.ManagedFieldsEntry) bool {
	if e.FieldsV1 == nil {
		return false
	}
	var owned struct {
		Status map[string]json.RawMessage `json:"f:status"`
	}
	if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &owned); err != nil {
		return true
	}
	for field := range owned.Status {
		switch field {
		case ".", "f:source", "f:target", "f:progress":
		default:
			return true
		}
	}
	return false
}
