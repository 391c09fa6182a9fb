package metrics

import (
	"strings"
	"testing"
)

// TestThePageAndPromtoolSeeEachMetricAndLabel: what is gathered for them has a series of
// everything that is declared, so that a label's values are told and nothing escapes
// Prometheus' linter.
func TestThePageAndPromtoolSeeEachMetricAndLabel(t *testing.T) {
	t.Parallel()
	seen, err := labelValues()
	if err != nil {
		t.Fatal(err)
	}
	declared := append(managerDefinitions(), append(agentDefinitions(), append(namingDefinitions(), defCaches)...)...)
	for _, d := range declared {
		if seen[d.name] == nil {
			t.Errorf("%s has no series", d.name)
		}
		for _, label := range d.labels {
			if described := describeLabel(label, seen[d.name][label]); strings.HasSuffix(described, ": ") {
				t.Errorf("%s: the page tells no value of the label %s", d.name, label)
			}
		}
	}
}
