package main

import (
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// configuration is what kube-state-metrics takes.
func configuration() object {
	resources := make([]object, 0, len(kinds()))
	for _, k := range kinds() {
		labels := object{k.label: path("metadata.name")}
		if k.namespaced {
			labels["namespace"] = path("metadata.namespace")
		}
		metrics := make([]object, 0, len(k.metrics))
		for _, m := range k.metrics {
			metrics = append(metrics, m.forKubeStateMetrics())
		}
		resources = append(resources, object{
			"groupVersionKind": object{"group": v1alpha1.GroupName, "version": v1alpha1.GroupVersion.Version, "kind": k.name},
			"resourcePlural":   k.plural, "metricNamePrefix": k.prefix, "labelsFromPath": labels, "metrics": metrics, "errorLogV": quiet,
		})
	}
	return object{"kind": "CustomResourceStateMetrics", "spec": object{"resources": resources}}
}

// quiet is how much kube-state-metrics has to log before it says that an object lacks a
// field. Most lack some: one that waits has no progress.
const quiet = 5

func path(dotted string) []string { return strings.Split(dotted, ".") }

// forKubeStateMetrics is the metric as it is configured there. A number's path is that of
// the field itself: with its last part as valueFrom, kube-state-metrics also takes a field
// of that name from each field beside it.
func (m metric) forKubeStateMetrics() object {
	labels := object{}
	for label, field := range m.labels {
		labels[label] = path(field)
	}
	var each object
	switch m.shape {
	case number, timestamp:
		each = object{"type": "Gauge", "gauge": object{"path": path(m.field)}}
	case numberOrZero:
		each = object{"type": "Gauge", "gauge": object{"path": path(m.field), "nilIsZero": true}}
	case info:
		each = object{"type": "Info", "info": object{"labelsFromPath": labels}}
	case states:
		each = object{"type": "StateSet", "stateSet": object{"path": path(m.field), "labelName": m.label, "list": m.states}}
	case conditions:
		each = object{"type": "StateSet", "stateSet": object{
			"path": path(m.field), "labelName": m.label, "list": m.states, "valueFrom": path(m.label), "labelsFromPath": labels,
		}}
	}
	return object{"name": m.name, "help": m.help, "each": each}
}
