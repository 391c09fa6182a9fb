package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/applyconv"
)

// statusWith is the status of lm with the fields that the manager owns as given.
func statusWith(lm *v1alpha1.LiveMigration, owned *v1alpha1.LiveMigrationStatus) *v1alpha1.LiveMigrationStatus {
	next := owned.DeepCopy()
	next.Source, next.Target, next.Progress = lm.Status.Source, lm.Status.Target, lm.Status.Progress
	return next
}

// applyStatus writes those fields of next that the manager owns, and makes next the
// status of lm. It fails with a conflict if the object has changed since it was read: the
// manager's decision to end it and the source agent's to start it exclude each other, and
// an old view of the object never undoes what was settled. It is one write: where others own
// a part of the status, which an apply would leave there, that is replaced.
func (r *LiveMigrationReconciler) applyStatus(ctx context.Context, lm *v1alpha1.LiveMigration, next *v1alpha1.LiveMigrationStatus) error {
	owned := *next
	owned.Source, owned.Target, owned.Progress = nil, nil, nil
	status, err := applyconv.To[ac.LiveMigrationStatusApplyConfiguration](&owned)
	if err != nil {
		return fmt.Errorf("preparing the status: %w", err)
	}
	wanted, err := fieldsOf(status)
	if err != nil {
		return err
	}
	if len(coOwners(lm.ManagedFields)) > 0 {
		there, err := fieldsOf(lm.Status)
		if err != nil {
			return err
		}
		return r.replaceStatus(ctx, lm, next, wanted, there)
	}
	config := ac.LiveMigration(lm.Name, lm.Namespace).WithUID(lm.UID).WithResourceVersion(lm.ResourceVersion).WithStatus(status)
	err = r.Client.Status().Apply(ctx, config, client.FieldOwner(v1alpha1.OwnerManager), client.ForceOwnership)
	switch {
	case apierrors.IsInvalid(err):
		if there, err := fieldsOf(lm.Status); err == nil {
			return r.replaceStatus(ctx, lm, next, wanted, there)
		}
		return fmt.Errorf("applying the status: %w", err)
	case err != nil:
		return fmt.Errorf("applying the status: %w", applyconv.Explain(err))
	}
	lm.Status = *next
	if config.ResourceVersion != nil {
		lm.ResourceVersion = *config.ResourceVersion
	}
	if there, err := fieldsOf(config.Status); err == nil && !reflect.DeepEqual(wanted, there) {
		// What is wanted is there, and is told of. What should have gone as well goes
		// when the news of this write come in, if it does not now.
		if err := r.replaceStatus(ctx, lm, next, wanted, there); err != nil {
			logf.FromContext(ctx).Info("A part of the status that somebody else has applied stays for now", "error", err.Error())
		}
	}
	return nil
}

// fieldsOf returns the fields of a status that the manager owns, as the API has them.
func fieldsOf(status any) (map[string]any, error) {
	text, err := json.Marshal(status)
	if err != nil {
		return nil, fmt.Errorf("preparing the status: %w", err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("preparing the status: %w", err)
	}
	for _, agents := range []string{"source", "target", "progress"} {
		delete(fields, agents)
	}
	return fields, nil
}

// replaceStatus writes the fields that the manager owns whoever else owns them, too: what
// somebody else has applied, such as a tool that restores objects, an apply does not remove,
// and of a condition it leaves what cannot stand alone.
func (r *LiveMigrationReconciler) replaceStatus(ctx context.Context, lm *v1alpha1.LiveMigration, next *v1alpha1.LiveMigrationStatus, wanted, there map[string]any) error {
	patch := []map[string]any{{"op": "replace", "path": "/metadata/resourceVersion", "value": lm.ResourceVersion}}
	for _, field := range slices.Sorted(maps.Keys(wanted)) {
		patch = append(patch, map[string]any{"op": "add", "path": "/status/" + field, "value": wanted[field]})
	}
	for _, field := range slices.Sorted(maps.Keys(there)) {
		if _, kept := wanted[field]; !kept {
			patch = append(patch, map[string]any{"op": "remove", "path": "/status/" + field})
		}
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("preparing the status: %w", err)
	}
	written := lm.DeepCopy()
	err = r.Client.Status().Patch(ctx, written, client.RawPatch(types.JSONPatchType, text), client.FieldOwner(v1alpha1.OwnerManager)) //nolint:forbidigo // See above.
	if err != nil {
		return fmt.Errorf("replacing the status: %w", err)
	}
	lm.Status, lm.ResourceVersion = *next, written.ResourceVersion
	return nil
}

// addFinalizer puts the manager's finalizer on lm, if lm has not changed since it was
// read.
func (r *LiveMigrationReconciler) addFinalizer(ctx context.Context, lm *v1alpha1.LiveMigration) error {
	config := ac.LiveMigration(lm.Name, lm.Namespace).WithUID(lm.UID).
		WithResourceVersion(lm.ResourceVersion).WithFinalizers(v1alpha1.FinalizerGuestSafe)
	if err := r.Client.Apply(ctx, config, client.FieldOwner(v1alpha1.OwnerManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying the finalizer: %w", err)
	}
	lm.Finalizers = append(slices.Clone(lm.Finalizers), v1alpha1.FinalizerGuestSafe)
	if config.ResourceVersion != nil {
		lm.ResourceVersion = *config.ResourceVersion
	}
	return nil
}

// removeFinalizer removes the manager's finalizer from lm, which has ended, whoever owns
// it: a copy of the object that was restored or replaced has it from somebody else, and
// what another owns, an apply leaves alone. The agents may still be writing: what must not
// have changed is the object's identity, its end and the finalizer's place.
func (r *LiveMigrationReconciler) removeFinalizer(ctx context.Context, lm *v1alpha1.LiveMigration) error {
	at := slices.Index(lm.Finalizers, v1alpha1.FinalizerGuestSafe)
	place := "/metadata/finalizers/" + strconv.Itoa(at)
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/uid", "value": lm.UID},
		{"op": "test", "path": "/status/completionTime", "value": lm.Status.CompletionTime},
		{"op": "test", "path": place, "value": v1alpha1.FinalizerGuestSafe},
		{"op": "remove", "path": place},
	})
	if err != nil {
		return fmt.Errorf("preparing the removal of the finalizer: %w", err)
	}
	without := lm.DeepCopy()
	err = r.Client.Patch(ctx, without, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(v1alpha1.OwnerManager)) //nolint:forbidigo // An apply cannot.
	switch {
	case apierrors.IsInvalid(err):
		return fmt.Errorf("removing the finalizer: %w: %w", errStale, err)
	case err != nil:
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	lm.Finalizers, lm.ResourceVersion = without.Finalizers, without.ResourceVersion
	return nil
}
