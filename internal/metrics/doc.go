// Package metrics says what the manager and the agents tell Prometheus. Each metric is
// declared once, with its meaning; docs/metrics.md is made from that.
//
// No label holds the name of a guest or of an object unless a flag asks for it. All
// other labels have a handful of values, or one for each node, or for each two that
// guests move between.
package metrics
