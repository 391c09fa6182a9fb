//go:build linux

package main

import (
	"context"
	"time"
)

// countAll returns what each counter of outcomes has counted, by its name and its labels: of
// all that a manager shows from its start, whether it has come about or not.
func countAll(ctx context.Context, prometheus string, from, to time.Time) (map[string]float64, error) {
	out := map[string]float64{}
	for metric, legend := range map[string]string{
		"virtferry_migrations_ended_total":           "{{outcome}}: {{reason}}",
		"virtferry_migrations_forced_total":          "{{step}} by force: {{reason}}",
		"virtferry_migrations_aborted_total":         "Aborted: {{reason}}",
		"virtferry_post_copy_interrupted_total":      "Post-copy interrupted: {{outcome}}",
		"virtferry_migrations_post_copy_total":       "Post-copy",
		`virtferry_migrations{phase="Unknown"}`:      "Unknown",
		"virtferry_migration_downtime_seconds_count": "Downtime: {{switchover}}",
	} {
		found, err := ask(ctx, prometheus, metric, legend, from, to)
		if err != nil {
			return nil, err
		}
		for i := range found {
			out[found[i].name] += found[i].counted()
		}
	}
	return out, nil
}

// counted returns by how much a counter has grown, whose processes begin at zero.
func (s *series) counted() float64 {
	sum, last := 0.0, 0.0
	for _, p := range s.points {
		if p.value < last {
			last = 0
		}
		sum, last = sum+p.value-last, p.value
	}
	return sum
}
