//go:build integration

package integration

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestEveryFieldOfTheSpecIsMutableOrNot fails for a field of which neither mutableFields nor
// changeRules knows.
func TestEveryFieldOfTheSpecIsMutableOrNot(t *testing.T) {
	known := maps.Clone(mutableFields())
	for field := range changeRules() {
		known[field] = nil
	}
	var visit func(typ reflect.Type, path string)
	visit = func(typ reflect.Type, path string) {
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if field.Type == reflect.TypeFor[*v1alpha1.MigrationOptions]() {
				visit(field.Type.Elem(), path+name+".")
			} else if _, ok := known[path+name]; !ok {
				t.Errorf("no test says whether spec.%s%s may be changed", path, name)
			}
		}
	}
	visit(reflect.TypeFor[v1alpha1.LiveMigrationSpec](), "")
}
