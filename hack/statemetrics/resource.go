package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// monitor is the object that resource-state-metrics takes. It puts kube_customresource_
// before the names of metrics, and adds the labels name, namespace, group, version and kind.
func monitor() object {
	stores := make([]object, 0, len(kinds()))
	for _, k := range kinds() {
		families := make([]object, 0, len(k.metrics))
		for _, m := range k.metrics {
			name := k.prefix + "_" + m.name
			families = append(families, object{
				"name": name, "help": m.help, "resolver": "starlark", "starlark": object{"script": m.script(name)},
			})
		}
		stores = append(stores, object{
			"group": v1alpha1.GroupName, "version": v1alpha1.GroupVersion.Version, "kind": k.name, "resource": k.plural,
			"families": families, "cardinalityLimit": mostSeries,
		})
	}
	return object{
		"apiVersion": "resource-state-metrics.instrumentation.k8s-sigs.io/v1alpha1",
		"kind":       "ResourceMetricsMonitor",
		"metadata": object{
			"name": "virtferry", "namespace": "virtferry-system", "labels": object{"app.kubernetes.io/name": "virtferry"},
		},
		"spec": object{"configuration": object{"stores": stores, "cardinalityLimit": mostSeries}},
	}
}

// mostSeries is beyond what ten thousand LiveMigrations have, of some forty series each.
// By default resource-state-metrics shows none any more from the hundred thousandth on.
const mostSeries = 1_000_000

// script is the Starlark by which resource-state-metrics makes the metric of an object. Its
// plain expressions log an error for each field that an object lacks, and most lack some.
func (m metric) script(name string) string {
	value, samples := m.starlark()
	return fmt.Sprintf("value = %s\nsamples = %s\nfamilies = [family(name=%q, help=%q, kind=\"gauge\", samples=samples)]\n", value, samples, name, m.help)
}

// starlark returns the expressions for the value of a metric's field and for its samples.
func (m metric) starlark() (value, samples string) {
	const onlyWithValue = "[] if value == None else "
	value = get("obj", m.field, "None")
	switch m.shape {
	case numberOrZero:
		return get("obj", m.field, "0"), "[metric(labels={}, value=float(value))]"
	case timestamp:
		return value, onlyWithValue + "[metric(labels={}, value=float(time.parse_time(value).unix))]"
	case info:
		return "1.0", "[metric(labels={" + m.starlarkLabels("obj") + "}, value=value)]"
	case states:
		return value, onlyWithValue + fmt.Sprintf("[metric(labels={%q: s}, value=1.0 if s == value else 0.0) for s in %s]", m.label, listOf(m.states))
	case conditions:
		return get("obj", m.field, "[]"), fmt.Sprintf("[metric(labels={%s, %q: s}, value=1.0 if s == %s else 0.0) for c in value for s in %s]",
			m.starlarkLabels("c"), m.label, get("c", m.label, "None"), listOf(m.states))
	case number:
	}
	return value, onlyWithValue + "[metric(labels={}, value=float(value))]"
}

// starlarkLabels are the metric's, of fields of an object.
func (m metric) starlarkLabels(of string) string {
	out := make([]string, 0, len(m.labels))
	for _, label := range slices.Sorted(maps.Keys(m.labels)) {
		out = append(out, fmt.Sprintf("%q: %s", label, get(of, m.labels[label], `""`)))
	}
	return strings.Join(out, ", ")
}

// get is the Starlark for a field of an object, and for what stands for one that is missing.
func get(of, field, missing string) string {
	parts := path(field)
	for i, part := range parts {
		if i == len(parts)-1 {
			return fmt.Sprintf("%s.get(%q, %s)", of, part, missing)
		}
		of = fmt.Sprintf("%s.get(%q, {})", of, part)
	}
	return of
}

func listOf(values []string) string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, fmt.Sprintf("%q", v))
	}
	return "[" + strings.Join(out, ", ") + "]"
}
