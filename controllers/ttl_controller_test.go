package controllers

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
)

// remover is a cache that has an object as it was, and deletes it.
type remover struct {
	store
	deleted []client.DeleteOptions
	refusal error
}

func (r *remover) Delete(_ context.Context, _ client.Object, options ...client.DeleteOption) error {
	made := client.DeleteOptions{}
	made.ApplyOptions(options)
	r.deleted = append(r.deleted, made)
	return r.refusal
}

// TestTimeToLive: an object goes when its time is over, and not because of what it said
// some time ago.
func TestTimeToLive(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ended := func(change func(*v1alpha1.LiveMigration)) *v1alpha1.LiveMigration {
		lm := newMigration("m", "web", "node-b", "7")
		lm.Spec.TTLSecondsAfterFinished = new(int32(60))
		lm.Status.CompletionTime = &metav1.Time{Time: now.Add(-time.Minute)}
		lm.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionFalse}}
		if change != nil {
			change(lm)
		}
		return lm
	}
	broken := ended(func(lm *v1alpha1.LiveMigration) {
		lm.Annotations = map[string]string{caches.UnreadableMark: "spec.options.maxDowntimeMilliseconds: it does not fit"}
	})
	longer := ended(func(lm *v1alpha1.LiveMigration) { lm.Spec.TTLSecondsAfterFinished = new(int32(90)) })
	for _, c := range []struct {
		name string
		// cached is the object as the cache has it, and object as it is.
		cached, object *v1alpha1.LiveMigration
		gone           bool
		again          time.Duration
	}{
		{name: "its time is over", cached: ended(nil), object: ended(nil), gone: true},
		{name: "its time is not over", cached: longer, object: longer, again: 30 * time.Second},
		{name: "its time was prolonged a moment ago", cached: ended(nil), object: longer, again: 30 * time.Second},
		{name: "it cannot be decoded", cached: broken, object: broken},
		{name: "it could not be decoded a moment ago", cached: broken, object: ended(nil)},
		{name: "it cannot be decoded any more", cached: ended(nil), object: broken},
		{name: "it is gone", cached: ended(nil)},
		{name: "nobody has ever heard of it"},
		{name: "it stays for ever", cached: ended(func(lm *v1alpha1.LiveMigration) { lm.Spec.TTLSecondsAfterFinished = nil })},
		{name: "it has not ended", cached: ended(func(lm *v1alpha1.LiveMigration) { lm.Status.CompletionTime = nil })},
		{name: "its end is not known", cached: ended(func(lm *v1alpha1.LiveMigration) { lm.Status.Conditions[0].Status = metav1.ConditionUnknown })},
		{name: "it is being deleted", cached: ended(func(lm *v1alpha1.LiveMigration) { lm.DeletionTimestamp = &metav1.Time{Time: now} })},
	} {
		stored := func(lm *v1alpha1.LiveMigration) store {
			s := store{objects: map[string]*v1alpha1.LiveMigration{}}
			if lm != nil {
				s.objects["m"] = lm
			}
			return s
		}
		cache, server := &remover{store: stored(c.cached)}, stored(c.object)
		r := &TTLReconciler{Client: cache, Reader: &server, Clock: clocktesting.NewFakeClock(now)}
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "default", Name: "m"}})
		if err != nil || result.RequeueAfter != c.again || (len(cache.deleted) > 0) != c.gone {
			t.Errorf("%s: it is deleted %d times, and looked at after %v; %v", c.name, len(cache.deleted), result.RequeueAfter, err)
		}
		if c.cached != nil && expires(c.cached) != (c.cached.Spec.TTLSecondsAfterFinished != nil && c.cached.Status.CompletionTime != nil) {
			t.Errorf("%s: whether it expires is wrong", c.name)
		}
		for _, made := range cache.deleted {
			if p := made.Preconditions; p == nil || *p.UID != "m" || *p.ResourceVersion != "7" {
				t.Errorf("%s: it is deleted whatever it has become", c.name)
			}
		}
	}
	cache := &remover{store: store{objects: map[string]*v1alpha1.LiveMigration{"m": ended(nil)}}}
	r := &TTLReconciler{Client: cache, Reader: &cache.store, Clock: clocktesting.NewFakeClock(now)}
	cache.refusal = apierrors.NewConflict(schema.GroupResource{}, "m", nil)
	if result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "default", Name: "m"}}); err != nil || result.RequeueAfter != conflictRetry {
		t.Errorf("an object that has changed gives %v and %v", result, err)
	}
}
