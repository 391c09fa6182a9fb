// Package crd has the definitions of Virtferry's kinds, for programs that judge objects
// as the API server does.
package crd

import _ "embed" // For the definitions.

// LiveMigrations is the CustomResourceDefinition of LiveMigration as YAML.
//
//go:embed bases/migration.virtferry.dev_livemigrations.yaml
var LiveMigrations string
