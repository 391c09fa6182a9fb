//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/virtferry/virtferry/test/bench/rig"
	"github.com/virtferry/virtferry/test/bench/shuttle"
)

// usage is what a process took.
type usage struct {
	wall, cpu time.Duration
	// rss is the most memory that it had at once, in bytes, since it started.
	rss int64
}

// measure watches a process for some time.
func measure(ctx context.Context, pid int, span time.Duration) (usage, error) {
	before, err := rig.CPUTime(pid)
	if err != nil {
		return usage{}, err
	}
	start := time.Now()
	if err := shuttle.Sleep(ctx, span); err != nil {
		return usage{}, err
	}
	after, err := rig.CPUTime(pid)
	if err != nil {
		return usage{}, err
	}
	rss, err := rig.PeakMemory(pid)
	return usage{wall: time.Since(start), cpu: after - before, rss: rss}, err
}

func report(w io.Writer, p plan, u usage) {
	percent := 100 * u.cpu.Seconds() / u.wall.Seconds()
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "MIGRATIONS\tMEASURED\tCPU TIME\tOF ONE CORE\tPEAK MEMORY")
	fmt.Fprintf(table, "%d\t%.0f s\t%.2f s\t%.1f %%\t%d MiB\n", p.migrations, u.wall.Seconds(), u.cpu.Seconds(), percent, u.rss>>20)
	_ = table.Flush()
	fmt.Fprintf(w, "\nmigrations: %d\ncpu_percent: %.2f\nrss_mib: %.1f\n", p.migrations, percent, float64(u.rss)/(1<<20))
}
