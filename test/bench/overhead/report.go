//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// printReport prints where the time goes and then the key figures, one a line.
func printReport(w io.Writer, virsh, live []move) {
	fmt.Fprintf(w, "\nWhere the time of a LiveMigration goes (medians):\n")
	for i, s := range live[0].steps {
		fmt.Fprintf(w, "  %-32s %6d ms\n", s.name, median(live, func(m move) time.Duration { return m.steps[i].took }))
	}
	total := func(m move) time.Duration { return m.total }
	virshMedian, liveMedian := median(virsh, total), median(live, total)
	fmt.Fprintf(w, "\nvirsh_median_ms: %d\n", virshMedian)
	fmt.Fprintf(w, "livemigration_median_ms: %d\n", liveMedian)
	fmt.Fprintf(w, "overhead_median_ms: %d\n", liveMedian-virshMedian)
	fmt.Fprintf(w, "outcome_visible_median_ms: %d\n", median(live, func(m move) time.Duration { return m.visible }))
	fmt.Fprintf(w, "pairs: %d\n", min(len(virsh), len(live)))
}

// median returns the median of a duration of the moves, in milliseconds.
func median(moves []move, of func(move) time.Duration) int64 {
	all := make([]int64, 0, len(moves))
	for _, m := range moves {
		all = append(all, of(m).Microseconds())
	}
	slices.Sort(all)
	n := len(all)
	return ((all[(n-1)/2] + all[n/2]) / 2) / 1000
}
