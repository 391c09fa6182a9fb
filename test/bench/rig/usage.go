//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// clockTicks is how many ticks of /proc/PID/stat make a second. It is 100 on every
// platform that Go runs on.
const clockTicks = 100

// usage is what a process took.
type usage struct {
	wall, cpu time.Duration
	// rss is the most memory that it had at once, in bytes, since it started.
	rss int64
}

// measure watches a process for some time.
func measure(ctx context.Context, pid int, span time.Duration) (usage, error) {
	before, err := cpuTime(pid)
	if err != nil {
		return usage{}, err
	}
	start := time.Now()
	if err := sleep(ctx, span); err != nil {
		return usage{}, err
	}
	after, err := cpuTime(pid)
	if err != nil {
		return usage{}, err
	}
	rss, err := peakMemory(pid)
	return usage{wall: time.Since(start), cpu: after - before, rss: rss}, err
}

func cpuTime(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of the agents: %w", err)
	}
	// The name, in parentheses, may hold anything; utime and stime are the 12th and
	// 13th fields behind it.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading the CPU time of the agents: %q is too short", rest)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time of the agents: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks, nil
}

func peakMemory(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of the agents: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kibibytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kibibytes << 10, err
		}
	}
	return 0, fmt.Errorf("reading the memory of the agents: there is no VmHWM for process %d", pid)
}

func report(w io.Writer, p plan, u usage) {
	percent := 100 * u.cpu.Seconds() / u.wall.Seconds()
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "MIGRATIONS\tMEASURED\tCPU TIME\tOF ONE CORE\tPEAK MEMORY")
	fmt.Fprintf(table, "%d\t%.0f s\t%.2f s\t%.1f %%\t%d MiB\n", p.migrations, u.wall.Seconds(), u.cpu.Seconds(), percent, u.rss>>20)
	_ = table.Flush()
	fmt.Fprintf(w, "\nmigrations: %d\ncpu_percent: %.2f\nrss_mib: %.1f\n", p.migrations, percent, float64(u.rss)/(1<<20))
}
