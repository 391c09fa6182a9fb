package queries

import (
	"strings"
	"testing"
)

func TestProblemsOfQueries(t *testing.T) {
	t.Parallel()
	c, err := New(map[string][]string{"kube_node_spec_unschedulable": {"node"}})
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		`max(virtferry_migrations{phase="Unknown"}) > 0`:                                                                     "",
		`max(virtferry_migrations{phase="Lost"}) > 0`:                                                                        `never is "Lost"`,
		`max(virtferry_migrations{state="Unknown"}) > 0`:                                                                     `no label "state"`,
		`max(virtferry_migrations{phase=~"Unknown|Recovering"}) > 0`:                                                         "",
		`max(virtferry_migrations{phase=~"Unknown|Recover"}) > 0`:                                                            `never is "Recover"`,
		`max(virtferry_migrations{phase!="NotKnown"}) > 0`:                                                                   `never is "NotKnown"`,
		`max(virtferry_migration{phase="Unknown"}) > 0`:                                                                      "there is no metric virtferry_migration",
		`max by (phase) (virtferry_migrations)`:                                                                              "",
		`max by (node) (virtferry_migrations)`:                                                                               `no label "node"`,
		`max(virtferry_migrations) by (phase)`:                                                                               "",
		`max(virtferry_migrations) by (node)`:                                                                                `no label "node"`,
		`max(rate(virtferry_agent_sent_bytes_total[5m])) by (node) or max(virtferry_migrations) by (phase)`:                  "",
		`max(virtferry_migrations {phase="Lost"}) > 0`:                                                                       `never is "Lost"`,
		`max(virtferry_migrations{phase='Lost'}) > 0`:                                                                        "double quotes",
		`max({__name__="virtferry_migrations"}) > 0`:                                                                         "there is no metric",
		`min by (pod, instance, cache) (virtferry_cache_up_to_date) == 0`:                                                    "",
		`sum by (le, outcome) (increase(virtferry_migration_duration_seconds_bucket[1h]))`:                                   "",
		`sum by (le) (increase(virtferry_migration_duration_seconds_count[1h]))`:                                             `no label "le"`,
		`sum(virtferry_migration_downtime_ratio_bucket{le=~"1|1[.]0"})`:                                                      "",
		`sum(virtferry_migration_downtime_ratio_bucket{le="1.01"})`:                                                          `never is "1\\.01"`,
		`max by (node) (virtferry_agent_guests{state="active"}) and on (node) max by (node) (kube_node_spec_unschedulable)`:  "",
		`max by (node) (virtferry_agent_guests{state="active"}) and on (nodes) max by (node) (kube_node_spec_unschedulable)`: `no label "nodes"`,
		`max by (phase) (virtferry_migrations) or max by (node) (virtferry_agent_jobs_standstill_seconds{node="anything"})`:  "",
		`max by (phase) (virtferry_migrations) or max by (phase) (virtferry_agent_jobs_standstill_seconds{node="anything"})`: `no label "phase"`,
		`sum by (source_node) (virtferry_migrations_between_nodes_total{source_node="$node", outcome=~"Failed|Cancelled"})`:  "",
		`sum by (source_node) (virtferry_migrations_between_nodes_total{source_node="$node", outcome=~"Failed|(Cancelled"})`: "missing closing",
	} {
		got := strings.Join(c.Problems(query), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}
