package controllers

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/applyconv"
)

// applyStatus writes the fields of a LiveMigration's status that the manager
// owns, if they differ, and puts them into lm. It fails with a conflict if the
// object has changed since it was read: the manager's decision to end it and the
// source agent's to start it exclude each other, and an old view of the object
// never undoes what was settled.
func (r *LiveMigrationReconciler) applyStatus(ctx context.Context, lm *v1alpha1.LiveMigration, owned *v1alpha1.LiveMigrationStatus) error {
	next := owned.DeepCopy()
	next.Source, next.Target, next.Progress = lm.Status.Source, lm.Status.Target, lm.Status.Progress
	if equality.Semantic.DeepEqual(next, &lm.Status) {
		return nil
	}
	status, err := applyconv.To[ac.LiveMigrationStatusApplyConfiguration](owned)
	if err != nil {
		return fmt.Errorf("preparing the status: %w", err)
	}
	config := ac.LiveMigration(lm.Name, lm.Namespace).WithUID(lm.UID).WithResourceVersion(lm.ResourceVersion).WithStatus(status)
	if err := r.Client.Status().Apply(ctx, config, client.FieldOwner(v1alpha1.OwnerManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying the status: %w", err)
	}
	lm.Status = *next
	if config.ResourceVersion != nil {
		lm.ResourceVersion = *config.ResourceVersion
	}
	return nil
}

// applyFinalizers makes the given finalizers the ones that the manager has on
// lm, if lm has not changed since it was read.
func (r *LiveMigrationReconciler) applyFinalizers(ctx context.Context, lm *v1alpha1.LiveMigration, finalizers ...string) error {
	if len(finalizers) == 0 {
		return r.removeFinalizer(ctx, lm)
	}
	config := ac.LiveMigration(lm.Name, lm.Namespace).WithUID(lm.UID).
		WithResourceVersion(lm.ResourceVersion).WithFinalizers(finalizers...)
	if err := r.Client.Apply(ctx, config, client.FieldOwner(v1alpha1.OwnerManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying the finalizer: %w", err)
	}
	lm.Finalizers = finalizers
	if config.ResourceVersion != nil {
		lm.ResourceVersion = *config.ResourceVersion
	}
	return nil
}

// removeFinalizer removes the manager's finalizer from lm, whoever owns it: a copy
// of the object that was restored or replaced has it from somebody else, and what
// another owns, an apply leaves alone.
func (r *LiveMigrationReconciler) removeFinalizer(ctx context.Context, lm *v1alpha1.LiveMigration) error {
	without := lm.DeepCopy()
	without.Finalizers = slices.DeleteFunc(without.Finalizers, func(f string) bool { return f == v1alpha1.FinalizerGuestSafe })
	patch := client.MergeFromWithOptions(lm.DeepCopy(), client.MergeFromWithOptimisticLock{})
	err := r.Client.Patch(ctx, without, patch, client.FieldOwner(v1alpha1.OwnerManager)) //nolint:forbidigo // An apply cannot.
	if err != nil {
		return fmt.Errorf("removing the finalizer: %w", err)
	}
	lm.Finalizers, lm.ResourceVersion = without.Finalizers, without.ResourceVersion
	return nil
}
