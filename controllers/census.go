package controllers

import (
	"maps"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/internal/metrics"
	"github.com/virtferry/virtferry/pkg/migration"
)

// census counts what the queue has, as it changes: to count it anew costs what there is
// of it, and the queue's own lock is held while the API server is waited for. A scrape
// costs the migrations that are under way, which the slots bound, and the nodes.
type census struct {
	limits migration.Limits
	clock  clock.PassiveClock

	mu sync.Mutex
	// phases are those of the migrations that have not ended, and stays since when each
	// has been in its phase, as far as this process has seen.
	phases map[types.UID]v1alpha1.LiveMigrationPhase
	stays  map[v1alpha1.LiveMigrationPhase]map[types.UID]time.Time
	// load is what was found with the last look for turns.
	load  migration.Load
	nodes map[string]metrics.NodeState
	// unreadable are the migrations that cannot be decoded.
	unreadable sets.Set[types.UID]
}

func newCensus(limits migration.Limits, c clock.PassiveClock) *census {
	return &census{
		limits: limits, clock: c, phases: map[types.UID]v1alpha1.LiveMigrationPhase{},
		stays: map[v1alpha1.LiveMigrationPhase]map[types.UID]time.Time{},
		nodes: map[string]metrics.NodeState{}, unreadable: sets.New[types.UID](),
	}
}

// put takes in a migration that has not ended.
func (c *census) put(lm *v1alpha1.LiveMigration) {
	phase := lm.Status.Phase
	if phase == "" {
		phase = v1alpha1.PhasePending
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phases[lm.UID] == phase {
		return
	}
	c.removeLocked(lm.UID)
	if c.stays[phase] == nil {
		c.stays[phase] = map[types.UID]time.Time{}
	}
	c.phases[lm.UID], c.stays[phase][lm.UID] = phase, c.clock.Now()
}

// remove forgets a migration that has ended, or is gone.
func (c *census) remove(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(uid)
}

func (c *census) removeLocked(uid types.UID) {
	delete(c.stays[c.phases[uid]], uid)
	delete(c.phases, uid)
}

// noteUnreadable says of a migration, whether it has ended or not, whether it cannot be
// decoded.
func (c *census) noteUnreadable(lm *v1alpha1.LiveMigration, unreadable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if unreadable {
		c.unreadable.Insert(lm.UID)
	} else {
		c.unreadable.Delete(lm.UID)
	}
}

func (c *census) noteLoad(load migration.Load) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.load = load
}

func (c *census) putNode(name string, state metrics.NodeState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[name] = state
}

func (c *census) removeNode(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.nodes, name)
}

// state says what there is now.
func (c *census) state() metrics.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	s := metrics.State{
		Phases: map[v1alpha1.LiveMigrationPhase]metrics.Stay{}, Waiting: maps.Clone(c.load.Waiting),
		Nodes: maps.Clone(c.nodes), UnreadableMigrations: c.unreadable.Len(),
	}
	for phase, stays := range c.stays {
		s.Phases[phase] = metrics.Stay{Count: len(stays), Longest: longest(phase, stays, now)}
	}
	if !c.load.Oldest.IsZero() {
		s.Oldest = max(0, now.Sub(c.load.Oldest))
	}
	ready := 0
	for _, state := range c.nodes {
		if state == metrics.NodeAvailable {
			ready++
		}
	}
	copying, preparing := c.limits.InAll(ready)
	s.Copying = metrics.Slots{Used: c.load.Copying, Free: max(0, copying-c.load.Copying)}
	s.Preparing = metrics.Slots{Used: c.load.Preparing, Free: max(0, preparing-c.load.Preparing)}
	return s
}

// longest is how long the one that has been in a phase for longest has been there. Those
// that have not begun may be many, and the queue tells their age.
func longest(phase v1alpha1.LiveMigrationPhase, stays map[types.UID]time.Time, now time.Time) time.Duration {
	var most time.Duration
	if phase == v1alpha1.PhasePending {
		return most
	}
	for _, since := range stays {
		most = max(most, now.Sub(since))
	}
	return most
}

// stateOf sums up what the manager makes of a node.
func stateOf(hv *v1alpha1.Hypervisor) metrics.NodeState {
	ready := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case caches.Unreadable(hv) != "":
		return metrics.NodeUnreadable
	case nodeOf(hv).Ready:
		return metrics.NodeAvailable
	case ready != nil && ready.Reason == v1alpha1.ReasonAgentLost:
		return metrics.NodeAgentLost
	default:
		return metrics.NodeDisconnected
	}
}
