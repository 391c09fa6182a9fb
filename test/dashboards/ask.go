//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// board is what is asked of a dashboard.
type board struct {
	Title      string  `json:"title"`
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query string `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

// panel is one of a dashboard's. Rows have no queries; one that is collapsed has its panels
// in itself.
type panel struct {
	Title       string  `json:"title"`
	Type        string  `json:"type"`
	Targets     []query `json:"targets"`
	Panels      []panel `json:"panels"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
}

// query is one that a panel makes.
type query struct {
	Expr         string `json:"expr"`
	Instant      bool   `json:"instant"`
	LegendFormat string `json:"legendFormat"`
}

func readBoards(dir string) ([]board, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("there are no dashboards in %s", dir)
	}
	var boards []board
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		b.Panels = flat(b.Panels)
		boards = append(boards, b)
	}
	return boards, nil
}

// flat returns panels with those that rows have in themselves, each after its row.
func flat(panels []panel) []panel {
	out := make([]panel, 0, len(panels))
	for i := range panels {
		out = append(append(out, panels[i]), flat(panels[i].Panels)...)
	}
	return out
}

// answer is what came of a query.
type answer struct {
	// name tells it from all others: its dashboard, its panel and its legend.
	name, expr string
	// series counts those that have a value, and largest is the largest of all values.
	series  int
	largest float64
	// zero is whether there are values, and all of them are zero.
	zero bool
}

// name returns the name of a query of a panel.
func (q *query) name(board, panel string) string {
	out := board + ": " + panel
	if q.LegendFormat != "" {
		out += ": " + q.LegendFormat
	}
	return out
}

// series is what a query returned of one: a value at least.
type series struct {
	name   string
	points []point
}

// point is a value and when it was that, in seconds since 1970.
type point struct{ at, value float64 }

func (s *series) largest() float64 {
	largest := math.Inf(-1)
	for _, p := range s.points {
		largest = max(largest, p.value)
	}
	return largest
}

// askAll makes all queries of all dashboards, as Grafana would, over some time.
func askAll(ctx context.Context, prometheus string, boards []board, since, now time.Time) (out []answer, pictures []picture, err error) {
	for _, b := range boards {
		drawn := picture{board: b.Title}
		variables := map[string]string{
			"__rate_interval": (10 * scrapeInterval).String(), "__range": fmt.Sprintf("%ds", int(now.Sub(since).Seconds())+1),
		}
		for _, v := range b.Templating.List {
			if v.Type != "query" {
				continue
			}
			expr := fill(v.Query, variables)
			values, err := labelValues(ctx, prometheus, expr, since, now)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: the variable %s: %w", b.Title, v.Name, err)
			}
			out = append(out, answer{name: b.Title + ": $" + v.Name, expr: expr, series: len(values)})
			if len(values) > 0 {
				variables[v.Name] = values[0]
			}
		}
		for i := range b.Panels {
			p := &b.Panels[i]
			answers, found, err := p.ask(ctx, prometheus, b.Title, variables, since, now)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %s: %w", b.Title, p.Title, err)
			}
			out = append(out, answers...)
			if len(answers) > 0 {
				drawn.panels = append(drawn.panels, panelData{title: p.Title, kind: p.Type, unit: p.FieldConfig.Defaults.Unit, series: found})
			}
		}
		pictures = append(pictures, drawn)
	}
	return out, pictures, nil
}

// ask makes the queries of a panel.
func (p *panel) ask(ctx context.Context, prometheus, board string, variables map[string]string, since, now time.Time) (answers []answer, all []series, err error) {
	for i := range p.Targets {
		q := &p.Targets[i]
		expr, from := fill(q.Expr, variables), since
		if q.Instant {
			from = now
		}
		found, err := ask(ctx, prometheus, expr, q.LegendFormat, from, now)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", expr, err)
		}
		a := answer{name: q.name(board, p.Title), expr: expr, series: len(found)}
		for _, s := range found {
			a.largest = max(a.largest, s.largest())
		}
		a.zero = len(found) > 0 && a.largest == 0
		answers, all = append(answers, a), append(all, found...)
	}
	return answers, all, nil
}

// fill puts the values of variables into a query.
func fill(expr string, variables map[string]string) string {
	return regexp.MustCompile(`\$(\w+)`).ReplaceAllStringFunc(expr, func(v string) string {
		if value, known := variables[v[1:]]; known {
			return value
		}
		return v
	})
}

// ask makes a query for each second of some time, and returns the series that have a value.
// What comes of a division by nothing is none, and a series that lacks a label by which the
// legend names it is no answer.
func ask(ctx context.Context, prometheus, expr, legend string, from, to time.Time) ([]series, error) {
	var found struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
			Values [][2]any          `json:"values"`
		} `json:"result"`
	}
	err := get(ctx, prometheus, "query_range", url.Values{
		"query": {expr}, "start": {unix(from)}, "end": {unix(to)}, "step": {"1"},
	}, &found)
	if err != nil {
		return nil, err
	}
	var out []series
	for _, r := range found.Result {
		if !named(legend, r.Metric) {
			continue
		}
		s := series{name: legendOf(legend, r.Metric)}
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			if value, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(value) && !math.IsInf(value, 0) {
				s.points = append(s.points, point{at, value})
			}
		}
		if len(s.points) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// labelInLegend is how a legend names a label.
var labelInLegend = regexp.MustCompile(`{{(\w+)}}`)

// named is whether a series has all labels that a legend names.
func named(legend string, labels map[string]string) bool {
	return !slices.ContainsFunc(labelInLegend.FindAllStringSubmatch(legend, -1), func(m []string) bool { return labels[m[1]] == "" })
}

// legendOf names a series as Grafana does: as the query says, or by its labels.
func legendOf(legend string, labels map[string]string) string {
	if legend != "" {
		return labelInLegend.ReplaceAllStringFunc(legend, func(v string) string { return labels[strings.Trim(v, "{}")] })
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "__name__" {
			all = append(all, name+"="+labels[name])
		}
	}
	return strings.Join(all, " ")
}

// labelValues does what Grafana does with label_values(metric, label).
func labelValues(ctx context.Context, prometheus, expr string, from, to time.Time) ([]string, error) {
	inner, ok := strings.CutPrefix(strings.TrimSuffix(expr, ")"), "label_values(")
	comma := strings.LastIndex(inner, ",")
	if !ok || comma < 0 {
		return nil, fmt.Errorf("%q is not label_values(metric, label)", expr)
	}
	var out []string
	err := get(ctx, prometheus, "label/"+strings.TrimSpace(inner[comma+1:])+"/values", url.Values{
		"match[]": {inner[:comma]}, "start": {unix(from)}, "end": {unix(to)},
	}, &out)
	return out, err
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// get asks Prometheus for something.
func get(ctx context.Context, prometheus, what string, parameters url.Values, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+prometheus+"/api/v1/"+what+"?"+parameters.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking Prometheus: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("asking Prometheus: %w", err)
	}
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("reading Prometheus' answer: %w", err)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}
