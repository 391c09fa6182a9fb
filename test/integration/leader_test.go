//go:build integration

package integration

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers"
)

// startReplica runs one of several managers as cmd/virtferry does: over the whole
// cluster, and only while it leads. Tests that use it run alone.
func (w *world) startReplica() (stop func()) {
	w.t.Helper()
	return w.runManager(ctrl.Options{
		LeaderElection: true, LeaderElectionID: leaderLease, LeaderElectionNamespace: systemNamespace,
		LeaderElectionReleaseOnCancel: true, RetryPeriod: new(500 * time.Millisecond),
		Cache: controllers.CacheOptions(systemNamespace),
	}, managerSetup{clock: clock.RealClock{}, limits: plenty(), everywhere: true})
}

// leaderLease is the lease that the leader holds.
const leaderLease = "virtferry-manager"

// leader returns who leads, or nothing.
func (w *world) leader() string {
	w.t.Helper()
	lease := &coordinationv1.Lease{}
	err := cluster.client.Get(w.t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: leaderLease}, lease)
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// TestManagersTakeTurns runs two managers. One acts; the other takes over where
// that one ends, and goes on with what it finds.
func TestManagersTakeTurns(t *testing.T) {
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	stop := w.startReplica()
	w.awaitReady("a", "b")
	w.startReplica()
	first := w.leader()
	m := w.migrate(g, "b")
	acts := successfulMove(m, g, a, b)
	carryOut(m, acts[:5])
	if w.leader() != first {
		t.Fatalf("%s leads instead of %s", w.leader(), first)
	}
	w.requireEvents(m, v1alpha1.ReasonCheckingSource, v1alpha1.ReasonPreparingTarget, v1alpha1.ReasonStarting, v1alpha1.ReasonMigrating)
	stop()
	carryOut(m, acts[5:])
	if second := w.leader(); second == first || second == "" {
		t.Errorf("%q leads after %s ended", second, first)
	}
	w.requireEvents(m, v1alpha1.ReasonCheckingSource, v1alpha1.ReasonPreparingTarget, v1alpha1.ReasonStarting,
		v1alpha1.ReasonMigrating, v1alpha1.ReasonConfirming, v1alpha1.ReasonMigrated)
}
