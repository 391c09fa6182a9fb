package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// shelf is a reader that knows at most one LiveMigration.
type shelf struct {
	client.Reader
	object *v1alpha1.LiveMigration
	err    error
	reads  int
}

func (s *shelf) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	s.reads++
	switch {
	case s.err != nil:
		return s.err
	case s.object == nil || client.ObjectKeyFromObject(s.object) != key:
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	s.object.DeepCopyInto(into.(*v1alpha1.LiveMigration))
	return nil
}

func (s *shelf) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	if s.object != nil {
		into.(*v1alpha1.LiveMigrationList).Items = []v1alpha1.LiveMigration{*s.object}
	}
	return s.err
}

// unwritten is a recorder that takes nothing.
type unwritten struct{}

func (unwritten) Refresh(context.Context, *v1alpha1.LiveMigration) (*v1alpha1.LiveMigration, error) {
	return nil, agent.ErrGone
}

func (unwritten) RecordSource(context.Context, *v1alpha1.LiveMigration, agent.SourceReport, bool) error {
	return agent.ErrOutdated
}

func (unwritten) RecordTarget(context.Context, *v1alpha1.LiveMigration, *v1alpha1.TargetStatus) error {
	return agent.ErrOutdated
}

// TestAnObjectThatLeavesTheCache ends its session where it has ended or is gone, and
// not where that cannot be told.
func TestAnObjectThatLeavesTheCache(t *testing.T) {
	t.Parallel()
	waiting := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: "m", Namespace: "default", UID: "1"}}
	waiting.Status.TargetNode = "node-a"
	finished := waiting.DeepCopy()
	meta.SetStatusCondition(&finished.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue})
	elsewhere := waiting.DeepCopy()
	elsewhere.Status.TargetNode = "node-b"
	for name, c := range map[string]struct {
		live     shelf
		wantEnd  bool
		wantFail bool
	}{
		"it has ended":           {live: shelf{object: finished}, wantEnd: true},
		"it is gone":             {wantEnd: true},
		"it names another node":  {live: shelf{object: elsewhere}, wantEnd: true},
		"it is still there":      {live: shelf{object: waiting}},
		"the API server is away": {live: shelf{err: errors.New("unavailable")}, wantFail: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fleet := fake.NewFleet()
			defer fleet.Close()
			sessions := agent.NewTargetSessions(&agent.Node{
				Name: "node-a", Hypervisor: fleet.Host("node-a"), Recorder: unwritten{}, Clock: clock.RealClock{}, Log: logr.Discard(),
			})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = sessions.Start(ctx)
			}()
			defer func() {
				cancel()
				<-ended
			}()
			cached := &shelf{object: waiting}
			r := &SessionsReconciler{
				cached: cached, live: &c.live, sessions: sessions,
				names: func(lm *v1alpha1.LiveMigration) bool { return lm.Status.TargetNode == "node-a" },
			}
			key := types.NamespacedName{Namespace: "default", Name: "m"}
			reconcile := func() error {
				_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
				return err
			}
			await(t, "the session begins", func() bool { return reconcile() == nil && sessions.Serves(key) })
			cached.object = nil
			if err := reconcile(); (err != nil) != c.wantFail {
				t.Errorf("the error is %v", err)
			}
			if c.wantEnd {
				await(t, "the session ends", func() bool { return !sessions.Serves(key) })
				reads := c.live.reads
				if err := reconcile(); err != nil || c.live.reads != reads {
					t.Errorf("it is looked at again: %v", err)
				}
				return
			}
			time.Sleep(50 * time.Millisecond)
			if !sessions.Serves(key) {
				t.Error("the session has ended")
			}
		})
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
