{{- define "gvList" -}}
<!-- Made by `make docs-gen` from the types in api/v1alpha1. Do not edit. -->

# API reference

Every number is an integer with its unit in its name. Fields are optional where nothing else is said. Which part of the
status is written by whom, and what it tells, is explained in [LiveMigration](livemigration.md).
{{ range . }}
{{ template "gvDetails" . }}
{{- end }}
{{- end -}}
