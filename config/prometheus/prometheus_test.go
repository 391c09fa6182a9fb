// Package prometheus holds what the Prometheus operator and Prometheus are given. The
// tests hold it against the code, the documentation and the operator's types.
package prometheus

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/internal/metrics"
	"github.com/virtferry/virtferry/internal/metrics/queries"
)

// root is the top of the source tree.
var root = filepath.Join("..", "..")

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rulesFile is a file of rules, as Prometheus reads it. A PrometheusRule's spec is one.
func rulesFile(t *testing.T) monitoringv1.PrometheusRuleSpec {
	t.Helper()
	var rules monitoringv1.PrometheusRuleSpec
	if err := yaml.UnmarshalStrict([]byte(read(t, "alerts.yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

func alerts(t *testing.T) []monitoringv1.Rule {
	t.Helper()
	var out []monitoringv1.Rule
	for _, group := range rulesFile(t).Groups {
		out = append(out, group.Rules...)
	}
	if len(out) == 0 {
		t.Fatal("there are no alerts")
	}
	return out
}

// TestTheOperatorTakesTheManifests: none of its objects has an unknown or misspelt field.
func TestTheOperatorTakesTheManifests(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, file := range []string{"monitors.yaml", "prometheusrule.yaml"} {
		for documents := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(read(t, file)), 4096); ; {
			var raw map[string]any
			err := documents.Decode(&raw)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			kind, _ := raw["kind"].(string)
			object, known := map[string]any{
				"ServiceMonitor": &monitoringv1.ServiceMonitor{}, "PodMonitor": &monitoringv1.PodMonitor{}, "PrometheusRule": &monitoringv1.PrometheusRule{},
			}[kind]
			if !known || raw["apiVersion"] != monitoringv1.SchemeGroupVersion.String() {
				t.Fatalf("%s: %v %q is none of the operator's", file, raw["apiVersion"], kind)
			}
			found[kind] = true
			text, err := yaml.Marshal(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := yaml.UnmarshalStrict(text, object); err != nil {
				t.Errorf("%s: %s: %v", file, kind, err)
			}
		}
	}
	if len(found) != 3 {
		t.Errorf("there are only %v", found)
	}
}

// TestThePrometheusRuleIsTheRulesFile: there is one source of alerts.
func TestThePrometheusRuleIsTheRulesFile(t *testing.T) {
	t.Parallel()
	var rule monitoringv1.PrometheusRule
	if err := yaml.UnmarshalStrict([]byte(read(t, "prometheusrule.yaml")), &rule); err != nil {
		t.Fatal(err)
	}
	got, err := yaml.Marshal(rule.Spec)
	if err != nil {
		t.Fatal(err)
	}
	want, err := yaml.Marshal(rulesFile(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("prometheusrule.yaml is not current: run `make generate`")
	}
}

// TestEveryAlertHasARunbook, which the alert leads to and the index lists.
func TestEveryAlertHasARunbook(t *testing.T) {
	t.Parallel()
	runbooks := filepath.Join(root, "docs", "runbooks")
	index := read(t, filepath.Join(runbooks, "README.md"))
	pages, err := filepath.Glob(filepath.Join(runbooks, "Virtferry*.md"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{}
	for _, alert := range alerts(t) {
		page := alert.Alert + ".md"
		wanted[page] = true
		if url := "https://github.com/virtferry/virtferry/blob/main/docs/runbooks/" + page; alert.Annotations["runbook_url"] != url {
			t.Errorf("%s: the runbook is %q", alert.Alert, alert.Annotations["runbook_url"])
		}
		if s := alert.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: the severity is %q", alert.Alert, s)
		}
		if !strings.Contains(index, "("+page+")") {
			t.Errorf("%s: the index of runbooks does not list it", alert.Alert)
		}
		if !strings.HasPrefix(read(t, filepath.Join(runbooks, page)), "# "+alert.Alert+"\n") {
			t.Errorf("%s: its runbook has another heading", alert.Alert)
		}
	}
	for _, page := range pages {
		if !wanted[filepath.Base(page)] {
			t.Errorf("%s is about no alert", page)
		}
	}
}

var (
	metricName = regexp.MustCompile(`virtferry_[a-z_]+`)
	seriesOf   = regexp.MustCompile(`_(bucket|count|sum)$`)
)

// TestAlertsAskForMetricsThatThereAre: a misspelt one would never fire.
func TestAlertsAskForMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	page, err := metrics.Page()
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range alerts(t) {
		names := metricName.FindAllString(alert.Expr.String(), -1)
		if len(names) == 0 {
			t.Errorf("%s asks for none of our metrics", alert.Alert)
		}
		for _, name := range names {
			if !strings.Contains(page, "| `"+seriesOf.ReplaceAllString(name, "")+"` |") {
				t.Errorf("%s: there is no metric %s", alert.Alert, name)
			}
		}
	}
}

// otherMetrics are those of others that alerts are about, with the labels that they have:
// kube-state-metrics'.
var otherMetrics = map[string][]string{"kube_node_spec_unschedulable": {"node"}}

// TestAlertsAskForLabelsThatThereAre, and for values that these take: with another, an alert
// would never fire, or always.
func TestAlertsAskForLabelsThatThereAre(t *testing.T) {
	t.Parallel()
	catalogue, err := queries.New(otherMetrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range alerts(t) {
		expr := alert.Expr.String()
		for _, problem := range catalogue.Problems(expr) {
			t.Errorf("%s: %s", alert.Alert, problem)
		}
		for _, text := range alert.Annotations {
			for _, used := range labelInText.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(queries.Grouped(expr), used[1]) {
					t.Errorf("%s: an annotation names the label %q, which %s does not leave", alert.Alert, used[1], expr)
				}
			}
		}
	}
}

var labelInText = regexp.MustCompile(`\$labels\.(\w+)`)

// TestEveryAlertIsTested: by a case in which it fires, and one in which it does not.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	var cases struct {
		Tests []struct {
			Rules []struct {
				Alert string           `json:"alertname"`
				Want  []map[string]any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "alerts_test.yaml")), &cases); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range cases.Tests {
		for _, rule := range test.Rules {
			fires[rule.Alert] = fires[rule.Alert] || len(rule.Want) > 0
			silent[rule.Alert] = silent[rule.Alert] || len(rule.Want) == 0
		}
	}
	for _, alert := range alerts(t) {
		if !fires[alert.Alert] || !silent[alert.Alert] {
			t.Errorf("%s: fires in a case: %v; does not in another: %v", alert.Alert, fires[alert.Alert], silent[alert.Alert])
		}
	}
}

// TestTheNodeOfAMetricIsKept: many who scrape pods give them a label node, which would take
// the place of the node that an alert is about. Nor may what is scraped say which pod, job or
// namespace it is of: whoever holds a node could speak for others.
func TestTheNodeOfAMetricIsKept(t *testing.T) {
	t.Parallel()
	drop := regexp.MustCompile(`(?m)^ +(- )?action: labeldrop\n +regex: node$|^ +- regex: node\n +action: labeldrop$`)
	for file, want := range map[string]int{"monitors.yaml": 2, "scrape.yaml": 1} {
		text := read(t, file)
		if n := len(drop.FindAllString(text, -1)); n != want {
			t.Errorf("%s drops the targets' label node in %d places, not in %d", file, n, want)
		}
		if regexp.MustCompile(`honor(_l|L)abels`).MatchString(text) {
			t.Errorf("%s has targets say what they are", file)
		}
	}
}
