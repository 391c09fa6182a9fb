{{- define "type" -}}
{{- $type := . -}}
{{- if markdownShouldRenderType $type }}
### {{ $type.Name }}

{{ $type.Doc }}
{{ if $type.IsAlias }}
Type: {{ markdownRenderTypeLink $type.UnderlyingType }}{{ template "rules" $type.Validation }}
{{ end -}}
{{- if $type.References }}
Appears in: {{ range $i, $reference := $type.SortedReferences }}{{ if $i }}, {{ end }}{{ markdownRenderTypeLink $reference }}{{ end }}
{{ end -}}
{{- if $type.Members }}
| Field | Type | Description |
| --- | --- | --- |
{{ if $type.GVK -}}
| `apiVersion` | string | `{{ $type.GVK.Group }}/{{ $type.GVK.Version }}` |
| `kind` | string | `{{ $type.GVK.Kind }}` |
{{ end -}}
{{ range $type.Members -}}
| `{{ .Name }}` | {{ markdownRenderType .Type }}{{ template "rules" .Validation }} | {{ template "type_members" . }}{{ if .Default }} Default: `{{ .Default }}`.{{ end }} |
{{ end -}}
{{- end -}}
{{- if $type.EnumValues }}
| Value | Meaning |
| --- | --- |
{{ range $type.EnumValues -}}
| `{{ .Name }}` | {{ regexReplaceAllLiteral "^[A-Z][A-Za-z0-9]+:? " (markdownRenderFieldDoc .Doc | replace "<br />" " " | trim) "" }} |
{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "rules" -}}
{{- range . -}}
{{- if hasPrefix "Required" . }}, required
{{- else if hasPrefix "Optional" . -}}
{{- else }}, {{ . | replace "|" "\\|" | replace "MinLength: " "length ≥ " | replace "MaxLength: " "length ≤ " | replace "Minimum: " "≥ " | replace "Maximum: " "≤ " | replace "MaxItems: " "items ≤ " | replace "MinItems: " "items ≥ " | replace "MinProperties: " "fields ≥ " | replace "MaxProperties: " "fields ≤ " | replace "Pattern: " "pattern " | replace "Enum: " "one of " }}
{{- end -}}
{{- end -}}
{{- end -}}
