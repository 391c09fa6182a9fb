{{- define "type_members" -}}
{{- $field := . -}}
{{- if eq $field.Name "metadata" -}}
The metadata of every Kubernetes object.
{{- else -}}
{{ markdownRenderFieldDoc $field.Doc | replace "<br />" " " }}
{{- end -}}
{{- end -}}
