//go:build linux

package main

import (
	"fmt"
	"strings"
)

const (
	plotWidth, plotHeight = 360, 170
	plotMargin            = 46
)

var colours = map[way]string{byLibvirt: "#888888", byStepped: "#d9822b", byAdaptive: "#1f6feb"}

// draw draws what remained over time: a plot for each pattern and rate, with a
// line for each way.
func draw(o options, moves []move) string {
	var b strings.Builder
	width, height := (plotWidth+plotMargin)*len(o.rates)+plotMargin, (plotHeight+2*plotMargin)*len(o.patterns)+plotMargin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for i, w := range o.ways {
		fmt.Fprintf(&b, `<rect x="%d" y="12" width="18" height="3" fill="%s"/><text x="%d" y="18">%s</text>`+"\n",
			plotMargin+i*90, colours[w], plotMargin+i*90+24, w)
	}
	for row, pattern := range o.patterns {
		for column, rate := range o.rates {
			x, y := plotMargin+column*(plotWidth+plotMargin), 2*plotMargin+row*(plotHeight+2*plotMargin)
			fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", x, y)
			plot(&b, o, fmt.Sprintf("%s, %g of the link", pattern, rate), of(moves, pattern, rate))
			b.WriteString("</g>\n")
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// of returns the moves of one plot, the latest of each way.
func of(moves []move, pattern string, rate float64) map[way]move {
	some := map[way]move{}
	for _, m := range moves {
		if m.pattern == pattern && m.rate == rate {
			some[m.way] = m
		}
	}
	return some
}

// plot draws one plot. Its time ends a little after Adaptive, or the fastest of
// the others, has: what does not end has no end to be shown.
func plot(b *strings.Builder, o options, title string, moves map[way]move) {
	span := 0.0
	for _, m := range moves {
		if m.end == ended {
			span = max(span, m.took.Seconds())
		}
	}
	if adaptive, ok := moves[byAdaptive]; ok {
		span = max(min(span, 6*adaptive.took.Seconds()), 1.5*adaptive.took.Seconds())
	}
	span = max(span, 1)
	top := float64(o.memoryMiB)
	fmt.Fprintf(b, `<text x="0" y="-8" font-weight="bold">%s</text><rect width="%d" height="%d" fill="none" stroke="#cccccc"/>`+"\n", title, plotWidth, plotHeight)
	allowed := float64(o.linkMiBps) * o.downtime.Seconds()
	fmt.Fprintf(b, `<line x1="0" x2="%d" y1="%.1f" y2="%.1f" stroke="#cc0000" stroke-dasharray="4 3"/>`+"\n", plotWidth, plotHeight*(1-allowed/top), plotHeight*(1-allowed/top))
	fmt.Fprintf(b, `<text x="-6" y="10" text-anchor="end">%.0f</text><text x="-6" y="%d" text-anchor="end">0</text><text x="-6" y="22" text-anchor="end">MiB</text>`+"\n", top, plotHeight)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%.0f s</text>`+"\n", plotWidth, plotHeight+14, span)
	for _, w := range o.ways {
		m, ok := moves[w]
		if !ok {
			continue
		}
		var points strings.Builder
		for _, s := range m.samples {
			at := (s.Elapsed - m.prepared()).Seconds()
			if at < 0 || at > span || s.Memory.TotalBytes == 0 {
				continue
			}
			left := float64(s.Memory.RemainingBytes) / (1 << 20)
			fmt.Fprintf(&points, "%.1f,%.1f ", plotWidth*at/span, plotHeight*(1-min(left/top, 1)))
		}
		end := "circle"
		if m.end == ended {
			fmt.Fprintf(&points, "%.1f,%d", plotWidth*min(1, m.took.Seconds()/span), plotHeight)
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.3" points="%s"/>`+"\n", colours[w], strings.TrimSpace(points.String()))
		if m.end == givenUp {
			fmt.Fprintf(b, `<%s cx="%.1f" cy="%d" r="4" fill="%s"/>`+"\n", end, plotWidth*min(1, m.took.Seconds()/span), plotHeight/2, colours[w])
		}
	}
}
