{{- define "gvList" -}}
<!-- Made by `make docs-gen` from the types in api/v1alpha1. Do not edit. -->

# API reference

All numbers are integers, with the unit in the field's name. Fields are optional unless they are marked as required.
[LiveMigration](livemigration.md) explains who writes which part of the status, and what it means.
{{ range . }}
{{ template "gvDetails" . }}
{{- end }}
{{- end -}}
