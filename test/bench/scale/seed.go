//go:build linux

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

const namespace = "default"

// writers is how many write to the API server at once.
const writers = 16

//go:embed seed.yaml
var seedSpec []byte

// seed makes the finished migrations: copies of one that really took place, with what
// each writer left in it, of guests that have each been moved a few times before. The
// manager does not run meanwhile: it comes upon all of them when it starts.
func (w *world) seed(ctx context.Context) error {
	pattern, err := w.pattern(ctx)
	if err != nil {
		return err
	}
	if err := w.stopManager(ctx); err != nil {
		return err
	}
	raw, err := json.Marshal(w.finished(pattern, 0))
	if err != nil {
		return fmt.Errorf("encoding a migration: %w", err)
	}
	say("making %d finished migrations of %d bytes each ...", w.plan.finished, len(raw))
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range w.plan.finished {
		group.Go(func() error { return w.plant(ctx, w.finished(pattern, i)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	say("made %d finished migrations in %.1f s", w.plan.finished, time.Since(begin).Seconds())
	return nil
}

// pattern moves the last of the guests and returns the migration that did it, with all
// that the finished ones ask for.
func (w *world) pattern(ctx context.Context) (*v1alpha1.LiveMigration, error) {
	const name = "first"
	if err := w.apply(ctx, name, "seed", w.plan.guests()-1); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := w.seen.wait(ctx, []string{name}, end); err != nil {
		return nil, fmt.Errorf("moving the first guest: %w", err)
	}
	lm := &v1alpha1.LiveMigration{}
	if err := w.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, lm); err != nil {
		return nil, fmt.Errorf("reading the first migration: %w", err)
	}
	if lm.Status.Phase != v1alpha1.PhaseSucceeded {
		return nil, fmt.Errorf("the first migration is %s: %+v", lm.Status.Phase, lm.Status.Conditions)
	}
	if err := yaml.UnmarshalStrict(seedSpec, &lm.Spec); err != nil {
		return nil, fmt.Errorf("reading what the finished migrations ask for: %w", err)
	}
	return lm, nil
}

// finished returns a copy of the pattern as the migration that brought a guest to where
// it is now, some time between an hour and months ago.
func (w *world) finished(pattern *v1alpha1.LiveMigration, i int) *v1alpha1.LiveMigration {
	guest := i % w.plan.guests()
	ago := time.Hour + time.Duration(i)*time.Minute
	lm := pattern.DeepCopy()
	lm.ObjectMeta = metav1.ObjectMeta{
		Name: fmt.Sprintf("finished-%06d", i), Namespace: namespace, ManagedFields: pattern.ManagedFields,
	}
	lm.Spec.Domain, lm.Spec.TargetNode = guestUUID(guest), w.plan.guestNode(guest)
	st := &lm.Status
	st.DomainUUID, st.SourceNode, st.TargetNode = guestUUID(guest), w.plan.guestTarget(guest), w.plan.guestNode(guest)
	st.Attempt.ID = uuid.NewString()
	st.Source.AttemptID, st.Target.AttemptID = st.Attempt.ID, st.Attempt.ID
	st.StartTime = new(metav1.NewTime(pattern.Status.StartTime.Add(-ago)))
	st.CompletionTime = new(metav1.NewTime(pattern.Status.CompletionTime.Add(-ago)))
	st.Attempt.AdmittedTime = metav1.NewMicroTime(pattern.Status.Attempt.AdmittedTime.Add(-ago))
	for c := range st.Conditions {
		st.Conditions[c].LastTransitionTime = *st.CompletionTime
	}
	return lm
}

// plant creates a migration together with its status.
func (w *world) plant(ctx context.Context, lm *v1alpha1.LiveMigration) error {
	status, managed := lm.Status, lm.ManagedFields
	if err := w.api.Create(ctx, lm); err != nil {
		return fmt.Errorf("creating a finished migration: %w", err)
	}
	lm.Status, lm.ManagedFields = status, managed
	if err := w.api.Status().Update(ctx, lm); err != nil {
		return fmt.Errorf("writing the status of a finished migration: %w", err)
	}
	return nil
}
