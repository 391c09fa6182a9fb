{{/* The image of both the manager and the agents. */}}
{{- define "virtferry.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels: the user's, the first of a list, and ours, of which the user's replace some. */}}
{{- define "virtferry.labels" -}}
{{- toYaml (merge (dict) (index . 0 | default dict) (index . 1)) -}}
{{- end -}}
