// Package gitops tests what tools that keep LiveMigrations in Git are told of them, on
// objects that were recorded from a cluster while guests moved.
package gitops

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// customizations reads what Argo CD is given for LiveMigrations.
func customizations(t *testing.T) (health string, actions map[string]string, discovery string) {
	t.Helper()
	var config struct {
		Data map[string]string `json:"data"`
	}
	read(t, "../../config/gitops/argocd-cm.yaml", &config)
	const of = "." + v1alpha1.GroupName + "_LiveMigration"
	var custom struct {
		Discovery   string `json:"discovery.lua"`
		Definitions []struct {
			Name   string `json:"name"`
			Action string `json:"action.lua"`
		} `json:"definitions"`
	}
	if err := yaml.UnmarshalStrict([]byte(config.Data["resource.customizations.actions"+of]), &custom); err != nil {
		t.Fatal(err)
	}
	actions = map[string]string{}
	for _, d := range custom.Definitions {
		actions[d.Name] = d.Action
	}
	return config.Data["resource.customizations.health"+of], actions, custom.Discovery
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// recorded are the objects by the names of their files, which are their phases and
// reasons.
func recorded(t *testing.T) map[string]map[string]any {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]map[string]any{}
	for _, path := range paths {
		object := map[string]any{}
		read(t, path, &object)
		objects[strings.TrimSuffix(filepath.Base(path), ".yaml")] = object
	}
	return objects
}

func phaseOf(object map[string]any) v1alpha1.LiveMigrationPhase {
	status, _ := object["status"].(map[string]any)
	phase, _ := status["phase"].(string)
	return v1alpha1.LiveMigrationPhase(phase)
}

// TestEveryPhaseIsRecorded, so that the tests below have seen all.
func TestEveryPhaseIsRecorded(t *testing.T) {
	seen := map[v1alpha1.LiveMigrationPhase]bool{}
	for _, object := range recorded(t) {
		seen[phaseOf(object)] = true
	}
	for _, phase := range []v1alpha1.LiveMigrationPhase{
		"", v1alpha1.PhasePending, v1alpha1.PhasePreparing, v1alpha1.PhaseMigrating, v1alpha1.PhasePostCopy, v1alpha1.PhaseRecovering,
		v1alpha1.PhaseConfirming, v1alpha1.PhaseCancelling, v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed, v1alpha1.PhaseCancelled, v1alpha1.PhaseUnknown,
	} {
		if !seen[phase] {
			t.Errorf("no object of phase %q", phase)
		}
	}
}

// TestArgoCDHealth: only a guest that has moved is healthy, and a person is called exactly
// where one is needed.
func TestArgoCDHealth(t *testing.T) {
	script, _, _ := customizations(t)
	want := map[v1alpha1.LiveMigrationPhase]string{
		v1alpha1.PhaseSucceeded: "Healthy", v1alpha1.PhaseFailed: "Degraded", v1alpha1.PhaseCancelled: "Degraded", v1alpha1.PhaseUnknown: "Degraded",
	}
	for name, object := range recorded(t) {
		t.Run(name, func(t *testing.T) {
			health, _ := fromLua(runLua(t, script, object)).(map[string]any)
			expected := want[phaseOf(object)]
			if expected == "" {
				expected = "Progressing"
			}
			if health["status"] != expected {
				t.Errorf("it is %v, want %s", health["status"], expected)
			}
			if message, _ := health["message"].(string); message == "" {
				t.Error("it has no message")
			}
		})
	}
}

// TestArgoCDActions: what is offered can be carried out, and changes nothing but the
// annotation that asks for it.
func TestArgoCDActions(t *testing.T) {
	_, actions, discovery := customizations(t)
	if names := slices.Sorted(maps.Keys(actions)); !slices.Equal(names, []string{"cancel", "force-complete"}) {
		t.Fatalf("the actions are %v", names)
	}
	for name, object := range recorded(t) {
		t.Run(name, func(t *testing.T) {
			offered, _ := fromLua(runLua(t, discovery, object)).(map[string]any)
			if len(offered) != len(actions) {
				t.Errorf("%v are offered", offered)
			}
			for action, script := range actions {
				offer, _ := offered[action].(map[string]any)
				early := slices.Contains([]v1alpha1.LiveMigrationPhase{"", v1alpha1.PhasePending, v1alpha1.PhasePreparing, v1alpha1.PhaseMigrating}, phaseOf(object))
				if offer["disabled"] != !early {
					t.Errorf("%s is disabled: %v", action, offer["disabled"])
				}
				requireRequest(t, object, fromLua(runLua(t, script, object)), v1alpha1.GroupName+"/"+action)
			}
		})
	}
}

// requireRequest checks that an action has added an annotation to an object, with the time
// as its value, and nothing else.
func requireRequest(t *testing.T, before map[string]any, after any, annotation string) {
	t.Helper()
	object, _ := after.(map[string]any)
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	value := fmt.Sprint(annotations[annotation])
	if at, err := time.Parse(time.RFC3339, value); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("%s is %q: %v", annotation, value, err)
	}
	if diff := cmp.Diff(without(before, annotation), without(object, annotation)); diff != "" {
		t.Errorf("%s has changed more:\n%s", annotation, diff)
	}
}

// without returns an object without an annotation.
func without(object map[string]any, annotation string) any {
	object = runtime.DeepCopyJSON(object)
	unstructured.RemoveNestedField(object, "metadata", "annotations", annotation)
	return withoutEmpty(object)
}

// withoutEmpty returns a value without what Lua does not keep: empty lists and maps.
func withoutEmpty(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, item := range v {
			if item = withoutEmpty(item); item != nil {
				out[key] = item
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		var out []any
		for _, item := range v {
			out = append(out, withoutEmpty(item))
		}
		if len(out) == 0 {
			return nil
		}
		return out
	default:
		return v
	}
}
