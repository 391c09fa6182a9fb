//go:build linux

package main

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

const (
	panelWidth, panelHeight = 400, 300
	panelMargin             = 60
	panelColumns            = 3
	// mostNamed is how many series of a panel are named.
	mostNamed = 22
)

// colours are those of a panel's series, in their order.
func colours() []string {
	return []string{"#1f6feb", "#d9822b", "#2da44e", "#cf222e", "#8250df", "#bf8700", "#1b7c83", "#666666"}
}

// picture is a dashboard's panels with what their queries returned.
type picture struct {
	board  string
	panels []panelData
}

// panelData is what a panel shows.
type panelData struct {
	title, kind, unit string
	series            []series
}

// draw draws the panels in the order of the dashboard: lines over time, or bars where a
// panel shows how things are now. It is for looking at the data, not for what Grafana makes
// of it.
func (p *picture) draw(from, to time.Time) string {
	rows := (len(p.panels) + panelColumns - 1) / panelColumns
	width, height := panelColumns*(panelWidth+2*panelMargin), rows*(panelHeight+2*panelMargin)+panelMargin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="10">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/><text x="%d" y="20" font-size="16">%s</text>`+"\n", width, height, panelMargin, html.EscapeString(p.board))
	for i := range p.panels {
		x, y := panelMargin+i%panelColumns*(panelWidth+2*panelMargin), 2*panelMargin+i/panelColumns*(panelHeight+2*panelMargin)
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", x, y)
		p.panels[i].draw(&b, from, to)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p *panelData) draw(b *strings.Builder, from, to time.Time) {
	top := 0.0
	for _, s := range p.series {
		top = max(top, s.largest())
	}
	fmt.Fprintf(b, `<text y="-6" font-weight="bold">%s (%s)</text><rect width="%d" height="%d" fill="none" stroke="#cccccc"/>`+"\n",
		html.EscapeString(p.title), p.kind, panelWidth, panelHeight)
	fmt.Fprintf(b, `<text x="-4" y="10" text-anchor="end">%.3g</text><text x="-4" y="22" text-anchor="end">%s</text><text x="-4" y="%d" text-anchor="end">0</text>`+"\n",
		top, html.EscapeString(p.unit), panelHeight)
	if top == 0 {
		top = 1
	}
	colours := colours()
	for i, s := range p.series {
		colour := colours[i%len(colours)]
		switch {
		case len(s.points) == 1 && i < mostNamed:
			fmt.Fprintf(b, `<rect x="0" y="%d" width="%.1f" height="9" fill="%s" opacity="0.3"/>`+"\n", 4+13*i, panelWidth*max(0, s.points[0].value)/top, colour)
			colour = "black"
		case len(s.points) > 1:
			s.line(b, colour, func(p point) (x, y float64) {
				return panelWidth * (p.at - seconds(from)) / (seconds(to) - seconds(from)), panelHeight * (1 - p.value/top)
			})
		}
		if i < mostNamed {
			fmt.Fprintf(b, `<text x="6" y="%d" fill="%s">%s: %.3g</text>`+"\n", 12+13*i, colour, html.EscapeString(s.name), s.points[len(s.points)-1].value)
		}
	}
	if left := len(p.series) - mostNamed; left > 0 {
		fmt.Fprintf(b, `<text x="6" y="%d">and %d more</text>`+"\n", 12+13*mostNamed, left)
	}
}

// line draws a line, with a gap where there is no value for some time.
func (s *series) line(b *strings.Builder, colour string, place func(point) (x, y float64)) {
	const gap = 5 // Seconds.
	stroke := make([]string, 0, len(s.points))
	flush := func() {
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" points="%s"/>`+"\n", colour, strings.Join(stroke, " "))
		stroke = stroke[:0]
	}
	last := math.Inf(-1)
	for _, p := range s.points {
		if p.at-last > gap && len(stroke) > 0 {
			flush()
		}
		x, y := place(p)
		stroke, last = append(stroke, fmt.Sprintf("%.1f,%.1f", x, y)), p.at
	}
	flush()
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
