//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/virtferry/virtferry/test/lab"
)

// printReport prints a table of medians and then the key figures, one a line.
func printReport(w io.Writer, moves []move) {
	fmt.Fprintf(w, "\nMedians in ms. A quiet guest sends nothing by itself.\n")
	fmt.Fprintf(w, "  %-22s %8s %8s %8s %8s %8s %8s\n", "", "downtime", "ping", "echo", "beat", "stream", "outage")
	for _, s := range strategies() {
		for _, quiet := range []bool{true, false} {
			some := slices.DeleteFunc(slices.Clone(moves), func(m move) bool { return m.strategy != s.name || m.quiet != quiet })
			if len(some) == 0 {
				continue
			}
			name := s.name
			if quiet {
				name += ", quiet"
			}
			fmt.Fprintf(w, "  %-22s %8d", name, median(some, func(m move) time.Duration { return m.downtime }))
			for _, signal := range lab.Signals() {
				if _, ok := some[0].silence[signal]; !ok {
					fmt.Fprintf(w, " %8s", "")
					continue
				}
				fmt.Fprintf(w, " %8d", median(some, func(m move) time.Duration { return m.silence[signal] }))
			}
			fmt.Fprintf(w, " %8d\n", median(some, move.outage))
		}
	}
	fmt.Fprintln(w)
	for _, s := range strategies() {
		some := slices.DeleteFunc(slices.Clone(moves), func(m move) bool { return m.strategy != s.name })
		fmt.Fprintf(w, "downtime_%s_ms_median: %d\n", s.name, median(some, func(m move) time.Duration { return m.downtime }))
		fmt.Fprintf(w, "outage_%s_ms_median: %d\n", s.name, median(some, move.outage))
		fmt.Fprintf(w, "outage_minus_downtime_%s_ms_median: %d\n", s.name, median(some, move.beyond))
	}
	fmt.Fprintf(w, "noise_ms_median: %d\n", median(moves, func(m move) time.Duration { return m.noise }))
	fmt.Fprintf(w, "switch_over_told_ms_median: %d\n", median(moves, func(m move) time.Duration { return m.told }))
	fmt.Fprintf(w, "outage_minus_downtime_ms_max: %d\n", slices.Max(each(moves, move.beyond)).Milliseconds())
	fmt.Fprintf(w, "moves: %d\n", len(moves))
	fmt.Fprintf(w, "outage_minus_downtime_ms_median: %d\n", median(moves, move.beyond))
}

func each(moves []move, of func(move) time.Duration) []time.Duration {
	all := make([]time.Duration, 0, len(moves))
	for _, m := range moves {
		all = append(all, of(m))
	}
	return all
}

// median returns the median of a duration of the moves, in milliseconds; 0 of none.
func median(moves []move, of func(move) time.Duration) int64 {
	all := each(moves, of)
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	n := len(all)
	return ((all[(n-1)/2] + all[n/2]) / 2).Milliseconds()
}
