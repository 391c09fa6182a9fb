package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// State is what there is at the moment.
type State struct {
	// Phases are the migrations that have not ended.
	Phases map[v1alpha1.LiveMigrationPhase]Stay
	// Waiting counts those that wait, by what for, and Oldest is the age of the oldest
	// of them.
	Waiting map[migration.Wait]int
	Oldest  time.Duration
	// Copying and Preparing are the slots.
	Copying, Preparing Slots
	// Nodes are the nodes that have a Hypervisor.
	Nodes map[string]NodeState
	// UnreadableMigrations counts the LiveMigrations that cannot be decoded.
	UnreadableMigrations int
}

// Stay is how many migrations are in a phase, and for how long the longest has been.
type Stay struct {
	Count   int
	Longest time.Duration
}

// Slots are how many slots of a kind are used, and how many more might be.
type Slots struct{ Used, Free int }

// NodeState is what the manager makes of a node.
type NodeState string

// The states of a node.
const (
	// NodeAvailable: migrations can use it.
	NodeAvailable NodeState = v1alpha1.ReasonAvailable
	// NodeDisconnected: its agent cannot reach libvirt, or has not reported yet.
	NodeDisconnected NodeState = v1alpha1.ReasonDisconnected
	// NodeAgentLost: its agent gives no sign of life.
	NodeAgentLost NodeState = v1alpha1.ReasonAgentLost
	// NodeUnreadable: its Hypervisor cannot be decoded.
	NodeUnreadable NodeState = "Unreadable"
)

// Manager is what the manager tells Prometheus.
type Manager struct {
	state func() (State, bool)

	ended, dryRuns, between, forced, postCopies, interrupted, recoveries, aborted     *prometheus.CounterVec
	duration, queueWait, preparation, downtime, downtimeRatio, transferred, numPasses *prometheus.HistogramVec
}

var _ prometheus.Collector = (*Manager)(nil)

// NewManager returns the metrics of a manager that has counted nothing. State returns
// what there is at the moment, and false where another manager leads. It is called with
// every scrape.
func NewManager(state func() (State, bool)) *Manager {
	m := &Manager{
		state: state,
		ended: defEnded.counterVec(), dryRuns: defDryRuns.counterVec(), between: defBetween.counterVec(), forced: defForced.counterVec(), postCopies: defPostCopies.counterVec(),
		interrupted: defInterrupted.counterVec(), recoveries: defRecoveries.counterVec(), aborted: defAborted.counterVec(),
		duration: defDuration.histogramVec(), queueWait: defQueueWait.histogramVec(), preparation: defPreparation.histogramVec(),
		downtime: defDowntime.histogramVec(), downtimeRatio: defDowntimeRatio.histogramVec(),
		transferred: defBytes.histogramVec(), numPasses: defPasses.histogramVec(),
	}
	m.begin()
	return m
}

// andOther returns these reasons and that for all others. The list itself is shared.
func andOther(reasons []string) []string { return slices.Concat(reasons, []string{reasonOther}) }

// beginOutcomes is begin for what is counted by outcome.
func (m *Manager) beginOutcomes() {
	for outcome, reasons := range endReasons {
		m.duration.WithLabelValues(string(outcome))
		for _, reason := range andOther(reasons) {
			m.ended.WithLabelValues(string(outcome), reason)
		}
	}
	for outcome, reasons := range dryRunReasons {
		for _, reason := range andOther(reasons) {
			m.dryRuns.WithLabelValues(string(outcome), reason)
		}
	}
}

// begin makes every series that there may be, so that its first increase can be seen.
func (m *Manager) begin() {
	m.beginOutcomes()
	for _, step := range []string{stepPostCopy, stepPause} {
		for _, reason := range andOther(forceReasons) {
			m.forced.WithLabelValues(step, reason)
		}
	}
	for _, reason := range andOther(abortReasons) {
		m.aborted.WithLabelValues(reason)
	}
	for _, outcome := range []string{postCopyResumed, postCopyNotResumed} {
		m.interrupted.WithLabelValues(outcome)
	}
	for _, switchover := range slices.Concat(switchovers, []v1alpha1.SwitchoverReason{v1alpha1.SwitchoverReason(reasonOther)}) {
		m.downtime.WithLabelValues(string(switchover))
		m.downtimeRatio.WithLabelValues(string(switchover))
	}
	for _, kind := range []string{kindMemory, kindDisk} {
		m.transferred.WithLabelValues(kind)
	}
	for _, vec := range []*prometheus.CounterVec{m.postCopies, m.recoveries} {
		vec.WithLabelValues()
	}
	for _, vec := range []*prometheus.HistogramVec{m.queueWait, m.preparation, m.numPasses} {
		vec.WithLabelValues()
	}
}

func (m *Manager) counted() []prometheus.Collector {
	return []prometheus.Collector{
		m.ended, m.dryRuns, m.between, m.forced, m.postCopies, m.interrupted, m.recoveries, m.aborted,
		m.duration, m.queueWait, m.preparation, m.downtime, m.downtimeRatio, m.transferred, m.numPasses,
	}
}

// Describe implements prometheus.Collector.
func (m *Manager) Describe(out chan<- *prometheus.Desc) {
	for _, d := range managerDefinitions() {
		if d.kind == gauge {
			out <- d.desc(nil)
		}
	}
	for _, c := range m.counted() {
		c.Describe(out)
	}
}

// Collect implements prometheus.Collector.
func (m *Manager) Collect(out chan<- prometheus.Metric) {
	if state, leads := m.state(); leads {
		collectState(&state, out)
	}
	for _, c := range m.counted() {
		c.Collect(out)
	}
}

func collectState(s *State, out chan<- prometheus.Metric) {
	send := func(d definition, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d.desc(nil), prometheus.GaugeValue, value, labels...)
	}
	for _, phase := range unendedPhases {
		stay := s.Phases[phase]
		send(defPhases, float64(stay.Count), string(phase))
		if phase != v1alpha1.PhasePending {
			send(defLongest, stay.Longest.Seconds(), string(phase))
		}
	}
	for _, wait := range migration.Waits() {
		send(defQueueLength, float64(s.Waiting[wait]), string(wait))
	}
	send(defQueueOldest, s.Oldest.Seconds())
	for kind, slots := range map[string]Slots{kindCopying: s.Copying, kindPreparing: s.Preparing} {
		send(defSlotsUsed, float64(slots.Used), kind)
		send(defSlotsFree, float64(slots.Free), kind)
	}
	states := map[NodeState]int{NodeAvailable: 0, NodeDisconnected: 0, NodeAgentLost: 0, NodeUnreadable: 0}
	for node, state := range s.Nodes {
		states[state]++
		send(defHypervisorReady, oneIf(state == NodeAvailable), node)
		send(defHypervisorLost, oneIf(state == NodeAgentLost), node)
	}
	for state, count := range states {
		send(defHypervisors, float64(count), string(state))
	}
	send(defUnreadable, float64(s.UnreadableMigrations), "LiveMigration")
	send(defUnreadable, float64(states[NodeUnreadable]), "Hypervisor")
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
