package caches

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	kjson "sigs.k8s.io/json"
)

// salvageObject decodes an object without the values that its type does not take,
// and returns where they are.
func salvageObject(scheme *runtime.Scheme, data []byte, gvk schema.GroupVersionKind) (obj runtime.Object, lost []string, err error) {
	if obj, err = scheme.New(gvk); err != nil {
		return nil, nil, err
	}
	var value any
	if err := utiljson.Unmarshal(data, &value); err != nil {
		return nil, nil, err
	}
	s := salvager{}
	value, _ = s.keep(value, reflect.TypeOf(obj), "")
	good, err := json.Marshal(value)
	if err != nil {
		return nil, nil, err
	}
	return obj, s.lost, kjson.UnmarshalCaseSensitivePreserveInts(good, obj)
}

// salvager goes through a value beside its Go type.
type salvager struct{ lost []string }

// keep returns what the type takes of a value, and whether it takes any.
func (s *salvager) keep(value any, t reflect.Type, path string) (any, bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	_, decodesItself := reflect.TypeAssert[json.Unmarshaler](reflect.New(t))
	switch v := value.(type) {
	case map[string]any:
		if decodesItself {
			break
		}
		if t.Kind() == reflect.Struct {
			s.keepFields(v, t, path)
			return v, true
		}
	case []any:
		if t.Kind() == reflect.Slice && !decodesItself {
			kept := make([]any, 0, len(v))
			for i, item := range v {
				if item, ok := s.keep(item, t.Elem(), path+"["+strconv.Itoa(i)+"]"); ok {
					kept = append(kept, item)
				}
			}
			return kept, true
		}
	}
	if raw, err := json.Marshal(value); err == nil && kjson.UnmarshalCaseSensitivePreserveInts(raw, reflect.New(t).Interface()) == nil {
		return value, true
	}
	s.lost = append(s.lost, strings.TrimPrefix(path, "."))
	return nil, false
}

// keepFields removes from a struct's value what its fields do not take.
func (s *salvager) keepFields(value map[string]any, t reflect.Type, path string) {
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			s.keepFields(value, field.Type, path)
			continue
		}
		inner, given := value[name]
		if !given {
			continue
		}
		if kept, ok := s.keep(inner, field.Type, path+"."+name); ok {
			value[name] = kept
		} else {
			delete(value, name)
		}
	}
}
