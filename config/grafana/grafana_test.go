// Package grafana holds the dashboards, which hack/dashboards makes. The tests hold them
// against the metrics that there are.
package grafana

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/virtferry/virtferry/internal/metrics"
	"github.com/virtferry/virtferry/internal/metrics/queries"
)

type panel struct {
	Title       string `json:"title"`
	Type        string `json:"type"`
	Description string `json:"description"`
	Targets     []struct {
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
	} `json:"targets"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Options struct {
		YAxis struct {
			Unit string `json:"unit"`
		} `json:"yAxis"`
	} `json:"options"`
	// Panels are those of a row that is collapsed.
	Panels []panel `json:"panels"`
}

// flat returns panels without rows, but with those that rows have in themselves.
func flat(panels []panel) []panel {
	var out []panel
	for _, p := range panels {
		if p.Type != "row" {
			out = append(out, p)
		}
		out = append(out, flat(p.Panels)...)
	}
	return out
}

// panels returns those of all dashboards, without rows.
func panels(t *testing.T) []panel {
	t.Helper()
	paths, err := filepath.Glob("*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("there are no dashboards", err)
	}
	var out []panel
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []panel `json:"panels"`
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		out = append(out, flat(d.Panels)...)
	}
	return out
}

// families returns the names of all metrics, and those of their series.
func families(t *testing.T) map[string][]string {
	t.Helper()
	var b bytes.Buffer
	if err := metrics.WriteSeries(&b); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(&b)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for name, family := range all {
		out[name] = []string{name}
		if family.GetType().String() == "HISTOGRAM" {
			out[name] = []string{name + "_bucket", name + "_count", name + "_sum"}
		}
	}
	return out
}

// TestQueriesAreAboutMetricsThatThereAre, and there is a panel for each of them.
func TestQueriesAreAboutMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	var expressions strings.Builder
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			expressions.WriteString(target.Expr + "\n")
		}
	}
	asked := regexp.MustCompile(`virtferry_\w+`).FindAllString(expressions.String(), -1)
	all := families(t)
	var series []string
	for name, of := range all {
		series = append(series, of...)
		if !slices.ContainsFunc(of, func(s string) bool { return slices.Contains(asked, s) }) {
			t.Errorf("no panel shows %s", name)
		}
	}
	for _, name := range asked {
		if !slices.Contains(series, name) {
			t.Errorf("a panel asks for %s, which there is not", name)
		}
	}
}

// TestQueriesAreAboutLabelsThatThereAre, and about values that these take.
func TestQueriesAreAboutLabelsThatThereAre(t *testing.T) {
	t.Parallel()
	catalogue, err := queries.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			for _, problem := range catalogue.Problems(target.Expr) {
				t.Errorf("the panel %q: %s", p.Title, problem)
			}
			for _, used := range labelInLegend.FindAllStringSubmatch(target.Legend, -1) {
				if !slices.Contains(queries.Grouped(target.Expr), used[1]) {
					t.Errorf("the panel %q: the legend names the label %q, which %s does not leave", p.Title, used[1], target.Expr)
				}
			}
		}
	}
}

var labelInLegend = regexp.MustCompile(`{{(\w+)}}`)

// unitOf returns the unit, by Grafana's name, of what a query returns, by the names that its
// metrics have by convention.
func unitOf(expr string) string {
	for _, of := range []struct{ metric, unit string }{
		{`_bytes_per_second\b`, "binBps"},
		{`\brate\(virtferry_\w+_bytes_total\b`, "binBps"},
		{`_bytes(_bucket)?\b`, "bytes"},
		{`_seconds(_bucket)?\b`, "s"},
		{`_ratio(_bucket)?\b`, "percentunit"},
	} {
		if regexp.MustCompile(of.metric).MatchString(expr) {
			return of.unit
		}
	}
	return "short"
}

// TestUnitsAreThoseOfTheMetrics: bytes that are shown as seconds are data, too.
func TestUnitsAreThoseOfTheMetrics(t *testing.T) {
	t.Parallel()
	for _, p := range panels(t) {
		unit := p.FieldConfig.Defaults.Unit
		switch p.Type {
		case "heatmap":
			unit = p.Options.YAxis.Unit
		case "state-timeline": // It shows texts.
			unit = "short"
		}
		for _, target := range p.Targets {
			if want := unitOf(target.Expr); unit != want {
				t.Errorf("the panel %q shows %q, but this is %q: %s", p.Title, unit, want, target.Expr)
			}
		}
	}
}

// TestEachPanelSaysWhatItIsAbout: whoever looks at it for the first time does so when
// something is wrong.
func TestEachPanelSaysWhatItIsAbout(t *testing.T) {
	t.Parallel()
	for _, p := range panels(t) {
		if p.Title == "" || !strings.HasSuffix(p.Description, ".") || len(p.Targets) == 0 {
			t.Errorf("the panel %q lacks a title, a description or a query", p.Title)
		}
	}
}

// TestNothingIsMadeUp: where no manager is scraped, a panel has no data, and is not green.
func TestNothingIsMadeUp(t *testing.T) {
	t.Parallel()
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			if strings.Contains(target.Expr, "vector(") {
				t.Errorf("the panel %q shows a number of its own: %s", p.Title, target.Expr)
			}
		}
	}
}
