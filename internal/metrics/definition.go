package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// kind is what kind of metric it is, in Prometheus' words.
type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// definition declares a metric.
type definition struct {
	name string
	kind kind
	// help says what it is, in a sentence with no full stop.
	help    string
	labels  []string
	buckets []float64
}

func (d definition) desc(constant prometheus.Labels) *prometheus.Desc {
	return prometheus.NewDesc(d.name, d.help, d.labels, constant)
}

func (d definition) counterVec() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.name, Help: d.help}, d.labels)
}

func (d definition) histogramVec() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.name, Help: d.help, Buckets: d.buckets}, d.labels)
}
