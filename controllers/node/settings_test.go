package node

import (
	"errors"
	"testing"
)

// TestSettingsOfANode are in the spec of its Hypervisor, whatever else that says.
func TestSettingsOfANode(t *testing.T) {
	t.Parallel()
	mapping := map[string]any{"kind": "Bridge", "from": "br0", "to": "br1"}
	for name, c := range map[string]struct {
		stored map[string]any
		want   int
		fails  bool
	}{
		"no spec":                     {map[string]any{"status": map[string]any{}}, 0, false},
		"mappings":                    {map[string]any{"spec": map[string]any{"networkMappings": []any{mapping}}}, 1, false},
		"a status without a meaning":  {map[string]any{"spec": map[string]any{"networkMappings": []any{mapping}}, "status": map[string]any{"domains": "x"}}, 1, false},
		"a spec without a meaning":    {map[string]any{"spec": "x"}, 0, true},
		"mappings without a meaning":  {map[string]any{"spec": map[string]any{"networkMappings": "x"}}, 0, true},
		"fields that nobody knows of": {map[string]any{"spec": map[string]any{"later": "x"}}, 0, false},
	} {
		c.stored["apiVersion"], c.stored["kind"] = "migration.virtferry.dev/v1alpha1", "Hypervisor"
		r := &HypervisorRecorder{Node: "a", watched: &olderServer{stored: c.stored}}
		got, err := r.Settings(t.Context())
		if len(got.NetworkMappings) != c.want || (err != nil) != c.fails || errors.Is(err, errUnreadable) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
