package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

var defCaches = definition{name: "virtferry_cache_up_to_date", kind: gauge, labels: []string{labelCache},
	help: "Whether the process's view of the cluster is up to date (1), or has been stale for more than a minute (0)"}

// Caches tells whether caches are up to date. Each has a check, which fails where its
// cache is not.
type Caches map[string]func() error

var _ prometheus.Collector = Caches(nil)

// Describe implements prometheus.Collector.
func (Caches) Describe(out chan<- *prometheus.Desc) { out <- defCaches.desc(nil) }

// Collect implements prometheus.Collector.
func (c Caches) Collect(out chan<- prometheus.Metric) {
	for name, check := range c {
		out <- prometheus.MustNewConstMetric(defCaches.desc(nil), prometheus.GaugeValue, oneIf(check() == nil), name)
	}
}
