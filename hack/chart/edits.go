package main

import (
	"fmt"
	"reflect"
	"strings"

	"sigs.k8s.io/yaml"
)

// edit is a place of a manifest that the chart's values decide.
type edit struct {
	// at is the beginning of a line, its indentation included. The place is that line
	// with what is nested in it.
	at string
	// value is the path in values.yaml of what has to be in that place. Left empty, it is
	// not compared.
	value string
	// keep leaves the place as it is; the text comes behind it.
	keep bool
	// text is the template for that place.
	text string
	// times is how often the place is there; 0 means once.
	times int
}

// edits returns the edits of each file.
func edits() map[string][]edit {
	pods := func(of string) []edit {
		values := ".Values." + of
		return []edit{
			{at: "        image: ", value: "IMAGE", text: "        image: {{ include \"virtferry.image\" . | quote }}\n"},
			{at: "        imagePullPolicy: ", value: "image.pullPolicy", text: "        imagePullPolicy: {{ .Values.image.pullPolicy }}\n"},
			{at: "        resources:", value: of + ".resources", text: nested(8, "resources", values+".resources")},
			{at: "      priorityClassName: ", value: of + ".priorityClassName", text: optional(6, "priorityClassName", values+".priorityClassName")},
			{at: "      serviceAccountName: ", keep: true, text: `      {{- with .Values.image.pullSecrets }}
      imagePullSecrets:
      {{- range . }}
      - name: {{ . | quote }}
      {{- end }}
      {{- end }}
`},
		}
	}
	labels := func(times int) []edit {
		return []edit{{at: "    app.kubernetes.io/name: ", keep: true, times: times, text: `    {{- with .Values.prometheus.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
`}}
	}
	return map[string][]edit{
		"crd/bases/": {{at: "    controller-gen.kubebuilder.io/version: ", keep: true, text: "    helm.sh/resource-policy: keep\n"}},
		"manager/deployment.yaml": append(pods("manager"),
			edit{at: "        - manager", keep: true, text: arguments("manager")},
			edit{at: "  replicas: ", value: "manager.replicas", text: "  replicas: {{ .Values.manager.replicas }}\n"},
			edit{at: "      serviceAccountName: ", keep: true, text: nested(6, "nodeSelector", ".Values.manager.nodeSelector") +
				nested(6, "tolerations", ".Values.manager.tolerations")},
		),
		"agent/daemonset.yaml": append(pods("agent"),
			edit{at: "        - --transport=", value: "TRANSPORT", text: "        - --transport={{ .Values.agent.transport }}\n" + arguments("agent")},
			edit{at: "        securityContext:", keep: true, text: frame(10, ".Values.agent.seLinuxType", "seLinuxOptions:", "  type: {{ . }}")},
			edit{at: "      nodeSelector:", value: "agent.nodeSelector", text: nested(6, "nodeSelector", ".Values.agent.nodeSelector")},
			edit{at: "      tolerations:", value: "agent.tolerations", text: nested(6, "tolerations", ".Values.agent.tolerations")},
			edit{at: "      maxUnavailable: ", value: "agent.maxUnavailable", text: "      maxUnavailable: {{ .Values.agent.maxUnavailable }}\n"},
		),
		"components/one-namespace/policy.yaml": {
			{at: "    expression: \"'virtferry-migrations'\"", text: "    expression: \"'{{ .Values.oneNamespace }}'\"\n"},
		},
		"components/network-policies/network_policies.yaml": {
			{at: "    - port: 443", text: "    {{- range .Values.networkPolicy.apiServerPorts }}\n    - port: {{ . }}\n      protocol: TCP\n    {{- end }}\n"},
			{at: "    - port: 6443"},
			{at: "    - port: 10000", text: "    {{- with .Values.networkPolicy.serialPorts }}\n    - port: {{ .first }}\n      endPort: {{ .last }}\n      protocol: TCP\n    {{- end }}\n"},
		},
		"grafana/configmap.yaml": {
			{at: "    grafana_dashboard: ", text: "    {{- toYaml .Values.grafana.labels | nindent 4 }}\n"},
		},
		"prometheus/monitors.yaml":       labels(2),
		"prometheus/prometheusrule.yaml": labels(1),
	}
}

// arguments is a template for further flags of a container.
func arguments(of string) string {
	return "        {{- range .Values." + of + ".args }}\n        - {{ . | quote }}\n        {{- end }}\n"
}

// optional is a template for a field that is left out where its value is empty.
func optional(indent int, field, value string) string {
	return frame(indent, value, field+": {{ . }}")
}

// nested is the same for a field with a map or a list in it.
func nested(indent int, field, value string) string {
	return frame(indent, value, field+":", fmt.Sprintf("  {{- toYaml . | nindent %d }}", indent+2))
}

func frame(indent int, value string, lines ...string) string {
	var b strings.Builder
	lines = append(append([]string{"{{- with " + value + " }}"}, lines...), "{{- end }}")
	for _, line := range lines {
		b.WriteString(strings.Repeat(" ", indent) + line + "\n")
	}
	return b.String()
}

// apply makes the edit in a manifest.
func (e edit) apply(text string, values map[string]any) (string, error) {
	var b strings.Builder
	found := 0
	for lines := strings.SplitAfter(text, "\n"); len(lines) > 0; {
		if !strings.HasPrefix(lines[0], e.at) {
			b.WriteString(lines[0])
			lines = lines[1:]
			continue
		}
		found++
		n := placeLength(lines)
		place := strings.Join(lines[:n], "")
		lines = lines[n:]
		if e.keep {
			b.WriteString(place)
		}
		if e.value != "" {
			if err := sameAs(place, values, e.value); err != nil {
				return "", err
			}
		}
		b.WriteString(e.text)
	}
	if want := max(e.times, 1); found != want {
		return "", fmt.Errorf("%d lines begin with %q, not %d", found, e.at, want)
	}
	return b.String(), nil
}

// placeLength returns how many lines the first one and what is nested in it take. Items
// of a list are indented as much as its name.
func placeLength(lines []string) int {
	indent := indentation(lines[0])
	item := strings.HasPrefix(lines[0][indent:], "- ")
	n := 1
	for ; n < len(lines); n++ {
		at := indentation(lines[n])
		if at > indent || at == indent && !item && strings.HasPrefix(lines[n][at:], "- ") {
			continue
		}
		break
	}
	return n
}

func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// sameAs fails unless the value in a place, a field or an item, is the one at a path of
// values.yaml.
func sameAs(place string, values map[string]any, path string) error {
	want, known := lookUp(values, path)
	if !known {
		return fmt.Errorf("values.yaml has no %s", path)
	}
	var parsed any
	if err := yaml.Unmarshal([]byte(place), &parsed); err != nil {
		return err
	}
	var is any
	switch parsed := parsed.(type) {
	case map[string]any:
		for _, is = range parsed {
		}
	case []any:
		is = parsed[0]
	}
	if !reflect.DeepEqual(is, want) {
		return fmt.Errorf("this is not what values.yaml has as %s, %v; make them the same:\n%s", path, want, place)
	}
	return nil
}

func lookUp(values map[string]any, path string) (any, bool) {
	first, rest, more := strings.Cut(path, ".")
	value, known := values[first]
	if !more || !known {
		return value, known
	}
	inner, _ := value.(map[string]any)
	return lookUp(inner, rest)
}
