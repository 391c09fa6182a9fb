//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/virtferry/virtferry/pkg/monitor"
)

// cell is all moves of a pattern and a rate by one way.
type cell struct {
	way     way
	pattern string
	rate    float64
	moves   []move
}

func cells(o options, moves []move) []cell {
	all := make([]cell, 0, len(o.patterns)*len(o.rates)*len(o.ways))
	for _, pattern := range o.patterns {
		for _, rate := range o.rates {
			for _, w := range o.ways {
				c := cell{way: w, pattern: pattern, rate: rate}
				for _, m := range moves {
					if m.way == w && m.pattern == pattern && m.rate == rate {
						c.moves = append(c.moves, m)
					}
				}
				all = append(all, c)
			}
		}
	}
	return all
}

// took is the median of how long it took, to its end or until it was given up.
func (c cell) took() time.Duration {
	all := make([]time.Duration, 0, len(c.moves))
	for _, m := range c.moves {
		all = append(all, m.took)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// within reports whether all moves ended, with at most the downtime.
func (c cell) within(downtime time.Duration) bool {
	for _, m := range c.moves {
		if m.end != ended || m.downtime > downtime {
			return false
		}
	}
	return len(c.moves) > 0
}

// libvirtDefault is what libvirt allows when it is told nothing.
const libvirtDefault = 300 * time.Millisecond

// limit is what was allowed in the end.
func (m move) limit() time.Duration {
	limit := libvirtDefault
	for _, a := range m.actions {
		if a.Kind == monitor.SetMaxDowntime {
			limit = time.Duration(a.MaxDowntimeMilliseconds) * time.Millisecond
		}
	}
	return limit
}

// overshoot is libvirt's own error: by how much it exceeds the limit that it has where
// Adaptive has no part.
func overshoot(moves []move) time.Duration {
	var most time.Duration
	for _, m := range moves {
		if m.way != byAdaptive && m.end == ended {
			most = max(most, m.downtime-m.limit())
		}
	}
	return most
}

// printReport prints a table and then the key figures, one a line.
func printReport(w io.Writer, o options, moves []move) {
	fmt.Fprintf(w, "\nA guest of %d MiB that writes to %d MiB, over a link of %d MiB/s, %d ms of downtime allowed:\n\n",
		o.memoryMiB, o.workingSet, o.linkMiBps, o.downtime.Milliseconds())
	fmt.Fprintf(w, "| Writes | Rate | By | Result | Time, s | Limit, ms | Downtime, ms | Stood still, ms | Sent, MiB | Passes |\n")
	fmt.Fprintf(w, "| --- | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, m := range moves {
		downtime, stood := "", ""
		if m.end == ended {
			downtime, stood = strconv.FormatInt(m.downtime.Milliseconds(), 10), strconv.FormatInt(m.stood.Milliseconds(), 10)
		}
		fmt.Fprintf(w, "| %s | %g | %s | %s | %.1f | %d | %s | %s | %d | %d |\n",
			m.pattern, m.rate, m.way, m.end, m.took.Seconds(), m.limit().Milliseconds(), downtime, stood, m.sentBytes>>20, m.passes)
	}
	fmt.Fprintln(w)
	for _, m := range moves {
		if m.end == givenUp {
			fmt.Fprintf(w, "%s at %g, %s: %s\n", m.way, m.rate, m.pattern, m.why)
		}
	}
	fmt.Fprintf(w, "\nlibvirt_error_ms: %d\n", overshoot(moves).Milliseconds())
	all := cells(o, moves)
	for _, other := range []way{byStepped, byLibvirt} {
		for _, rate := range o.rates {
			fmt.Fprintf(w, "adaptive_over_%s_time@%g: %s\n", other, rate, ratio(o, all, other, rate))
		}
	}
	exceeded, allowed := 0, o.downtime+overshoot(moves)
	for _, m := range moves {
		if m.way == byAdaptive && m.end == ended && m.downtime > allowed {
			exceeded++
		}
	}
	fmt.Fprintf(w, "downtime_limit_exceeded: %d\n", exceeded)
}

// ratio is Adaptive's time over the other's: the worst of all patterns. Where the
// other does not end within the limit, its time is that after which it was given
// up, and Adaptive's may be the one after which it knew. It is infinite where
// Adaptive fails and the other does not.
func ratio(o options, all []cell, other way, rate float64) string {
	worst := 0.0
	for _, a := range all {
		if a.way != byAdaptive || a.rate != rate {
			continue
		}
		for _, b := range all {
			if b.way != other || b.rate != rate || b.pattern != a.pattern || len(b.moves) == 0 || len(a.moves) == 0 {
				continue
			}
			x := a.took().Seconds() / b.took().Seconds()
			if b.within(o.downtime) && slices.ContainsFunc(a.moves, func(m move) bool { return m.end != ended }) {
				x = math.Inf(1)
			}
			worst = max(worst, x)
		}
	}
	return fmt.Sprintf("%.2f", worst)
}
