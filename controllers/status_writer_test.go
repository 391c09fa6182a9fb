package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// patched is an API server that has one object, and takes JSON patches of it.
type patched struct {
	client.Client
	object *v1alpha1.LiveMigration
}

func (p *patched) Patch(_ context.Context, o client.Object, patch client.Patch, _ ...client.PatchOption) error {
	data, err := patch.Data(o)
	if err != nil {
		return err
	}
	operations, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return err
	}
	before, err := json.Marshal(p.object)
	if err != nil {
		return err
	}
	after, err := operations.Apply(before)
	if err != nil {
		return apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("LiveMigration").GroupKind(), o.GetName(), nil)
	}
	p.object = &v1alpha1.LiveMigration{}
	if err := json.Unmarshal(after, p.object); err != nil {
		return err
	}
	p.object.DeepCopyInto(o.(*v1alpha1.LiveMigration))
	return nil
}

// TestRemovingTheFinalizer from an object that may have changed since it was read.
func TestRemovingTheFinalizer(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.LiveMigration)
		// left are the finalizers afterwards; nil where nothing may be removed.
		left []string
	}{
		{"unchanged", func(*v1alpha1.LiveMigration) {}, []string{"other"}},
		{"an agent has written", func(lm *v1alpha1.LiveMigration) { lm.ResourceVersion = "9" }, []string{"other"}},
		{"another finalizer behind it", func(lm *v1alpha1.LiveMigration) { lm.Finalizers = append(lm.Finalizers, "third") }, []string{"other", "third"}},
		{"another object of the name", func(lm *v1alpha1.LiveMigration) { lm.UID = "another" }, nil},
		{"an end that was taken back", func(lm *v1alpha1.LiveMigration) { lm.Status.CompletionTime = nil }, nil},
		{"another end", func(lm *v1alpha1.LiveMigration) { lm.Status.CompletionTime = new(metav1.NewTime(time.Unix(9, 0))) }, nil},
		{"the finalizer in another place", func(lm *v1alpha1.LiveMigration) { slices.Reverse(lm.Finalizers) }, nil},
		{"the finalizer gone", func(lm *v1alpha1.LiveMigration) { lm.Finalizers = lm.Finalizers[:1] }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := newMigration("m", "web", "node-b", "5")
			read.Finalizers = []string{"other", v1alpha1.FinalizerGuestSafe}
			read.Status.CompletionTime = new(metav1.NewTime(time.Unix(1, 0)))
			api := &patched{object: read.DeepCopy()}
			c.change(api.object)
			before := api.object.DeepCopy()
			err := (&LiveMigrationReconciler{Client: api}).removeFinalizer(t.Context(), read)
			switch {
			case c.left == nil && !errors.Is(err, errStale):
				t.Errorf("the error is %v", err)
			case c.left == nil && !slices.Equal(api.object.Finalizers, before.Finalizers):
				t.Errorf("what is left is %v", api.object.Finalizers)
			case c.left != nil && (err != nil || !slices.Equal(api.object.Finalizers, c.left) || !slices.Equal(read.Finalizers, c.left)):
				t.Errorf("what is left is %v, and %v is believed: %v", api.object.Finalizers, read.Finalizers, err)
			}
		})
	}
}

// TestARunningMigrationIsHeldAgain: who replaces an object takes its finalizers away.
func TestARunningMigrationIsHeldAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.LiveMigration)
		writes int
	}{
		"replaced":                   {func(lm *v1alpha1.LiveMigration) { lm.Finalizers = nil }, 1},
		"as it was":                  {func(*v1alpha1.LiveMigration) {}, 0},
		"replaced and deleted":       {func(lm *v1alpha1.LiveMigration) { lm.Finalizers, lm.DeletionTimestamp = nil, new(metav1.Now()) }, 0},
		"replaced before it started": {func(lm *v1alpha1.LiveMigration) { lm.Finalizers, lm.Status.Source = nil, nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			q, s := newTurns()
			lm := copying(newMigration("running", "web", "node-b", "5"), webUUID, "node-a")
			lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", StartRequestedTime: new(metav1.NowMicro())}
			lm.Status.Target = &v1alpha1.TargetStatus{AttemptID: "1", ReadyTime: new(metav1.NowMicro())}
			q.Put(lm)
			changed := lm.DeepCopy()
			changed.ResourceVersion = "6"
			c.change(changed)
			s.objects["running"] = changed
			q.Put(changed)
			writes := 0
			s.onApply = func() { writes++ }
			_, err := reconcilerOf(t, q, s).Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(changed)})
			if err != nil || writes != c.writes {
				t.Errorf("it is held by %d writes: %v", writes, err)
			}
		})
	}
}
