// Package admission judges an object as the API server would when it is created, without
// an API server: by the schema and the rules of its CustomResourceDefinition, and by
// strict field validation, as kubectl asks for it.
package admission

import (
	"context"
	"errors"
	"fmt"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// Checker judges objects of one kind.
type Checker struct {
	structure *schema.Structural
	schema    validation.SchemaValidator
	rules     *cel.Validator
}

// NewChecker returns a checker for the one version of the kind that a
// CustomResourceDefinition defines.
func NewChecker(definition string) (*Checker, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict([]byte(definition), &crd); err != nil {
		return nil, fmt.Errorf("reading the definition: %w", err)
	}
	if n := len(crd.Spec.Versions); n != 1 {
		return nil, fmt.Errorf("the definition has %d versions instead of one", n)
	}
	var props apiextensions.JSONSchemaProps
	given := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(given, &props, nil); err != nil {
		return nil, fmt.Errorf("converting the schema: %w", err)
	}
	structure, err := schema.NewStructural(&props)
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	validator, _, err := validation.NewSchemaValidator(&props)
	if err != nil {
		return nil, fmt.Errorf("preparing the schema: %w", err)
	}
	return &Checker{structure: structure, schema: validator, rules: cel.NewValidator(structure, true, celconfig.PerCallLimit)}, nil
}

// Check fills in the defaults of an object and says everything that is wrong with it.
// Its status is ignored, as the API server does when an object is created.
func (c *Checker) Check(ctx context.Context, object map[string]any) error {
	delete(object, "status")
	defaulting.PruneNonNullableNullsWithoutDefaults(object, c.structure)
	defaulting.Default(object, c.structure)
	unknown := pruning.PruneWithOptions(object, c.structure, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	meta, unknownOfMeta, err := metadata(object)
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	unknown = append(unknown, unknownOfMeta...)
	wrong := apivalidation.ValidateObjectMetaAccessor(meta, true, apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	wrong = append(wrong, validation.ValidateCustomResource(nil, object, c.schema)...)
	wrong = append(wrong, listtype.ValidateListSetsAndMaps(nil, c.structure, object)...)
	if len(wrong) == 0 { // The rules rely on the schema.
		wrong, _ = c.rules.Validate(ctx, nil, c.structure, object, nil, celconfig.RuntimeCELCostBudget)
	}
	problems := make([]error, 0, len(unknown)+len(wrong))
	for _, path := range unknown {
		problems = append(problems, fmt.Errorf("%s: there is no such field", path))
	}
	for _, err := range wrong {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// metadata reads an object's metadata, and says which fields there are none. As with kubectl,
// the namespace need not be given.
func metadata(object map[string]any) (meta *metav1.ObjectMeta, unknown []string, err error) {
	meta, _, unknown, err = objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // The caller says what was read.
	}
	if meta == nil {
		meta = &metav1.ObjectMeta{}
	}
	if meta.Namespace == "" {
		meta.Namespace = metav1.NamespaceDefault
	}
	if meta.Name == "" {
		meta.Name = meta.GenerateName
		if meta.Name != "" {
			meta.Name += "x" // For the letters and digits that the API server adds.
		}
	}
	return meta, unknown, nil
}
