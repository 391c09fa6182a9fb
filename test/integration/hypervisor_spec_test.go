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

// The messages of the rules on mappings of storage.
const (
	plainDirectories = "a directory is given by its absolute path without . or .. in it or surplus slashes, and is not the root of all files"
	poolNames        = "a pool is given by its name, which has no slashes; give the directory of its volumes with the kind Directory"
	notBelowItself   = "a directory cannot be found below itself: what is there on other hosts already would be looked for one level deeper"
)

// TestSpecsOfHypervisors: which an administrator can write.
func TestSpecsOfHypervisors(t *testing.T) {
	t.Parallel()
	name := newWorld(t).node("spec")
	long := func(n int) string { return strings.Repeat("n", n) }
	mapping := func(kind, from, to string) string {
		return "{networkMappings: [{kind: " + kind + ", from: " + from + ", to: " + to + "}]}"
	}
	storage := func(kind, from, to string) string {
		return "{storageMappings: [{kind: " + kind + ", from: " + from + ", to: " + to + "}]}"
	}
	for _, c := range []struct{ spec, refused string }{
		{storage("Directory", "/images", "/srv/guests"), ""},
		{storage("Directory", "/images", "/images"), ""},
		{storage("Directory", "/images", "/images-of-others/.a..b"), ""},
		{storage("Directory", "/images", "/srv/"), plainDirectories},
		{storage("Directory", "/images/", "/srv"), plainDirectories},
		{storage("Directory", "//images", "/srv"), plainDirectories},
		{storage("Directory", "/images/../x", "/srv"), plainDirectories},
		{storage("Directory", "/images", "/srv/."), plainDirectories},
		{storage("Directory", "images", "/srv"), plainDirectories},
		{storage("Directory", "/images", "/"), plainDirectories},
		{storage("Directory", "/images", "/images/of-others"), notBelowItself},
		{storage("Directory", "/images", `"/a\n"`), "should match"},
		{storage("Directory", "/"+long(511), "/a"), ""},
		{storage("Directory", "/"+long(512), "/a"), "may not be more than 512 bytes"},
		{storage("Pool", "default", "'fast and new'"), ""},
		{storage("Pool", "default", "/images"), poolNames},
		{storage("Pool", "/images", "default"), poolNames},
		{storage("Volume", "a", "b"), "Unsupported value"},
		{"{storageMappings: [{kind: Pool, from: a, to: b}, {kind: Pool, from: a, to: c}]}", "Duplicate value"},
		{"{storageMappings: [{kind: Directory, from: /a, to: /b}, {kind: Directory, from: /b, to: /a}]}", ""},
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
