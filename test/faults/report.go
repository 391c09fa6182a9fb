//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report prints the matrix as it comes.
type report struct {
	out        io.Writer
	world      *world
	settled    []time.Duration
	lags       []time.Duration
	violations int
	// read is how much of each log earlier cases have seen.
	read map[string]int64
}

func newReport(out io.Writer, w *world) *report {
	r := &report{out: out, world: w, read: map[string]int64{}}
	fmt.Fprintf(out, "%-4s %-36s %-33s %-26s %-28s %8s %6s %6s\n", "case", "fault", "phase", "was to be", "was", "settle_s", "lag_s", "took_s")
	r.news()
	return r
}

// add prints a case, and all that is known of one that went wrong.
func (r *report) add(number int, c result) {
	was := c.was.String()
	if c.reason != "" {
		was += " (" + c.reason + ")"
	}
	phase := c.phase.name
	if c.guest.transient {
		phase += ", transient"
	}
	fmt.Fprintf(r.out, "%-4d %-36s %-33s %-26s %-28s %8.1f %6.1f %6.1f\n", number, c.fault.name, phase, oneOf(c.allowed),
		was, c.settle.Seconds(), c.lag.Seconds(), c.took.Seconds())
	r.settled, r.lags = append(r.settled, c.settle), append(r.lags, c.lag)
	news := r.news()
	// For those who keep the lab's logs.
	file := filepath.Join(r.world.lab.LogDir(), fmt.Sprintf("case-%d.log", number))
	if err := os.WriteFile(file, []byte(c.name()+"\n"+strings.Join(c.history, "\n")+"\n"), 0o600); err != nil {
		progressf("%v", err)
	}
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
	name := fmt.Sprintf("case-%d", number)
	for _, line := range news {
		if strings.Contains(line, name+`"`) || strings.Contains(line, name+`'`) || strings.Contains(line, "/"+name+" ") {
			fmt.Fprintf(r.out, "     > %s\n", line)
		}
	}
}

// news returns what Virtferry's processes have logged since the last time.
func (r *report) news() []string {
	var lines []string
	for _, d := range r.world.daemons() {
		text, err := os.ReadFile(d.LogPath())
		if err != nil {
			continue
		}
		fresh := string(text[min(r.read[d.LogPath()], int64(len(text))):])
		r.read[d.LogPath()] = int64(len(text))
		for line := range strings.Lines(fresh) {
			lines = append(lines, strings.TrimSuffix(filepath.Base(d.LogPath()), ".log")+": "+strings.TrimSpace(line))
		}
	}
	return lines
}

// end prints what all cases together came to.
func (r *report) end() {
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
