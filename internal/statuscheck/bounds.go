package statuscheck

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"unicode/utf8"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// bounds are those of the status of LiveMigrations.
type bounds struct {
	status   apiextensionsv1.JSONSchemaProps
	patterns map[string]*regexp.Regexp
}

// readBounds reads them from the CRD, once.
var readBounds = sync.OnceValues(func() (*bounds, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return nil, errors.New("the source tree is not known")
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "..", "..", "config", "crd", "bases", "migration.virtferry.dev_livemigrations.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the CRD: %w", err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, crd); err != nil {
		return nil, fmt.Errorf("decoding the CRD: %w", err)
	}
	b := &bounds{status: crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"], patterns: map[string]*regexp.Regexp{}}
	return b, b.compile(&b.status)
})

// compile compiles the patterns of a schema.
func (b *bounds) compile(s *apiextensionsv1.JSONSchemaProps) (err error) {
	if s.Pattern != "" {
		if b.patterns[s.Pattern], err = regexp.Compile(s.Pattern); err != nil {
			return err
		}
	}
	if s.Items != nil {
		err = b.compile(s.Items.Schema)
	}
	for _, property := range s.Properties {
		err = errors.Join(err, b.compile(&property))
	}
	return err
}

// checkBounds holds the status against the bounds of the schema: what is beyond them
// the API server would never take, however often it was written.
func checkBounds(lm *v1alpha1.LiveMigration) error {
	b, err := readBounds()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(lm.Status)
	if err != nil {
		return fmt.Errorf("encoding the status: %w", err)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return fmt.Errorf("decoding the status: %w", err)
	}
	return b.within(&b.status, value, "status")
}

// within returns what of a value is beyond the bounds of its schema.
func (b *bounds) within(s *apiextensionsv1.JSONSchemaProps, value any, path string) error {
	switch v := value.(type) {
	case string:
		return b.textWithin(s, v, path)
	case float64:
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return fmt.Errorf("%s is %g, beyond its bounds", path, v)
		}
	case []any:
		return b.listWithin(s, v, path)
	case map[string]any:
		return b.fieldsWithin(s, v, path)
	}
	return nil
}

func (b *bounds) listWithin(s *apiextensionsv1.JSONSchemaProps, list []any, path string) error {
	var errs []error
	if s.MaxItems != nil && int64(len(list)) > *s.MaxItems {
		errs = append(errs, fmt.Errorf("%s has %d items, more than %d", path, len(list), *s.MaxItems))
	}
	for i, item := range list {
		errs = append(errs, b.within(s.Items.Schema, item, fmt.Sprintf("%s[%d]", path, i)))
	}
	return errors.Join(errs...)
}

func (b *bounds) fieldsWithin(s *apiextensionsv1.JSONSchemaProps, fields map[string]any, path string) error {
	var errs []error
	for _, name := range s.Required {
		if _, ok := fields[name]; !ok {
			errs = append(errs, fmt.Errorf("%s.%s is missing", path, name))
		}
	}
	for name, value := range fields {
		property, ok := s.Properties[name]
		if !ok {
			errs = append(errs, fmt.Errorf("%s.%s is unknown", path, name))
			continue
		}
		errs = append(errs, b.within(&property, value, path+"."+name))
	}
	return errors.Join(errs...)
}

func (b *bounds) textWithin(s *apiextensionsv1.JSONSchemaProps, text, path string) error {
	length := int64(utf8.RuneCountInString(text))
	switch {
	case s.MaxLength != nil && length > *s.MaxLength:
		return fmt.Errorf("%s is %d characters long, more than %d", path, length, *s.MaxLength)
	case s.MinLength != nil && length < *s.MinLength:
		return fmt.Errorf("%s is %d characters long, less than %d", path, length, *s.MinLength)
	case s.Pattern != "" && !b.patterns[s.Pattern].MatchString(text):
		return fmt.Errorf("%s is %q, which does not match %s", path, text, s.Pattern)
	}
	return nil
}
