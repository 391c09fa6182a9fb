//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// report prints the matrix as it comes.
type report struct {
	mu         sync.Mutex
	out        io.Writer
	settled    []time.Duration
	lags       []time.Duration
	violations int
}

func newReport(out io.Writer) *report {
	fmt.Fprintf(out, "%-4s %-36s %-33s %-26s %-28s %8s %6s %6s\n", "case", "fault", "phase", "was to be", "was", "settle_s", "lag_s", "took_s")
	return &report{out: out}
}

// add prints a case, and all that is known of one that went wrong.
func (r *report) add(number int, c result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := c.was.String()
	if c.reason != "" {
		was += " (" + c.reason + ")"
	}
	phase := c.phase.name
	if c.guest.transient {
		phase += ", transient"
	}
	if c.guest.paused {
		phase += ", paused"
	}
	if c.company {
		phase += ", in company"
	}
	fmt.Fprintf(r.out, "%-4d %-36s %-33s %-26s %-28s %8.1f %6.1f %6.1f\n", number, c.fault.name, phase, oneOf(c.allowed),
		was, c.settle.Seconds(), c.lag.Seconds(), c.took.Seconds())
	r.settled, r.lags = append(r.settled, c.settle), append(r.lags, c.lag)
	if len(c.violations) == 0 {
		return
	}
	r.violations++
	for _, v := range c.violations {
		fmt.Fprintf(r.out, "     VIOLATION: %s\n", v)
	}
	for _, line := range c.history {
		fmt.Fprintf(r.out, "     | %s\n", line)
	}
	for _, line := range c.logged {
		fmt.Fprintf(r.out, "     > %s\n", line)
	}
}

// end prints what all cases together came to.
func (r *report) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, "settle_p50_s: %.1f\nlag_p50_s: %.1f\nlag_p99_s: %.1f\n", percentile(r.settled, 50).Seconds(),
		percentile(r.lags, 50).Seconds(), percentile(r.lags, 99).Seconds())
	fmt.Fprintf(r.out, "cases: %d\nviolations: %d\nsettle_p99_s: %.1f\n", len(r.settled), r.violations, percentile(r.settled, 99).Seconds())
}

// percentile returns the smallest of the times that so many percent of all do not
// exceed.
func percentile(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	rank := (len(sorted)*percent + 99) / 100
	return sorted[max(rank, 1)-1]
}
