//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"time"
)

// figures are what a load comes to. What has not been measured is zero.
type figures struct {
	plan  plan
	ready time.Duration
	// peak is the manager's memory with the finished migrations, and triagePeak with
	// those that were applied last on top, in MiB.
	peak, triagePeak              float64
	apply, triage                 time.Duration
	requestsPerMigration          float64
	admissionMedian, admissionP99 time.Duration
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// figure is one of the key figures.
type figure struct {
	name string
	// load is how many migrations the value is for, and each whether the value is what
	// each of them takes.
	load  int
	each  bool
	value float64
}

func (f *figures) key() []figure {
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	finished, triaged := f.plan.finished, f.plan.triaged()
	return []figure{
		{name: "manager_ready_s", load: finished, value: f.ready.Seconds()},
		{name: "manager_peak_mib", load: finished, value: f.peak},
		{name: "manager_peak_triage_mib", load: finished + triaged, value: f.triagePeak},
		{name: "triage_s", load: triaged, value: f.triage.Seconds()},
		{name: "triage_apply_s", load: triaged, value: f.apply.Seconds()},
		{name: "api_requests_per_migration", load: f.plan.moves(), each: true, value: f.requestsPerMigration},
		{name: "admission_ms_p50", load: finished, each: true, value: milliseconds(f.admissionMedian)},
		{name: "admission_ms_p99", load: finished, each: true, value: milliseconds(f.admissionP99)},
	}
}

// printFigures prints the key figures, one a line.
func printFigures(w io.Writer, f figures) {
	for _, k := range f.key() {
		value := "none"
		if k.value != 0 {
			value = fmt.Sprintf("%.2f", k.value)
		}
		fmt.Fprintf(w, "%s@%d: %s\n", k.name, k.load, value)
	}
}

// printGrowth prints what one migration more costs with ten times the load, as a ratio
// to what it costs with a tenth: 1 is a cost that grows with the load and no faster.
// What is already the cost of each is not to grow at all.
func printGrowth(w io.Writer, tenth, whole figures) {
	small := tenth.key()
	for i, big := range whole.key() {
		growth := big.value / small[i].value
		if !big.each {
			growth /= float64(big.load) / float64(small[i].load)
		}
		if !math.IsNaN(growth) && !math.IsInf(growth, 0) {
			fmt.Fprintf(w, "growth_%s: %.2f\n", big.name, growth)
		}
	}
}
