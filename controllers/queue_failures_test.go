package controllers

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
)

// errWebhook is what the API server says where a webhook does not answer, and its failure
// policy is Fail.
var errWebhook = apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": context deadline exceeded`)) //nolint:gochecknoglobals // A constant.

// refusing is a store that takes no finalizer.
type refusing struct {
	*store
	err error
}

func (s refusing) Apply(ctx context.Context, config runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	if named, ok := config.(interface{ GetName() *string }); ok && *named.GetName() == "first" {
		return s.err
	}
	return s.store.Apply(ctx, config, opts...)
}

// TestAWebhookThatDoesNotAnswer for one namespace holds no slot that others wait for.
func TestAWebhookThatDoesNotAnswer(t *testing.T) {
	t.Run("for the finalizer", func(t *testing.T) {
		q, s, clk, first, second := twoOfOneNode()
		first.Finalizers = nil
		q.Put(first)
		q.Put(second)
		r := reconcilerOf(t, q, s)
		r.Client = refusing{s, errWebhook}
		for range 100 {
			q.paused = time.Time{}
			_, _ = r.reconcileStatus(t.Context(), first.DeepCopy()) // What it is told while it is passed over can be written.
			clk.Step(time.Second)
		}
		q.paused = time.Time{}
		if st := decide(t, q, second); st.Attempt == nil {
			t.Errorf("in the end the second one is still %s", reasonOf(st))
		}
	})
	t.Run("for the status", func(t *testing.T) {
		q, s, clk, first, second := twoOfOneNode()
		q.Put(first)
		q.Put(second)
		r := reconcilerOf(t, q, s)
		s.refusal = errWebhook
		for range 100 {
			q.paused = time.Time{}
			if _, err := r.reconcileStatus(t.Context(), first.DeepCopy()); err == nil {
				t.Fatal("it was written")
			}
			clk.Step(30 * time.Second)
		}
		q.paused = time.Time{}
		if st := decide(t, q, second); st.Attempt == nil {
			t.Errorf("after %s the second one is still %s", 100*30*time.Second, reasonOf(st))
		}
	})
}

// TestWhoIsPassedOverIsLookedAtAgain when that is over, though it was reconciled meanwhile: a
// work queue forgets what it is to do later when it does it earlier.
func TestWhoIsPassedOverIsLookedAtAgain(t *testing.T) {
	q, s, clk, first, _ := twoOfOneNode()
	q.Put(first)
	r := reconcilerOf(t, q, s)
	s.refusal = errRefused
	if _, err := r.reconcileStatus(t.Context(), first.DeepCopy()); err == nil {
		t.Fatal("it was written")
	}
	s.refusal = nil
	recheck, err := r.reconcileStatus(t.Context(), first.DeepCopy())
	if want := clk.Now().Add(passedOverFirst); err != nil || !recheck.Equal(want) {
		t.Errorf("it is looked at again at %v, not at %v: %v", recheck, want, err)
	}
}

// TestOneTimeoutHoldsNoSlotForEver of a migration that is refused for certain from then on.
func TestOneTimeoutHoldsNoSlotForEver(t *testing.T) {
	q, s, clk, first, second := twoOfOneNode()
	q.Put(first)
	q.Put(second)
	r := reconcilerOf(t, q, s)
	s.refusal = errTimeout
	for range 100 {
		q.paused = time.Time{}
		if _, err := r.reconcileStatus(t.Context(), first.DeepCopy()); err == nil {
			t.Fatal("it was written")
		}
		s.refusal = errRefused
		clk.Step(30 * time.Second)
	}
	q.paused = time.Time{}
	if st := decide(t, q, second); st.Attempt == nil {
		t.Errorf("after %s the second one is still %s", 100*30*time.Second, reasonOf(st))
	}
}

// TestAWaitingObjectThatCannotBeDecoded is never let go ahead, and holds no slot for that.
func TestAWaitingObjectThatCannotBeDecoded(t *testing.T) {
	for name, finalizers := range map[string][]string{"not held": nil, "held": {v1alpha1.FinalizerGuestSafe}} {
		t.Run(name, func(t *testing.T) {
			q, s, clk, first, second := twoOfOneNode()
			first.Finalizers = finalizers
			first.Annotations = map[string]string{caches.UnreadableMark: "spec.options.maxDowntimeMilliseconds: it does not fit"}
			s.objects["first"] = first
			r := reconcilerOf(t, q, s)
			q.Put(first)
			q.Put(second)
			for range 10 {
				q.paused = time.Time{}
				if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(first)}); err != nil {
					t.Fatal(err)
				}
				clk.Step(time.Minute)
			}
			if st := decide(t, q, second); st.Attempt == nil {
				t.Errorf("after ten minutes the second one is still %s", reasonOf(st))
			}
		})
	}
}

// TestAnAdmittedObjectThatCannotBeDecoded keeps its slot, though what could not be decoded may
// be that it has one.
func TestAnAdmittedObjectThatCannotBeDecoded(t *testing.T) {
	q, s, _, first, second := twoOfOneNode()
	copying(first, webUUID, "node-a").Status.Attempt.CopyGrantedTime = nil
	s.objects["first"] = first
	first.Annotations = map[string]string{caches.UnreadableMark: "status.attempt.copyGrantedTime: it does not fit"}
	q.Put(first)
	q.Put(second)
	if st := decide(t, q, second); st.Attempt != nil && st.Attempt.CopyGrantedTime != nil {
		t.Errorf("the second one is let copy beside it: %s", reasonOf(st))
	}
}

// TestAnObjectThatChangesAllTheTime cannot be admitted, and holds no slot for ever.
func TestAnObjectThatChangesAllTheTime(t *testing.T) {
	q, s, clk, first, second := twoOfOneNode()
	q.Put(first)
	q.Put(second)
	r := reconcilerOf(t, q, s)
	s.refusal = apierrors.NewConflict(schema.GroupResource{}, "first", errors.New("the object has been modified"))
	for i := range 100 {
		q.paused = time.Time{}
		if _, err := r.reconcileStatus(t.Context(), first.DeepCopy()); !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
		first = first.DeepCopy()
		first.ResourceVersion = strconv.Itoa(100 + i)
		q.Put(first)
		clk.Step(30 * time.Second)
	}
	q.paused = time.Time{}
	if st := decide(t, q, second); st.Attempt == nil {
		t.Errorf("after %s the second one is still %s", 100*30*time.Second, reasonOf(st))
	}
}
