//go:build integration

package integration

import (
	"maps"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// startCountingManager runs a manager and returns what it tells Prometheus.
func (w *world) startCountingManager() (told *prometheus.Registry, stop func()) {
	w.t.Helper()
	told = prometheus.NewPedanticRegistry()
	stop = w.runManager(ctrl.Options{Cache: w.cacheOptions()}, managerSetup{clock: clock.RealClock{}, limits: plenty(), metrics: told})
	return told, stop
}

// metric returns the value of a counter or gauge, or the count of a histogram, with
// these labels among others; 0 where there is none.
func metric(t *testing.T, told *prometheus.Registry, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := told.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				if _, asked := labels[l.GetName()]; asked {
					has[l.GetName()] = l.GetValue()
				}
			}
			if f.GetName() == name && maps.Equal(has, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// requireMetric waits until a metric has a value.
func (w *world) requireMetric(told *prometheus.Registry, name string, labels map[string]string, want float64) {
	w.t.Helper()
	var got float64
	if !poll(w.t.Context(), func() bool { got = metric(w.t, told, name, labels); return got == want }) {
		w.t.Errorf("%s%v is %v, not %v", name, labels, got, want)
	}
}

// TestEachEndIsCountedOnce: by the manager that writes it, and not again by one that
// finds it.
func TestEachEndIsCountedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	a, b := w.startAgent("a", g.running()), w.startAgent("b")
	told, stop := w.startCountingManager()
	w.awaitReady("a", "b")
	ready := map[string]string{"state": "Available"}
	migrated := map[string]string{"outcome": "Succeeded", "reason": v1alpha1.ReasonMigrated}
	w.requireMetric(told, "virtferry_hypervisors", ready, 2)

	m := w.migrate(g, "b")
	acts := successfulMove(m, g, a, b)
	halfway := slices.IndexFunc(acts, func(a act) bool { return a.name == "half is copied" })
	carryOut(m, acts[:halfway])
	w.requireMetric(told, "virtferry_migrations", map[string]string{"phase": "Migrating"}, 1)
	w.requireMetric(told, "virtferry_slots_used", map[string]string{"kind": "copying"}, 1)
	carryOut(m, acts[halfway:])
	w.requireMetric(told, "virtferry_migrations_ended_total", migrated, 1)
	w.requireMetric(told, "virtferry_migration_duration_seconds", map[string]string{"outcome": "Succeeded"}, 1)
	w.requireMetric(told, "virtferry_migrations", map[string]string{"phase": "Migrating"}, 0)
	w.requireMetric(told, "virtferry_slots_used", map[string]string{"kind": "copying"}, 0)
	stop()

	told, _ = w.startCountingManager()
	w.requireMetric(told, "virtferry_hypervisors", ready, 2)
	cancelled := w.newMigration(g, "a")
	cancelled.Annotations = map[string]string{v1alpha1.AnnotationCancel: "1"}
	w.follow(cancelled).awaitReason(v1alpha1.ReasonCancelled)
	w.requireMetric(told, "virtferry_migrations_ended_total", map[string]string{"outcome": "Cancelled", "reason": v1alpha1.ReasonCancelled}, 1)
	if n := metric(t, told, "virtferry_migrations_ended_total", migrated); n != 0 {
		t.Errorf("%v that had ended before were counted", n)
	}
}
