package node

import (
	"context"
	"testing"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

func TestNaming(t *testing.T) {
	t.Parallel()
	lm := &v1alpha1.LiveMigration{}
	lm.Status.SourceNode, lm.Status.TargetNode = "a", "b"
	for _, c := range []struct {
		field, node string
		want        bool
	}{
		{SourceNodeField, "a", true},
		{SourceNodeField, "b", false},
		{TargetNodeField, "a", false},
		{TargetNodeField, "b", true},
	} {
		if got := naming(c.field, c.node)(lm); got != c.want {
			t.Errorf("%s %s: %t", c.field, c.node, got)
		}
	}
}

// TestUnreadableObjects: what cannot be decoded begins no session, be it there at the start or
// later. Nothing is begun before the sessions have been started.
func TestUnreadableObjects(t *testing.T) {
	t.Parallel()
	readable := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{Name: "m", Namespace: "default", UID: "1"}}
	readable.Status.TargetNode = "node-a"
	unreadable := readable.DeepCopy()
	unreadable.Annotations = map[string]string{caches.UnreadableMark: "it is broken"}
	key := types.NamespacedName{Namespace: "default", Name: "m"}
	fleet := fake.NewFleet()
	defer fleet.Close()
	sessions := agent.NewTargetSessions(&agent.Node{
		Name: "node-a", Hypervisor: fleet.Host("node-a"), Recorder: unwritten{}, Clock: clock.RealClock{}, Log: logr.Discard(),
	})
	cached := &shelf{object: unreadable}
	r := &SessionsReconciler{cached: cached, live: &shelf{}, sessions: sessions, names: naming(TargetNodeField, "node-a")}
	reconcile := func() ctrl.Result {
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	if got := reconcile(); got.RequeueAfter != startRetry || cached.reads != 0 {
		t.Errorf("before the start: %+v, %d reads", got, cached.reads)
	}
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
	await(t, "the sessions begin", func() bool { return reconcile().RequeueAfter == 0 })
	if sessions.Serves(key) {
		t.Error("what cannot be decoded has a session")
	}
	cached.object = readable
	reconcile()
	if !sessions.Serves(key) {
		t.Error("what can be decoded again has none")
	}
}
