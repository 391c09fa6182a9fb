//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// board is what is asked of a dashboard.
type board struct {
	Title  string `json:"title"`
	Panels []struct {
		Title   string  `json:"title"`
		Targets []query `json:"targets"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query string `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

// query is one that a panel makes.
type query struct {
	Expr    string `json:"expr"`
	Instant bool   `json:"instant"`
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
		boards = append(boards, b)
	}
	return boards, nil
}

// answer is what came of a query.
type answer struct {
	board, panel, expr string
	// series counts those that have a value, and largest is the largest of all values.
	series  int
	largest float64
}

// askAll makes all queries of all dashboards, as Grafana would, over the time since.
func askAll(ctx context.Context, prometheus string, boards []board, since time.Time) ([]answer, error) {
	now := time.Now()
	var out []answer
	for _, b := range boards {
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
				return nil, fmt.Errorf("%s: the variable %s: %w", b.Title, v.Name, err)
			}
			out = append(out, answer{board: b.Title, panel: "$" + v.Name, expr: expr, series: len(values)})
			if len(values) > 0 {
				variables[v.Name] = values[0]
			}
		}
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				expr, from := fill(q.Expr, variables), since
				if q.Instant {
					from = now
				}
				values, err := ask(ctx, prometheus, expr, from, now)
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %s: %w", b.Title, p.Title, expr, err)
				}
				a := answer{board: b.Title, panel: p.Title, expr: expr, series: len(values)}
				for _, v := range values {
					a.largest = max(a.largest, v)
				}
				out = append(out, a)
			}
		}
	}
	return out, nil
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

// ask makes a query for each second of some time, and returns the largest value of each
// series that has any.
func ask(ctx context.Context, prometheus, expr string, from, to time.Time) ([]float64, error) {
	var found struct {
		Result []struct {
			Values [][2]any `json:"values"`
		} `json:"result"`
	}
	err := get(ctx, prometheus, "query_range", url.Values{
		"query": {expr}, "start": {unix(from)}, "end": {unix(to)}, "step": {"1"},
	}, &found)
	if err != nil {
		return nil, err
	}
	var out []float64
	for _, series := range found.Result {
		largest := math.NaN()
		for _, v := range series.Values {
			text, _ := v[1].(string)
			value, err := strconv.ParseFloat(text, 64)
			if err == nil && !math.IsNaN(value) && (math.IsNaN(largest) || value > largest) {
				largest = value
			}
		}
		if !math.IsNaN(largest) {
			out = append(out, largest)
		}
	}
	return out, nil
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

// report writes what came of all queries, and fails if something has none.
func report(to io.Writer, asked []answer) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "dashboard\tpanel\tseries\tlargest")
	var without []answer
	for _, a := range asked {
		fmt.Fprintf(table, "%s\t%s\t%d\t%.4g\n", a.board, a.panel, a.series, a.largest)
		if a.series == 0 {
			without = append(without, a)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, a := range without {
		fmt.Fprintf(to, "no data: %s: %s: %s\n", a.board, a.panel, a.expr)
	}
	fmt.Fprintf(to, "queries: %d\nwithout_data: %d\n", len(asked), len(without))
	if len(without) > 0 {
		return errors.New("there are queries without data")
	}
	return nil
}
