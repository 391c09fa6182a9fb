//go:build integration

package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/migration"
)

// requireCondition fails unless a condition is as wanted.
func requireCondition(t *testing.T, c *metav1.Condition, status metav1.ConditionStatus, reason, message string) {
	t.Helper()
	if c == nil || c.Status != status || c.Reason != reason || c.Message != message {
		t.Errorf("the condition is %v, want %s %s: %s", c, status, reason, message)
	}
}

// TestAgentPublishesItsNode writes a Hypervisor that is not there yet.
func TestAgentPublishesItsNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a := w.newAgent("a")
	if err := cluster.client.Delete(t.Context(), w.hypervisor("a")); err != nil {
		t.Fatal(err)
	}
	a.publish(g.running())
	st := w.hypervisor("a").Status
	requireCondition(t, meta.FindStatusCondition(st.Conditions, v1alpha1.ConditionLibvirtConnected), metav1.ConditionTrue,
		v1alpha1.ReasonConnected, "The agent is connected to libvirt")
	st.Conditions = nil
	want := v1alpha1.HypervisorStatus{
		HostUUID: a.hostUUID, LibvirtVersion: "9.0.0", HypervisorVersion: "7.2.0", MigrationAddress: "192.0.2.1",
		Domains: []v1alpha1.HypervisorDomain{g.running()},
	}
	if diff := cmp.Diff(want, st); diff != "" {
		t.Errorf("the status differs (-want +got):\n%s", diff)
	}
	a.leaves(g)
	if domains := w.hypervisor("a").Status.Domains; len(domains) != 0 {
		t.Errorf("guests are left over: %v", domains)
	}
}

// TestNodeIsReadyWhileItsAgentLives and talks to libvirt.
func TestNodeIsReadyWhileItsAgentLives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(clock.RealClock{})
	const lost = "The agent has stopped renewing its lease. Ask an administrator to check whether its pod is running"
	a := w.newAgent("a")
	requireCondition(t, w.awaitCondition("a", metav1.ConditionUnknown), metav1.ConditionUnknown, v1alpha1.ReasonAgentLost, lost)
	a.publish()
	renewed := time.Now()
	a.check(a.renewFor(2))
	ready := w.awaitCondition("a", metav1.ConditionTrue)
	requireCondition(t, ready, metav1.ConditionTrue, v1alpha1.ReasonAvailable, "The agent is running and connected to libvirt")
	workers := meta.FindStatusCondition(w.hypervisor("a").Status.Conditions, v1alpha1.ConditionWorkersSufficient)
	if workers == nil || workers.Reason != v1alpha1.ReasonWorkersUnknown {
		t.Errorf("the condition of the workers is %v", workers)
	}

	// It is lost, without any news, when its lease runs out.
	requireCondition(t, w.awaitCondition("a", metav1.ConditionUnknown), metav1.ConditionUnknown, v1alpha1.ReasonAgentLost, lost)
	if early := time.Since(renewed); early < 2*time.Second {
		t.Errorf("the agent was called lost after %s", early)
	}
	a.heartbeat()
	w.awaitReady("a")

	a.check(a.report(false, "The agent cannot reach libvirt: no such socket"))
	requireCondition(t, w.awaitCondition("a", metav1.ConditionFalse), metav1.ConditionFalse, v1alpha1.ReasonDisconnected,
		"The agent cannot reach libvirt: no such socket")
	a.publish()
	w.awaitReady("a")
}

// TestLostAgentStaysLostForAnotherManager, which has not seen when the lease was
// renewed last, until it is renewed.
func TestLostAgentStaysLostForAnotherManager(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	a.publish()
	stop := w.startManager(clock.RealClock{})
	a.check(a.renewFor(2))
	w.awaitReady("a")
	w.awaitCondition("a", metav1.ConditionUnknown)
	stop()
	before := w.hypervisor("a").ResourceVersion
	w.startManager(clock.RealClock{})
	time.Sleep(time.Second)
	if w.hypervisor("a").ResourceVersion != before {
		t.Errorf("the Hypervisor was written to: %v", w.hypervisor("a").Status.Conditions)
	}
	a.heartbeat()
	w.awaitReady("a")
}

// TestLeaseIsMeasuredByTheManagersClock to the moment, whatever the agent takes
// the time to be.
func TestLeaseIsMeasuredByTheManagersClock(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"same": 0, "late": -time.Hour, "early": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			now := clocktesting.NewFakeClock(time.Now())
			reconcile := w.hypervisorReconciler(now)
			agentClock := clocktesting.NewFakePassiveClock(now.Now().Add(skew))
			a := w.newAgent("a")
			a.publisher.Clock = agentClock
			a.heartbeat()
			a.publish()
			for range 3 {
				if wait := reconcile(metav1.ConditionTrue); wait < agent.HeartbeatTimeout || wait > agent.HeartbeatTimeout+time.Second {
					t.Errorf("the next look is in %s", wait)
				}
				now.Step(agent.HeartbeatTimeout - time.Millisecond)
				reconcile(metav1.ConditionTrue)
				agentClock.SetTime(agentClock.Now().Add(agent.HeartbeatInterval))
				a.heartbeat()
			}
			reconcile(metav1.ConditionTrue)
			now.Step(agent.HeartbeatTimeout)
			if wait := reconcile(metav1.ConditionUnknown); wait != 0 {
				t.Errorf("a lost agent is looked at again in %s", wait)
			}
		})
	}
}

// hypervisorReconciler returns a function that reconciles the node a, checks its
// readiness, and returns when to look again.
func (w *world) hypervisorReconciler(now clock.Clock) func(metav1.ConditionStatus) time.Duration {
	w.t.Helper()
	mgr, err := ctrl.NewManager(cluster.config, ctrl.Options{
		Scheme: cluster.scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	r := &controllers.HypervisorReconciler{Client: cluster.client, Clock: now, Namespace: systemNamespace}
	if err := r.SetupWithManager(mgr); err != nil {
		w.t.Fatal(err)
	}
	return func(want metav1.ConditionStatus) time.Duration {
		w.t.Helper()
		result, err := r.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: w.node("a")}})
		if err != nil {
			w.t.Fatal(err)
		}
		ready := meta.FindStatusCondition(w.hypervisor("a").Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != want {
			w.t.Errorf("Ready is %v, want %s", ready, want)
		}
		return result.RequeueAfter
	}
}

// TestMigrationWaitsForANodeToBecomeReady for a short while, and goes on as soon
// as it does.
func TestMigrationWaitsForANodeToBecomeReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	w.startAgent("a", g.running())
	b := w.newAgent("b")
	w.startManager(clock.RealClock{})
	w.awaitReady("a")
	w.awaitCondition("b", metav1.ConditionUnknown)
	m := w.migrate(g, "b")
	want := "The guest stays on " + w.node("a") + ", as the target node " + b.node + " is not ready: The agent has stopped renewing its lease. " +
		"Ask an administrator to check whether its pod is running. Create another LiveMigration when it is ready, or one with another target"
	// The manager may not have read yet what it has just written of the node.
	m.await("to be told why it waits", func(lm *v1alpha1.LiveMigration) bool {
		return succeeded(lm).Reason == v1alpha1.ReasonResolving && succeeded(lm).Message == want
	})
	b.heartbeat()
	b.publish()
	st := m.awaitReason(v1alpha1.ReasonCheckingSource).Status
	if waited := st.Attempt.AdmittedTime.Sub(st.StartTime.Time); waited >= migration.ResolveGrace {
		t.Errorf("it went on after %s, when its time was over anyway", waited)
	}
}

// TestAUUIDIsWrittenInOneWay: libvirt takes others for that of the same guest.
func TestAUUIDIsWrittenInOneWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a := w.newAgent("a")
	d := g.running()
	d.UUID = strings.ReplaceAll(g.uuid, "-", "") + "    "
	a.guests.domains = []v1alpha1.HypervisorDomain{d}
	if err := a.report(true, ""); err == nil {
		t.Errorf("the API server takes the UUID %q", d.UUID)
	}
}
