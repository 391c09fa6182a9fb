//go:build integration

package integration

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// bridgeNames is the message of the rule on mappings of bridges.
const bridgeNames = "the name of a bridge has at most 15 characters and no blanks"

// TestSpecsOfHypervisors: which an administrator can write.
func TestSpecsOfHypervisors(t *testing.T) {
	t.Parallel()
	name := newWorld(t).node("spec")
	long := func(n int) string { return strings.Repeat("n", n) }
	mapping := func(kind, from, to string) string {
		return "{networkMappings: [{kind: " + kind + ", from: " + from + ", to: " + to + "}]}"
	}
	for _, c := range []struct{ spec, refused string }{
		{"{}", ""},
		{"{networkMappings: []}", ""},
		{mapping("Bridge", "br0", long(15)), ""},
		{mapping("Bridge", "br0", long(16)), bridgeNames},
		{mapping("Bridge", long(16), "br0"), bridgeNames},
		{mapping("Bridge", "'br 0'", "br0"), bridgeNames},
		{mapping("Bridge", "br0", "'br 0'"), bridgeNames},
		{mapping("Network", "'blue and green'", long(253)), ""},
		{mapping("Network", "blue", long(254)), "may not be more than 253 bytes"},
		{mapping("Network", "a/b", "c"), "should match"},
		{mapping("Network", "a", `"c\n"`), "should match"},
		{mapping("Network", "a", "''"), "should be at least 1 chars long"},
		{mapping("Device", "a", "b"), "Unsupported value"},
		{"{networkMappings: [{kind: Bridge, from: a, to: b}, {kind: Network, from: a, to: b}]}", ""},
		{"{networkMappings: [{kind: Bridge, from: a, to: b}, {kind: Bridge, from: a, to: c}]}", "Duplicate value"},
	} {
		spec := map[string]any{}
		if err := yaml.Unmarshal([]byte(c.spec), &spec); err != nil {
			t.Fatal(err)
		}
		err := cluster.client.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "migration.virtferry.dev/v1alpha1", "kind": "Hypervisor", "metadata": map[string]any{"name": name}, "spec": spec,
		}}, client.DryRunAll)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: the answer is %v, want %q", c.spec, err, c.refused)
		}
	}
}
