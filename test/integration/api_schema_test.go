//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// Where migrate data occur. Their rules are tested beside their types.
const (
	migrateDataInSpec   = "spec.migrateData"
	migrateDataInStatus = "status.target.offer"
)

// celRules returns the rules of all kinds as "path: message".
func celRules(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(config("crd/bases/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	var rules []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, crd); err != nil {
			t.Fatal(err)
		}
		for _, version := range crd.Spec.Versions {
			rules = append(rules, rulesOf(version.Schema.OpenAPIV3Schema, "")...)
		}
	}
	return rules
}

func rulesOf(schema *apiextensionsv1.JSONSchemaProps, path string) []string {
	var rules []string
	for _, rule := range schema.XValidations {
		rules = append(rules, strings.TrimPrefix(path, ".")+": "+rule.Message)
	}
	for name, property := range schema.Properties {
		rules = append(rules, rulesOf(&property, path+"."+name)...)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		rules = append(rules, rulesOf(schema.Items.Schema, path+"[]")...)
	}
	return rules
}

// TestEveryRuleOfTheSchemaIsTested fails for a rule that nothing here shows to
// refuse anything.
func TestEveryRuleOfTheSchemaIsTested(t *testing.T) {
	tested := []string{"status.completionTime: " + writtenOnce, "status: " + neverRemoved, "status: " + currentSource, "status: " + currentTarget,
		"status.source: " + startStays, "status.source: " + endStays, "status: " + sourceStays, "status: " + targetStays,
		"status: " + progressStays, "status: " + attemptStays, "status: " + partsStay, "status.target.endpoint.address: " + badAddress,
		"status.target.endpoint.dataAddress: " + badDataAddress, "status.target.endpoint.disksAddress: " + badDisksAddress,
		"status.target.host.migrationTLS.serverName: " + badServerName,
		"spec.networkMappings: " + bridgeNames,
		"spec.storageMappings: " + plainDirectories, "spec.storageMappings: " + poolNames, "spec.storageMappings: " + notBelowItself,
		"status.source.guest.secrets[]: " + oneReference, "status.source: " + revisionGoesOn, "status.target: " + revisionGoesOn}
	for _, rule := range createRules() {
		tested = append(tested, rule.field+": "+rule.message)
	}
	for _, rule := range changeRules() {
		tested = append(tested, rule.place()+": "+rule.message)
	}
	for _, rule := range celRules(t) {
		if place, silent := strings.CutSuffix(rule, ": "); silent {
			t.Errorf("the rule on %s has no message", place)
		}
		if strings.HasPrefix(rule, migrateDataInSpec) || strings.HasPrefix(rule, migrateDataInStatus) {
			continue
		}
		if !slices.Contains(tested, rule) {
			t.Errorf("no test breaks the rule %q", rule)
		}
	}
}

// TestOffersHaveTheRulesOfMigrateData makes the tests beside the types of migrate
// data good for what target agents offer as well.
func TestOffersHaveTheRulesOfMigrateData(t *testing.T) {
	under := func(prefix string) (found []string) {
		for _, rule := range celRules(t) {
			if rest, ok := strings.CutPrefix(rule, prefix); ok {
				found = append(found, rest)
			}
		}
		return found
	}
	inSpec, offered := under(migrateDataInSpec), under(migrateDataInStatus)
	for _, rule := range offered {
		if !slices.Contains(inSpec, rule) {
			t.Errorf("the spec has no such rule: %s", rule)
		}
	}
	if len(offered) == 0 {
		t.Error("there are no rules on offers")
	}
}
