//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/migration"
)

// check compares nothing: the scripted hypervisors know no more than they have told.
func (*world) check(context.Context, time.Time, time.Time) (compared int, wrong []string, err error) {
	return 0, nil, nil
}

// check compares what Prometheus was told with what the statuses and libvirt say.
func (w *labWorld) check(ctx context.Context, from, to time.Time) (compared int, wrong []string, err error) {
	all := &v1alpha1.LiveMigrationList{}
	if err := w.api.List(ctx, all); err != nil {
		return 0, nil, fmt.Errorf("listing the migrations: %w", err)
	}
	want := statusesSay(all.Items)
	libvirt, err := w.libvirtSays(ctx)
	if err != nil {
		return 0, nil, err
	}
	maps.Copy(want, libvirt)
	got, err := prometheusSays(ctx, w.address, from, to)
	if err != nil {
		return 0, nil, err
	}
	if w.lostCounts.Load() {
		// What it had counted went with it.
		return 0, []string{"nothing can be compared with what was, as a manager has ended by itself, such as for want of processors: run this again"}, nil
	}
	return len(want), differences(want, got), nil
}

// differences says where two tables of numbers differ. What only got has must be zero.
func differences(want, got map[string]float64) []string {
	names := map[string]bool{}
	for name := range want {
		names[name] = true
	}
	for name := range got {
		names[name] = true
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		// Sums of fractions are not exact.
		if math.Abs(want[name]-got[name]) > 1e-6*math.Abs(want[name]) {
			out = append(out, fmt.Sprintf("%s is %g by the metrics, and should be %g", name, got[name], want[name]))
		}
	}
	return out
}

// statusesSay adds up what the metrics of ended migrations are made of.
func statusesSay(all []v1alpha1.LiveMigration) map[string]float64 {
	out := map[string]float64{}
	for i := range all {
		lm := &all[i]
		st, source := &lm.Status, migration.CurrentSource(lm)
		if !migration.Finished(lm) {
			continue
		}
		if migration.DryRun(lm) {
			out[fmt.Sprintf("dry runs %s: %s", st.Phase, reasonOf(lm))]++
			continue
		}
		out[fmt.Sprintf("ended %s: %s", st.Phase, reasonOf(lm))]++
		if st.DowntimeMilliseconds != nil && st.Phase == v1alpha1.PhaseSucceeded {
			out["downtimes"]++
			out["downtime in seconds"] += float64(*st.DowntimeMilliseconds) / 1000
		}
		if st.Attempt != nil && !migration.MovesNothing(lm) {
			out[fmt.Sprintf("from %s to %s: %s", st.SourceNode, st.TargetNode, st.Phase)]++
		}
		if p := st.Progress; p != nil && source != nil {
			out["passes"] += float64(p.MemoryIteration)
			if p.Memory != nil {
				out["bytes of memory"] += float64(p.Memory.ProcessedBytes)
			}
			if p.Disk != nil {
				out["bytes of disk"] += float64(p.Disk.ProcessedBytes)
			}
		}
	}
	return out
}

// prometheusSays asks for the same.
func prometheusSays(ctx context.Context, prometheus string, from, to time.Time) (map[string]float64, error) {
	out := map[string]float64{}
	for metric, legend := range map[string]string{
		"virtferry_migrations_ended_total":         "ended {{outcome}}: {{reason}}",
		"virtferry_dry_runs_ended_total":           "dry runs {{outcome}}: {{reason}}",
		"virtferry_migrations_between_nodes_total": "from {{source_node}} to {{target_node}}: {{outcome}}",
		"virtferry_migration_downtime_seconds_sum": "downtime in seconds",
		// The standstill of a guest that was counted, by whatever completed its migration.
		"virtferry_migration_downtime_seconds_count": "downtimes",
		"virtferry_migration_transferred_bytes_sum":  "bytes of {{kind}}",
		"virtferry_migration_passes_sum":             "passes",
	} {
		found, err := ask(ctx, prometheus, metric, legend, from, to)
		if err != nil {
			return nil, err
		}
		for i := range found {
			out[found[i].name] += found[i].counted()
		}
	}
	// Where the guests are, as of now.
	found, err := ask(ctx, prometheus, "virtferry_agent_guests", "guests on {{node}}, {{state}}", to, to)
	for i := range found {
		out[found[i].name] = found[i].points[0].value
	}
	return out, err
}

// libvirtSays counts the guests of each host.
func (w *labWorld) libvirtSays(ctx context.Context) (map[string]float64, error) {
	out := map[string]float64{}
	for _, h := range w.lab.Hosts() {
		for state, flags := range map[string][]string{"active": nil, "inactive": {"--inactive"}} {
			names, err := h.Virsh(ctx, append([]string{"list", "--name"}, flags...)...)
			if err != nil {
				return nil, err
			}
			out[fmt.Sprintf("guests on %s, %s", h.Name(), state)] = float64(len(strings.Fields(names)))
		}
	}
	return out, nil
}
