//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
)

// printReport prints what was measured and then the key figures, one a line.
func printReport(w io.Writer, o options, compared [][]move, plain, synchronous move) {
	took := func(m move) int64 { return m.took.Milliseconds() }
	bytes := func(m move) int64 { return m.bytes }
	virsh, live, thin := compared[0], compared[1], compared[2]
	fmt.Fprintf(w, "\nA disk of %d MiB, encrypted: %t; medians of %d moves each\n", o.diskMiB, o.encrypt, len(live))
	for _, moves := range compared {
		fmt.Fprintf(w, "  %-34s %6d ms, %5d MiB over the network\n", moves[0].by, median(moves, took), median(moves, bytes)>>20)
	}
	fmt.Fprintf(w, "\nA guest that writes %d MiB/s to it, copied at %d MiB/s\n", o.writeMiBps, o.linkMiBps)
	fmt.Fprintf(w, "  %-34s %s\n", "as it is", ending(plain))
	fmt.Fprintf(w, "  %-34s %s\n", "with synchronous writes", ending(synchronous))
	fmt.Fprintf(w, "\nblock_over_virsh_bytes: %.2f\n", ratio(median(live, bytes), median(virsh, bytes)))
	fmt.Fprintf(w, "block_over_virsh_time: %.2f\n", ratio(median(live, took), median(virsh, took)))
	fmt.Fprintf(w, "block_growing_over_virsh_time: %.2f\n", ratio(median(thin, took), median(virsh, took)))
	fmt.Fprintf(w, "writes_converge: %t\n", synchronous.done)
}

func ending(m move) string {
	if m.done {
		return fmt.Sprintf("done after %d ms", m.took.Milliseconds())
	}
	return fmt.Sprintf("no end, given up after %d ms (%s)", m.took.Milliseconds(), m.says)
}

func ratio(a, b int64) float64 { return float64(a) / float64(max(b, 1)) }

// median returns the median of a number of the moves.
func median(moves []move, of func(move) int64) int64 {
	all := make([]int64, 0, len(moves))
	for _, m := range moves {
		all = append(all, of(m))
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}
