// Command crdbounds makes CRDs, as controller-gen writes them, refuse what the Go
// types cannot decode: controller-gen says of a time that it is a date-time and of
// an integer how wide it is, and the API server takes more than Go does for
// either. One object that cannot be decoded keeps every informer from its list.
//
// Usage: crdbounds FILE…
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func main() {
	for _, file := range os.Args[1:] {
		if err := rewrite(file); err != nil {
			fmt.Fprintf(os.Stderr, "crdbounds: %s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

// The forms in which Go writes times, and decodes them in turn. Together with the
// format, which knows the calendar, they leave nothing that Go does not take: no
// offsets, which may lead out of the years that Go can write, no leap seconds, and
// no year of Go's zero time, which is written as null.
const (
	timePattern      = `^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	microTimePattern = `^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`
)

// rewrite bounds the schema of the CRD in a file.
func rewrite(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		return err
	}
	kinds := map[string]reflect.Type{
		"LiveMigration": reflect.TypeFor[v1alpha1.LiveMigration](),
		"Hypervisor":    reflect.TypeFor[v1alpha1.Hypervisor](),
	}
	kind, ok := kinds[crd.Spec.Names.Kind]
	if !ok {
		return fmt.Errorf("the kind %s is unknown", crd.Spec.Names.Kind)
	}
	for i := range crd.Spec.Versions {
		if err := bound(crd.Spec.Versions[i].Schema.OpenAPIV3Schema, kind); err != nil {
			return err
		}
	}
	out, err := encode(crd)
	if err != nil {
		return err
	}
	return os.WriteFile(file, out, 0o644)
}

// encode writes a CRD as controller-gen does.
func encode(crd *apiextensionsv1.CustomResourceDefinition) ([]byte, error) {
	raw, err := json.Marshal(crd)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	delete(fields, "status")
	if raw, err = json.Marshal(fields); err != nil {
		return nil, err
	}
	text, err := yaml.JSONToYAML(raw)
	return append([]byte("---\n"), bytes.TrimLeft(text, "\n")...), err
}

// bound bounds the schema of a Go type.
func bound(schema *apiextensionsv1.JSONSchemaProps, goType reflect.Type) error {
	for goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	switch {
	case goType == reflect.TypeFor[metav1.Time]():
		schema.Pattern, schema.MaxLength = timePattern, new(int64(len("2006-01-02T15:04:05Z")))
	case goType == reflect.TypeFor[metav1.MicroTime]():
		schema.Pattern, schema.MaxLength = microTimePattern, new(int64(len("2006-01-02T15:04:05.000000Z")))
	case schema.Type == "integer":
		boundInteger(schema, goType)
	case schema.Type == "array":
		return bound(schema.Items.Schema, goType.Elem())
	case schema.Type == "object" && len(schema.Properties) > 0:
		return boundFields(schema, goType)
	}
	return nil
}

func boundInteger(schema *apiextensionsv1.JSONSchemaProps, goType reflect.Type) {
	// The bounds of a schema are floating-point numbers: the largest int64 is none of
	// them, and the next one does not fit into an int64.
	lowest, highest := float64(-v1alpha1.MaxInteger), float64(v1alpha1.MaxInteger)
	if goType.Kind() == reflect.Int32 {
		lowest, highest = math.MinInt32, math.MaxInt32
	}
	if schema.Minimum == nil || *schema.Minimum < lowest {
		schema.Minimum = &lowest
	}
	if schema.Maximum == nil || *schema.Maximum > highest {
		schema.Maximum = &highest
	}
}

// boundFields bounds those of a struct.
func boundFields(schema *apiextensionsv1.JSONSchemaProps, goType reflect.Type) error {
	types := map[string]reflect.Type{}
	for field := range goType.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		types[name] = field.Type
		if name == "" { // TypeMeta.
			for inner := range field.Type.Fields() {
				name, _, _ := strings.Cut(inner.Tag.Get("json"), ",")
				types[name] = inner.Type
			}
		}
	}
	for name, property := range schema.Properties {
		goType, ok := types[name]
		if !ok {
			return fmt.Errorf("no field of Go has the name %s", name)
		}
		if err := bound(&property, goType); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		schema.Properties[name] = property
	}
	return nil
}
