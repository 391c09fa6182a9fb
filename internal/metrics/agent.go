package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Agent is what a node's agent tells Prometheus.
type Agent struct {
	// Node is the node's name, which every metric has as a label.
	Node string
	// NameGuests is whether there are metrics of each migration under way, with its name
	// and its guest's.
	NameGuests bool
	// Load and Contact say what there is at the moment. They are called with every
	// scrape.
	Load    func() agent.Load
	Contact func() hypervisor.Contact
	Clock   clock.PassiveClock
}

var _ prometheus.Collector = (*Agent)(nil)

func (a *Agent) definitions() []definition {
	if a.NameGuests {
		return append(agentDefinitions(), namingDefinitions()...)
	}
	return agentDefinitions()
}

func (a *Agent) constant() prometheus.Labels { return prometheus.Labels{labelNode: a.Node} }

// Describe implements prometheus.Collector.
func (a *Agent) Describe(out chan<- *prometheus.Desc) {
	for _, d := range a.definitions() {
		out <- d.desc(a.constant())
	}
}

// sender sends the value of a metric.
type sender func(d definition, value float64, labels ...string)

// Collect implements prometheus.Collector.
func (a *Agent) Collect(out chan<- prometheus.Metric) {
	send := func(d definition, value float64, labels ...string) {
		valueType := prometheus.GaugeValue
		if d.kind == counter {
			valueType = prometheus.CounterValue
		}
		out <- prometheus.MustNewConstMetric(d.desc(a.constant()), valueType, value, labels...)
	}
	load := a.Load()
	collectNode(&load, send)
	collectContact(a.Contact(), send)
	now := a.Clock.Now()
	collectJobs(load.Jobs, now, send)
	if a.NameGuests {
		for i := range load.Jobs {
			collectJob(&load.Jobs[i], now, send)
		}
	}
}

func collectNode(l *agent.Load, send sender) {
	send(defSessions, float64(l.Sending), "source")
	send(defSessions, float64(l.Receiving), "target")
	send(defSent, float64(l.SentBytes))
	send(defConnected, oneIf(l.Connected))
	send(defGuests, float64(l.Active), "active")
	send(defGuests, float64(l.Inactive), "inactive")
	for _, c := range l.Certificates {
		send(defCertificateEnd, float64(c.End.Unix()), c.Use, c.Certificate)
	}
}

func collectContact(c hypervisor.Contact, send sender) {
	for connection, n := range map[string]hypervisor.Connects{"calls": c.Control, "events": c.Events} {
		send(defReconnects, float64(n.Again), connection)
		send(defConnectFailures, float64(n.Failed), connection)
	}
	send(defAbandoned, float64(c.Abandoned))
	send(defHung, float64(c.Hung))
}

// collectJobs tells of all jobs together: what adds up as its sum, and of the rest the
// worst.
func collectJobs(jobs []agent.Job, now time.Time, send sender) {
	var memory, disk, dirty, transfer, throttle, standstill float64
	for i := range jobs {
		job := &jobs[i]
		memory += float64(job.MemoryRemainingBytes)
		disk += float64(job.DiskRemainingBytes)
		dirty += float64(job.DirtyBytesPerSecond)
		transfer += float64(job.BytesPerSecond)
		throttle = max(throttle, throttleOf(job))
		standstill = max(standstill, standstillOf(job, now))
	}
	send(defJobs, float64(len(jobs)))
	send(defJobsRemaining, memory, kindMemory)
	send(defJobsRemaining, disk, kindDisk)
	send(defJobsDirty, dirty)
	send(defJobsTransfer, transfer)
	send(defJobsThrottle, throttle)
	send(defJobsStandstill, standstill)
}

func collectJob(job *agent.Job, now time.Time, send sender) {
	one := []string{job.Namespace, job.Name, job.Guest}
	send(defJobRemaining, float64(job.MemoryRemainingBytes), job.Namespace, job.Name, job.Guest, kindMemory)
	send(defJobRemaining, float64(job.DiskRemainingBytes), job.Namespace, job.Name, job.Guest, kindDisk)
	send(defJobDirty, float64(job.DirtyBytesPerSecond), one...)
	send(defJobTransfer, float64(job.BytesPerSecond), one...)
	send(defJobThrottle, throttleOf(job), one...)
	send(defJobStandstill, standstillOf(job, now), one...)
}

func throttleOf(job *agent.Job) float64 { return float64(job.ThrottlePercent) / 100 }

func standstillOf(job *agent.Job, now time.Time) float64 { return span(job.Moved, now) }
