//go:build integration

package integration

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// besides has what some objects must have beside what is given, by the ends of
// their paths.
var besides = map[string]map[string]any{
	"status.source":            {"attemptID": "1"},
	"status.target":            {"attemptID": "1"},
	"status.attempt":           {"id": "1"},
	"endpoint":                 {"address": "b"},
	"convergence":              {"strategy": "Stepped"},
	"source.network":           {"protocol": "rbd", "name": "a"},
	"hosts[]":                  {"host": "a"},
	"virtualPort":              {"type": "802.1Qbg"},
	"cpuShares":                {"policy": "Set", "shares": 5},
	"realtime":                 {"vcpus": "1", "priority": 1},
	"status.target.offer":      {"graphics": map[string]any{"vncListenAddress": "192.0.2.1"}},
	"memoryBacking":            {"fileBacking": "Required"},
	"spec.migrateData":         {"perfEvents": []any{}},
	"migrateData.interfaces[]": {"macAddress": "52:54:00:00:00:01"},
}

// patterns has a value for each pattern of a string.
var patterns = map[string]string{
	`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`:                 "2026-01-02T03:04:05Z",
	`^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$`:       "2026-01-02T03:04:05.000006Z",
	`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`: "11111111-1111-4111-8111-111111111111",
	`^([0-9a-fA-F]{1,8}:)?[0-9a-fA-F]{1,2}:[01]?[0-9a-fA-F]\.[0-7]$`:                "0000:81:00.1",
	`^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$`:                                          "52:54:00:00:00:01",
	`^[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*$`:                        "1",
	`^([0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*)?$`:                     "1",
	`^/[^\x00-\x1f]+$`: "/a",
}

// minimal returns a small value that a schema takes.
func minimal(schema *apiextensionsv1.JSONSchemaProps) any {
	switch schema.Type {
	case "string":
		return minimalString(schema)
	case "integer":
		if len(schema.Enum) > 0 {
			return json.RawMessage(schema.Enum[0].Raw)
		}
		if schema.Minimum != nil {
			return max(0, int64(*schema.Minimum))
		}
		return 1
	case "boolean":
		return true
	case "array":
		if schema.MinItems != nil && *schema.MinItems > 0 {
			return []any{minimal(schema.Items.Schema)}
		}
		return []any{}
	default:
		return build(schema, "", "", nil)
	}
}

func minimalString(schema *apiextensionsv1.JSONSchemaProps) string {
	if len(schema.Enum) > 0 {
		return strings.Trim(string(schema.Enum[0].Raw), `"`)
	}
	if value, ok := patterns[schema.Pattern]; ok {
		return value
	}
	if schema.Format == "date-time" {
		return "2026-01-02T03:04:05.000006Z"
	}
	for _, rule := range schema.XValidations {
		if strings.HasPrefix(rule.Rule, "isIP(self)") {
			return "192.0.2.1"
		}
	}
	least := 1
	if schema.MinLength != nil {
		least = max(least, int(*schema.MinLength))
	}
	return strings.Repeat("a", least)
}

// build returns a small value that a schema at a path takes but for what lies at
// the path that is set, which is the given value.
func build(schema *apiextensionsv1.JSONSchemaProps, path, set string, value any) any {
	if path == set && value != nil {
		return value
	}
	if schema.Type == "array" {
		return []any{build(schema.Items.Schema, path+"[]", set, value)}
	}
	object := map[string]any{}
	for end, extra := range besides {
		if path == end || strings.HasSuffix(path, "."+end) {
			maps.Copy(object, extra)
		}
	}
	for _, name := range schema.Required {
		if _, ok := object[name]; !ok {
			property := schema.Properties[name]
			object[name] = minimal(&property)
		}
	}
	for name, property := range schema.Properties {
		if below := path + "." + name; value != nil && (set == below || strings.HasPrefix(set, below+".") || strings.HasPrefix(set, below+"[]")) {
			object[name] = build(&property, below, set, value)
		}
	}
	return complete(schema, object)
}

// complete adds one member of each union of which none is given, and a property
// where there must be one.
func complete(schema *apiextensionsv1.JSONSchemaProps, object map[string]any) any {
	for _, rule := range schema.XValidations {
		_, members, found := strings.Cut(rule.Message, "exactly one of the fields in [")
		if !found {
			continue
		}
		members, _, _ = strings.Cut(members, "]")
		names := strings.Fields(members)
		if !slices.ContainsFunc(names, func(name string) bool { _, ok := object[name]; return ok }) {
			property := schema.Properties[names[0]]
			object[names[0]] = minimal(&property)
		}
	}
	if schema.MinProperties != nil && len(object) == 0 {
		for name, property := range schema.Properties {
			object[name] = minimal(&property)
			break
		}
	}
	return object
}
