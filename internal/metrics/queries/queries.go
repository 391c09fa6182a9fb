// Package queries says what is wrong with queries about the metrics of this module: a label
// that a metric does not have, or a value that it never takes, makes a query that returns
// nothing, and an alert that never fires. It is for tests.
package queries

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/virtferry/virtferry/internal/metrics"
)

// Catalogue knows the labels of metrics and the values that they take.
type Catalogue struct {
	// labels has the values of each label of each series. A label that is about names, of
	// nodes or guests, may have any.
	labels map[string]map[string][]string
}

// anyValue is that of a label which is about names.
const anyValue = ""

// ofTargets are the labels that Prometheus gives all that it scrapes of a target.
var ofTargets = []string{"instance", "job", "namespace", "pod"}

// New returns the catalogue of this module's metrics, and of the labels of others' that
// queries are about, too.
func New(others map[string][]string) (*Catalogue, error) {
	var text bytes.Buffer
	if err := metrics.WriteSeries(&text); err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		return nil, fmt.Errorf("reading the metrics: %w", err)
	}
	c := &Catalogue{labels: map[string]map[string][]string{}}
	for name, family := range families {
		labels := map[string][]string{}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		for _, name := range metrics.NameLabels() {
			if labels[name] != nil {
				labels[name] = []string{anyValue}
			}
		}
		c.labels[name] = labels
		for _, b := range family.GetMetric()[0].GetHistogram().GetBucket() {
			c.addBucket(name, labels, fmt.Sprint(b.GetUpperBound()))
		}
	}
	for name, labels := range others {
		c.labels[name] = map[string][]string{}
		for _, label := range labels {
			c.labels[name][label] = []string{anyValue}
		}
	}
	return c, nil
}

// addBucket adds the series of a histogram.
func (c *Catalogue) addBucket(name string, labels map[string][]string, bound string) {
	bucket := c.labels[name+"_bucket"]
	if bucket == nil {
		bucket = map[string][]string{}
		maps.Copy(bucket, labels)
		c.labels[name+"_bucket"], c.labels[name+"_sum"], c.labels[name+"_count"] = bucket, labels, labels
	}
	bucket["le"] = append(bucket["le"], bound)
}

var (
	word      = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	matcher   = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	selector  = regexp.MustCompile(`([a-zA-Z0-9_:]*)\s*\{([^}]*)\}`)
	grouping  = regexp.MustCompile(`\b(by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	text      = regexp.MustCompile(`"[^"]*"`)
	separator = regexp.MustCompile(`\s*,\s*`)
)

// Problems returns what is wrong with a query: each matcher has to be of a label that the
// metric has, and to fit one of its values at least, and each alternative of a regular
// expression, too. Labels by which results are grouped or joined have to be labels of all
// metrics that they are about.
func (c *Catalogue) Problems(query string) []string {
	var out []string
	if strings.ContainsAny(query, "'`") {
		out = append(out, "only what is in double quotes is looked at")
	}
	for _, found := range selector.FindAllStringSubmatch(query, -1) {
		out = append(out, c.ofMatchers(found[1], found[2])...)
	}
	for _, at := range grouping.FindAllStringSubmatchIndex(query, -1) {
		about := c.metricsIn(query)
		if query[at[2]:at[3]] == "by" {
			about = c.metricsIn(aggregated(query, at[0], at[1]))
		}
		for _, label := range separator.Split(strings.TrimSpace(query[at[4]:at[5]]), -1) {
			for _, metric := range about {
				if c.labels[metric][label] == nil && !slices.Contains(ofTargets, label) && label != "" {
					out = append(out, fmt.Sprintf("%s has no label %q to group by", metric, label))
				}
			}
		}
	}
	return out
}

// Grouped returns the labels by which a query groups its results, and which they have.
func Grouped(query string) []string {
	var out []string
	for _, found := range grouping.FindAllStringSubmatch(query, -1) {
		if found[1] == "by" {
			out = append(out, separator.Split(strings.TrimSpace(found[2]), -1)...)
		}
	}
	return out
}

// metricsIn are those that a query asks for.
func (c *Catalogue) metricsIn(query string) []string {
	var out []string
	for _, name := range word.FindAllString(text.ReplaceAllString(query, ""), -1) {
		if c.labels[name] != nil && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// aggregated is the expression in parentheses that an aggregation is of: it follows its
// clause, which is from one place to another, or is before it.
func aggregated(query string, from, to int) string {
	before := strings.TrimSpace(query[:from])
	if !strings.HasSuffix(before, ")") {
		return scope(query, to)
	}
	depth := 0
	for i, r := range slices.Backward([]byte(before)) {
		switch r {
		case ')':
			depth++
		case '(':
			depth--
		}
		if depth == 0 {
			return before[i:]
		}
	}
	return before
}

// scope is the expression in parentheses that follows.
func scope(query string, from int) string {
	depth := 0
	for i, r := range query[from:] {
		switch r {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 && i > 0 && r == ')' {
			return query[from : from+i+1]
		}
	}
	return query[from:]
}

func (c *Catalogue) ofMatchers(metric, matchers string) []string {
	labels, known := c.labels[metric]
	if !known {
		return []string{"there is no metric " + metric}
	}
	var out []string
	for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
		label, values := m[1], labels[m[1]]
		if values == nil {
			out = append(out, fmt.Sprintf("%s has no label %q", metric, label))
			continue
		}
		if slices.Contains(values, anyValue) {
			continue
		}
		for _, pattern := range alternatives(label, m[2], m[3]) {
			fits, err := regexp.Compile("^(?:" + pattern + ")$")
			if err != nil {
				out = append(out, err.Error())
			} else if !slices.ContainsFunc(values, fits.MatchString) {
				out = append(out, fmt.Sprintf("the label %q of %s never is %q, but one of %v", label, metric, pattern, unique(values)))
			}
		}
	}
	return out
}

// alternatives are what a matcher asks for, as regular expressions. A bound of a bucket is
// written in several ways, of which one has to fit.
func alternatives(label, operator, value string) []string {
	switch {
	case operator == "=" || operator == "!=":
		return []string{regexp.QuoteMeta(value)}
	case label == "le":
		return []string{value}
	default:
		return strings.Split(value, "|")
	}
}

func unique(values []string) []string { return slices.Compact(slices.Sorted(slices.Values(values))) }
