package metrics

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/hostfiles"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const pageHead = `# Metrics

The metrics that Virtferry exposes to Prometheus. This page is generated from the code by ` + "`make docs-gen`" + `. How to
scrape them, and who may, is in [Installing](install.md#metrics-and-alerts).

- The manager and each agent serve their metrics at ` + "`/metrics`" + `, together with those of
  [controller-runtime](https://book.kubebuilder.io/reference/metrics-reference) and of the Go runtime.
- A migration is counted once, when its end has been written, by the manager that has written it. Counters start at zero
  with each process; migrations that had ended before are not counted again.
- Gauges of the manager come from the leader only. The other managers do not have them.
- No label names a guest or a LiveMigration, except in the last table, which agents expose with
  ` + "`--metrics-guest-names`" + `. All other labels have the values listed here, or name nodes.
- A reason that the manager does not know is counted as ` + "`Other`" + `.
`

// Page returns the page about all metrics, as Markdown.
func Page() (string, error) {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, section := range []struct {
		title, intro string
		declared     []definition
	}{
		{"The manager", "", managerDefinitions()},
		{"Each agent", "All have the label `node`, the name of the agent's node.", agentDefinitions()},
		{"The manager and each agent", "", []definition{defCaches}},
		{"Each agent, with `--metrics-guest-names`", "All have the label `node` as well.", namingDefinitions()},
	} {
		if err := writeSection(&b, section.title, section.intro, section.declared); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func writeSection(b *strings.Builder, title, intro string, declared []definition) error {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if intro != "" {
		fmt.Fprintf(b, "%s\n\n", intro)
	}
	b.WriteString("| Metric | Type | Labels | Meaning |\n| --- | --- | --- | --- |\n")
	seen, err := labelValues()
	if err != nil {
		return err
	}
	for _, d := range declared {
		labels := make([]string, 0, len(d.labels))
		for _, label := range d.labels {
			labels = append(labels, describeLabel(label, seen[d.name][label]))
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", d.name, d.kind, strings.Join(labels, "; "), d.help)
	}
	return nil
}

// describeLabel says which values a label has, unless they are names.
func describeLabel(label string, values []string) string {
	if slices.Contains(NameLabels(), label) {
		return "`" + label + "`"
	}
	return "`" + label + "`: " + strings.Join(slices.Sorted(slices.Values(values)), ", ")
}

// NameLabels are the labels that name nodes, LiveMigrations or guests, and so may have any
// value.
func NameLabels() []string {
	return []string{labelNode, labelSourceNode, labelTargetNode, labelNamespace, labelMigration, labelGuest}
}

// gather returns all metrics of all processes, with a series for each value of each
// label. Nearly all of them are there from the beginning.
func gather() ([]*dto.MetricFamily, error) {
	registry, fine := prometheus.NewPedanticRegistry(), func() error { return nil }
	manager := NewManager(func() (State, bool) { return State{Nodes: map[string]NodeState{"": NodeAvailable}}, true })
	manager.beginBetween("from", "to")
	for _, c := range []prometheus.Collector{
		manager,
		&Agent{
			NameGuests: true, Load: loadOfEverything, Contact: func() hypervisor.Contact { return hypervisor.Contact{} },
			Clock: clock.RealClock{},
		},
		Caches{"manager": fine, "source": fine, "target": fine},
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering all metrics: %w", err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gathering all metrics: %w", err)
	}
	return families, nil
}

// loadOfEverything has one of each thing that a node may have.
func loadOfEverything() agent.Load {
	ends := hostfiles.Certificate{NotAfter: time.Unix(0, 0)}
	all := &hostfiles.Credentials{Authority: ends, Server: ends, Client: ends}
	return agent.Load{
		Jobs: []agent.Job{{}}, Certificates: agent.CertificateEnds(hostfiles.Facts{Control: all, Migration: all}),
	}
}

// WriteSeries writes all metrics as Prometheus reads them, with a series for each value
// of each label.
func WriteSeries(w io.Writer) error {
	families, err := gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(w, f); err != nil {
			return fmt.Errorf("writing %s: %w", f.GetName(), err)
		}
	}
	return nil
}

// labelValues returns the values that labels have, by the names of metrics and labels.
func labelValues() (map[string]map[string][]string, error) {
	families, err := gather()
	if err != nil {
		return nil, err
	}
	out := map[string]map[string][]string{}
	for _, f := range families {
		labels := map[string][]string{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if !slices.Contains(labels[l.GetName()], l.GetValue()) {
					labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
				}
			}
		}
		out[f.GetName()] = labels
	}
	return out, nil
}
