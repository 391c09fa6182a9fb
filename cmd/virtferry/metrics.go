package main

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/internal/metrics"
)

// registerMetrics has what is collected served with controller-runtime's own metrics.
func registerMetrics(collectors ...prometheus.Collector) error {
	for _, c := range collectors {
		if err := ctrlmetrics.Registry.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// cachesOf has it told whether caches are up to date.
func cachesOf(health map[string]*caches.Health) metrics.Caches {
	out := metrics.Caches{}
	for name, h := range health {
		out[name] = func() error { return h.Check(nil) }
	}
	return out
}
