//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// printReport prints a table of the longest and then the key figures, one a line.
func printReport(w io.Writer, all []recovery) {
	fmt.Fprintf(w, "\nHow long after the network was back memory came again, the guest had what it waited for, and the migration had succeeded, in seconds: the longest of each.\n")
	fmt.Fprintf(w, "  %-24s %10s %10s %10s %10s\n", "hosts set", "gone for", "memory", "guest", "migration")
	worst := map[string]time.Duration{}
	for _, s := range settings() {
		for _, gone := range breaks() {
			var memory, guest, done time.Duration
			for _, r := range all {
				if r.setting.name == s.name && r.gone == gone {
					memory, guest, done = max(memory, r.flowedAfter), max(guest, r.guestAfter), max(done, r.doneAfter)
				}
			}
			worst[s.name] = max(worst[s.name], memory)
			fmt.Fprintf(w, "  %-24s %10.0f %10.1f %10.1f %10.1f\n", s.name, gone.Seconds(), memory.Seconds(), guest.Seconds(), done.Seconds())
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "breaks: %d\n", len(all))
	for _, s := range settings() {
		fmt.Fprintf(w, "goes_on_after_ms_max%s: %d\n", s.figure, worst[s.name].Milliseconds())
	}
	fmt.Fprintf(w, "resumed_by_agent: %d\n", len(slices.DeleteFunc(slices.Clone(all), func(r recovery) bool { return r.attempts == 0 })))
}
