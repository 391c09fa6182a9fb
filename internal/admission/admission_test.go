package admission_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/config/crd"
	"github.com/virtferry/virtferry/internal/admission"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	checker, err := admission.NewChecker(crd.LiveMigrations)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		meta string
		spec string
		want []string
	}{
		"what is right":            {spec: "{domain: g, targetNode: node-b, migrateData: {volumes: [{serial: a, source: {file: {path: /srv/a}}}]}}"},
		"a field that is none":     {spec: "{domain: g, targetNode: node-b, migrateDate: {}}", want: []string{"spec.migrateDate: there is no such field"}},
		"a missing field":          {spec: "{migrateData: {perfEvents: []}}", want: []string{"spec.domain: Required value"}},
		"a value out of bounds":    {spec: "{domain: g, targetNode: node-b, migrateData: {serial: {ports: [70000]}}}", want: []string{"spec.migrateData.serial.ports[0]: Invalid value"}},
		"a rule of the kind":       {spec: "{domain: g, targetNode: node-b, migrateData: {volumes: [{serial: a, source: {file: {path: /a}, block: {path: /b}}}]}}", want: []string{"exactly one of the fields"}},
		"an entry that is twice":   {spec: "{domain: g, targetNode: node-b, migrateData: {mediatedDevices: [{source: 5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11, target: 5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b12}, {source: 5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11, target: 5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b13}]}}", want: []string{"spec.migrateData.mediatedDevices[1]: Duplicate value"}},
		"several things at once":   {spec: "{domain: g, targetNode: node-b, migrateDate: {}, migrateData: {serial: {ports: [0]}}}", want: []string{"spec.migrateDate", "spec.migrateData.serial.ports[0]"}},
		"a status does not count":  {spec: "{domain: g, targetNode: node-b}\nstatus: {phase: 7}"},
		"a name that is none":      {meta: "{name: X_Y}", spec: "{domain: g, targetNode: node-b}", want: []string{"metadata.name: Invalid value"}},
		"no name":                  {meta: "{}", spec: "{domain: g, targetNode: node-b}", want: []string{"metadata.name: Required value"}},
		"a name that is made":      {meta: "{generateName: move-}", spec: "{domain: g, targetNode: node-b}"},
		"a label that is none":     {meta: "{name: m, labels: {a b: c d}}", spec: "{domain: g, targetNode: node-b}", want: []string{"metadata.labels: Invalid value"}},
		"metadata that is none":    {meta: "{name: m, foo: 1}", spec: "{domain: g, targetNode: node-b}", want: []string{"metadata.foo: there is no such field"}},
		"metadata of a wrong kind": {meta: "{name: 7}", spec: "{domain: g, targetNode: node-b}", want: []string{"metadata"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var object map[string]any
			if tt.meta == "" {
				tt.meta = "{name: m, namespace: default}"
			}
			text := "apiVersion: migration.virtferry.dev/v1alpha1\nkind: LiveMigration\nmetadata: " + tt.meta + "\nspec: " + tt.spec
			if err := yaml.Unmarshal([]byte(text), &object); err != nil {
				t.Fatal(err)
			}
			err := checker.Check(t.Context(), object)
			if (err != nil) != (len(tt.want) > 0) {
				t.Fatalf("the error is %v, wanted %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not hold %q: %v", want, err)
				}
			}
		})
	}
}
