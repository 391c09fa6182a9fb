// Package statuscheck holds what must be true of the status of every
// LiveMigration at every moment. Tests apply it to each object that they see.
package statuscheck

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// Check returns everything that is wrong with the status.
func Check(lm *v1alpha1.LiveMigration) error {
	return errors.Join(checkConditions(lm), checkPhase(lm), checkTimes(lm), checkKstatus(lm), checkBounds(lm))
}

// CheckTransition returns what must not have changed between two states of one
// object but has.
func CheckTransition(before, after *v1alpha1.LiveMigration) error {
	var errs []error
	was, is := succeeded(before), succeeded(after)
	if was != metav1.ConditionUnknown && was != is {
		errs = append(errs, fmt.Errorf("condition Succeeded went from %s to %s: the end is final", was, is))
	}
	if a, b := before.Status.Progress, after.Status.Progress; a != nil && b != nil && b.Percent < a.Percent {
		errs = append(errs, fmt.Errorf("progress fell from %d to %d %%", a.Percent, b.Percent))
	}
	if s := before.Status.Source; s != nil && s.StartRequestedTime != nil && before.Status.Attempt.ID != after.Status.Attempt.ID {
		errs = append(errs, errors.New("the attempt changed after it was started"))
	}
	return errors.Join(errs...)
}

func succeeded(lm *v1alpha1.LiveMigration) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Status
	}
	return metav1.ConditionUnknown
}

func checkConditions(lm *v1alpha1.LiveMigration) error {
	var errs []error
	conditions := lm.Status.Conditions
	reconciling := meta.FindStatusCondition(conditions, v1alpha1.ConditionReconciling)
	stalled := meta.FindStatusCondition(conditions, v1alpha1.ConditionStalled)
	if reconciling != nil && stalled != nil {
		errs = append(errs, errors.New("conditions Reconciling and Stalled are both present"))
	}
	for _, c := range []*metav1.Condition{reconciling, stalled} {
		if c != nil && c.Status != metav1.ConditionTrue {
			errs = append(errs, fmt.Errorf("%s is %s: it must be True or absent", c.Type, c.Status))
		}
	}
	if lm.Status.ObservedGeneration < 0 {
		return errors.Join(errs...)
	}
	s, r := meta.FindStatusCondition(conditions, v1alpha1.ConditionSucceeded), meta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	switch {
	case s == nil || r == nil:
		errs = append(errs, errors.New("condition Succeeded or Ready is absent"))
	case s.Status != r.Status:
		errs = append(errs, fmt.Errorf("condition Succeeded is %s but Ready is %s", s.Status, r.Status))
	case s.Message == "":
		errs = append(errs, errors.New("condition Succeeded has no message"))
	}
	return errors.Join(errs...)
}

// phases says which value of Succeeded goes with each phase.
func phases() map[v1alpha1.LiveMigrationPhase]metav1.ConditionStatus {
	return map[v1alpha1.LiveMigrationPhase]metav1.ConditionStatus{
		"":                       metav1.ConditionUnknown,
		v1alpha1.PhasePending:    metav1.ConditionUnknown,
		v1alpha1.PhasePreparing:  metav1.ConditionUnknown,
		v1alpha1.PhaseMigrating:  metav1.ConditionUnknown,
		v1alpha1.PhasePostCopy:   metav1.ConditionUnknown,
		v1alpha1.PhaseRecovering: metav1.ConditionUnknown,
		v1alpha1.PhaseConfirming: metav1.ConditionUnknown,
		v1alpha1.PhaseCancelling: metav1.ConditionUnknown,
		v1alpha1.PhaseUnknown:    metav1.ConditionUnknown,
		v1alpha1.PhaseSucceeded:  metav1.ConditionTrue,
		v1alpha1.PhaseFailed:     metav1.ConditionFalse,
		v1alpha1.PhaseCancelled:  metav1.ConditionFalse,
	}
}

func checkPhase(lm *v1alpha1.LiveMigration) error {
	want, known := phases()[lm.Status.Phase]
	switch {
	case !known:
		return fmt.Errorf("the phase %q is none", lm.Status.Phase)
	case succeeded(lm) != want:
		return fmt.Errorf("the phase is %s but Succeeded is %s", lm.Status.Phase, succeeded(lm))
	}
	return nil
}

func checkTimes(lm *v1alpha1.LiveMigration) error {
	settled := succeeded(lm) != metav1.ConditionUnknown
	if settled != (lm.Status.CompletionTime != nil) {
		return fmt.Errorf("condition Succeeded is %s but completionTime is %v", succeeded(lm), lm.Status.CompletionTime)
	}
	return nil
}

// checkKstatus computes the status as Flux, Argo CD and kubectl wait do.
func checkKstatus(lm *v1alpha1.LiveMigration) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(lm)
	if err != nil {
		return fmt.Errorf("converting the object: %w", err)
	}
	result, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		return fmt.Errorf("computing the kstatus: %w", err)
	}
	want := status.InProgressStatus
	switch {
	case !lm.DeletionTimestamp.IsZero():
		want = status.TerminatingStatus
	case lm.Status.ObservedGeneration != lm.Generation:
	case succeeded(lm) == metav1.ConditionTrue:
		want = status.CurrentStatus
	case succeeded(lm) == metav1.ConditionFalse, lm.Status.Phase == v1alpha1.PhaseUnknown:
		want = status.FailedStatus
	}
	if result.Status != want {
		return fmt.Errorf("kstatus is %s (%s), want %s", result.Status, result.Message, want)
	}
	return nil
}
