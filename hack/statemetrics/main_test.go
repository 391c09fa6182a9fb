package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// schema is a part of a CRD's schema.
type schema struct {
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
	Enum       []string          `json:"enum"`
}

// schemaOf returns the schema of a kind.
func schemaOf(t *testing.T, plural string) schema {
	t.Helper()
	text, err := os.ReadFile("../../config/crd/bases/" + v1alpha1.GroupName + "_" + plural + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPI schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPI
}

// at returns what the schema has at a path.
func (s schema) at(path []string) (schema, bool) {
	for _, field := range path {
		if s.Items != nil {
			s = *s.Items
		}
		next, known := s.Properties[field]
		if !known {
			return schema{}, false
		}
		s = next
	}
	return s, true
}

// TestTheFieldsAreThere: what the metrics are made of is in the CRDs.
func TestTheFieldsAreThere(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		s := schemaOf(t, k.plural)
		for _, m := range k.metrics {
			for _, field := range fields(m) {
				if _, known := s.at(path(field)); !known && !strings.HasPrefix(field, "metadata.") {
					t.Errorf("%s: %s have no %s", m.name, k.plural, field)
				}
			}
		}
	}
}

// fields returns those that a metric is made of.
func fields(m metric) []string {
	var out []string
	if m.field != "" {
		out = append(out, m.field)
	}
	for _, field := range m.labels {
		if m.shape == conditions {
			field = m.field + "." + field
		}
		out = append(out, field)
	}
	return out
}

// TestEveryPhaseIsListed: a phase that the API gains has to be a state as well.
func TestEveryPhaseIsListed(t *testing.T) {
	t.Parallel()
	phase, _ := schemaOf(t, "livemigrations").at([]string{"status", "phase"})
	if len(phase.Enum) == 0 {
		t.Fatal("the schema lists no phases")
	}
	listed := phases()
	slices.Sort(listed)
	slices.Sort(phase.Enum)
	if !slices.Equal(listed, phase.Enum) {
		t.Errorf("the phases are %q, and the states %q", phase.Enum, listed)
	}
}
