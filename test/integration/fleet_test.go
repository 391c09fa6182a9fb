//go:build integration

package integration

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// In these tests agents are real, too; only their hypervisors are made up.

// runAgent runs a node's agent as cmd/virtferry does, with its own token, until
// stop or the test's end.
func (w *world) runAgent(sim *agentSim, host *fake.Host) (stop func()) {
	w.t.Helper()
	mgr, err := ctrl.NewManager(sim.config, ctrl.Options{
		Scheme: cluster.scheme, Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	n := &agent.Node{
		Name: sim.node, Hypervisor: host, Clock: clock.RealClock{}, Log: logr.Discard(),
		Recorder: node.NewRecorder(mgr.GetClient(), mgr.GetAPIReader(), time.Now()),
		Receive: agent.ReceiveConfig{
			Endpoint:      v1alpha1.TargetEndpoint{Address: sim.node, Transport: v1alpha1.TransportTCP},
			ListenAddress: netip.MustParseAddr("192.0.2.1"), SerialPorts: agent.PortRange{First: 10000, Last: 10999},
		},
	}
	recorder := &node.HypervisorRecorder{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Node: sim.node, Namespace: systemNamespace, Clock: clock.RealClock{},
	}
	if err := recorder.Watch(w.t.Context(), mgr); err != nil {
		w.t.Fatal(err)
	}
	if err := mgr.Add(agent.NewPublisher(n, recorder)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := node.SetupSessions(mgr, "source", node.SourceNodeField, sim.node, agent.NewSourceSessions(n)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := node.SetupSessions(mgr, "target", node.TargetNodeField, sim.node, agent.NewTargetSessions(n)); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("the agent of %s ended: %v", sim.node, err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// newFleet returns a fleet of made-up hypervisors that lasts as long as the test.
func newFleet(t *testing.T) *fake.Fleet {
	t.Helper()
	fleet := fake.NewFleet()
	t.Cleanup(fleet.Close)
	return fleet
}

// TestGuestsMoveBetweenRealAgents moves several guests around a ring of three
// nodes at once, while all agents are restarted, one after the other.
func TestGuestsMoveBetweenRealAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	letters := []string{"a", "b", "c"}
	guests, _ := w.newGuests(2 * len(letters))
	for i, g := range guests {
		fleet.Host(w.node(letters[i%len(letters)])).AddGuest(fake.Guest{
			UUID: g.uuid, Name: g.name, Persistent: i%2 == 0, MemoryBytes: 2 << 30,
		})
	}
	w.startManager(clock.RealClock{})
	sims, stops := map[string]*agentSim{}, map[string]func(){}
	for _, letter := range letters {
		sims[letter] = w.newAgent(letter)
		stops[letter] = w.runAgent(sims[letter], fleet.Host(w.node(letter)))
	}
	w.awaitReady(letters...)
	targets := map[guest]string{}
	var moves []*move
	for i, g := range guests {
		targets[g] = letters[(i+1)%len(letters)]
		moves = append(moves, w.migrate(g, targets[g]))
	}
	for _, letter := range letters {
		time.Sleep(500 * time.Millisecond)
		stops[letter]()
		stops[letter] = w.runAgent(sims[letter], fleet.Host(w.node(letter)))
	}
	for i, g := range guests {
		moves[i].awaitReason(v1alpha1.ReasonMigrated)
		if on := fleet.RunningOn(g.uuid); !slices.Equal(on, []string{w.node(targets[g])}) {
			t.Errorf("the guest %d runs on %v, not on %s", i, on, targets[g])
		}
		if n := fleet.Count(fake.MethodMigrate, g.uuid); n != 1 {
			t.Errorf("the migration of the guest %d was started %d times", i, n)
		}
		// An agent that has missed the end of the copy completes the progress when it learns of it.
		lm := moves[i].await("the whole progress", func(lm *v1alpha1.LiveMigration) bool {
			return lm.Status.Progress != nil && lm.Status.Progress.Percent == 100
		})
		for _, call := range fleet.Calls() {
			if call.UUID == g.uuid && call.Host != lm.Status.SourceNode && call.Host != lm.Status.TargetNode {
				t.Errorf("the guest %d is of interest to %s: %s", i, call.Host, call.Method)
			}
		}
		w.requireNoEventTwice(moves[i])
	}
	for _, m := range moves {
		m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	}
}

// TestRealAgentsAbort a migration whose object is deleted.
func TestRealAgentsAbort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	g := w.newGuest("web")
	// The guest writes to its memory faster than it can be copied.
	fleet.Host(w.node("a")).AddGuest(fake.Guest{UUID: g.uuid, Name: g.name, MemoryBytes: 4 << 30, DirtyBytesPerSecond: 4 << 30})
	w.startManager(clock.RealClock{})
	for _, letter := range []string{"a", "b"} {
		w.runAgent(w.newAgent(letter), fleet.Host(w.node(letter)))
	}
	w.awaitReady("a", "b")
	m := w.migrate(g, "b")
	m.awaitReason(v1alpha1.ReasonMigrating)
	m.delete(t.Context())
	m.awaitCancelled()
	if on := fleet.RunningOn(g.uuid); !slices.Equal(on, []string{w.node("a")}) {
		t.Errorf("the guest runs on %v", on)
	}
}
