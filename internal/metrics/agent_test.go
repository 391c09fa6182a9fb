package metrics

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func newAgent(nameGuests bool, jobs ...agent.Job) *Agent {
	return &Agent{
		Node: "node-a", NameGuests: nameGuests, Clock: testingclock.NewFakePassiveClock(epoch),
		Load: func() agent.Load {
			return agent.Load{Sending: 3, Receiving: 2, Jobs: jobs, SentBytes: 1 << 40, Connected: true, Active: 12, Inactive: 5, Certificates: []agent.CertificateEnd{
				{Use: "migration", Certificate: "server", End: time.Unix(1700000000, 0)},
			}}
		},
		Contact: func() hypervisor.Contact {
			return hypervisor.Contact{
				Control: hypervisor.Connects{Again: 1}, Events: hypervisor.Connects{Again: 2, Failed: 7}, Abandoned: 4, Hung: 1,
			}
		},
	}
}

func twoJobs() []agent.Job {
	return []agent.Job{
		{
			Namespace: "default", Name: "web-1", Guest: "web", MemoryRemainingBytes: 100, DiskRemainingBytes: 10, DirtyBytesPerSecond: 7,
			BytesPerSecond: 70, ThrottlePercent: 20, Moved: epoch.Add(-time.Minute),
		},
		{
			Namespace: "default", Name: "db-1", Guest: "db", MemoryRemainingBytes: 200, DirtyBytesPerSecond: 8,
			BytesPerSecond: 80, Moved: epoch.Add(time.Second),
		},
	}
}

func TestWhatAnAgentTells(t *testing.T) {
	t.Parallel()
	want := map[string]float64{
		"agent_jobs{node-a}": 2, "agent_jobs_remaining_bytes{memory,node-a}": 300, "agent_jobs_remaining_bytes{disk,node-a}": 10,
		"agent_jobs_dirty_bytes_per_second{node-a}": 15, "agent_jobs_transfer_bytes_per_second{node-a}": 150,
		"agent_jobs_throttle_ratio{node-a}": .2, "agent_jobs_standstill_seconds{node-a}": 60,
		"agent_sent_bytes_total{node-a}": 1 << 40, "agent_sessions{node-a,source}": 3, "agent_sessions{node-a,target}": 2,
		"agent_guests{node-a,active}": 12, "agent_guests{node-a,inactive}": 5, "agent_libvirt_connected{node-a}": 1,
		"agent_libvirt_reconnects_total{calls,node-a}": 1, "agent_libvirt_reconnects_total{events,node-a}": 2,
		"agent_libvirt_connect_failures_total{events,node-a}": 7, "agent_libvirt_calls_abandoned_total{node-a}": 4,
		"agent_libvirt_calls_hung{node-a}": 1, "agent_certificate_end_timestamp_seconds{server,node-a,migration}": 1700000000,
	}
	if diff := cmp.Diff(want, values(t, newAgent(false, twoJobs()...))); diff != "" {
		t.Errorf("what is told differs (-want +got):\n%s", diff)
	}
}

// TestGuestsAreNamedOnlyOnDemand: names of guests may be nobody's business, and make as
// many series as there are migrations.
func TestGuestsAreNamedOnlyOnDemand(t *testing.T) {
	t.Parallel()
	for _, d := range namingDefinitions() {
		if n := testutil.CollectAndCount(newAgent(false, twoJobs()...), d.name); n != 0 {
			t.Errorf("%s has %d series though nobody asked", d.name, n)
		}
	}
	got := values(t, newAgent(true, twoJobs()...))
	for key, want := range map[string]float64{
		"agent_job_remaining_bytes{web,memory,web-1,default,node-a}":    100,
		"agent_job_remaining_bytes{db,memory,db-1,default,node-a}":      200,
		"agent_job_dirty_bytes_per_second{db,db-1,default,node-a}":      8,
		"agent_job_transfer_bytes_per_second{web,web-1,default,node-a}": 70,
		"agent_job_throttle_ratio{web,web-1,default,node-a}":            .2,
		"agent_job_standstill_seconds{web,web-1,default,node-a}":        60,
	} {
		if got[key] != want {
			t.Errorf("%s is %v, not %v", key, got[key], want)
		}
	}
}

func TestTheAgentsMetricsAreAsDeclared(t *testing.T) {
	t.Parallel()
	requireDeclared(t, newAgent(true, twoJobs()...), append(agentDefinitions(), namingDefinitions()...))
}

func TestCaches(t *testing.T) {
	t.Parallel()
	c := Caches{"source": func() error { return nil }, "target": func() error { return errors.New("away") }}
	if diff := cmp.Diff(map[string]float64{"cache_up_to_date{source}": 1}, values(t, c)); diff != "" {
		t.Errorf("what is told differs (-want +got):\n%s", diff)
	}
	requireDeclared(t, c, []definition{defCaches})
}
