package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
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
	// labels is the path of a value with further labels, where the place is a map of
	// labels. A label that both have is the user's: a key must not be there twice.
	labels string
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
			{at: "      priorityClassName: ", value: of + ".priorityClassName", text: frame(6, values+".priorityClassName", "priorityClassName: {{ . | quote }}")},
			{at: "      serviceAccountName: ", keep: true, text: `      {{- with .Values.image.pullSecrets }}
      imagePullSecrets:
      {{- range . }}
      - name: {{ . | quote }}
      {{- end }}
      {{- end }}
`},
		}
	}
	labels := func(of string, times int) edit {
		return edit{at: "  labels:", labels: ".Values." + of, times: times}
	}
	return map[string][]edit{
		"crd/bases/": {{at: "    controller-gen.kubebuilder.io/version: ", keep: true, text: "    helm.sh/resource-policy: keep\n"}},
		"manager/deployment.yaml": append(pods("manager"),
			edit{at: "        - manager", keep: true, text: arguments("manager") + metricsArguments},
			edit{at: "        securityContext:", keep: true, text: "        {{- if .Values.metrics.certSecret }}\n        volumeMounts:\n" + certMount +
				"      volumes:\n" + certVolume + "      {{- end }}\n"},
			edit{at: "  replicas: ", value: "manager.replicas", text: "  replicas: {{ .Values.manager.replicas }}\n"},
			edit{at: "      serviceAccountName: ", keep: true, text: nested(6, "nodeSelector", ".Values.manager.nodeSelector") +
				nested(6, "tolerations", ".Values.manager.tolerations")},
		),
		"agent/daemonset.yaml": append(pods("agent"),
			edit{at: "        - --transport=", value: "TRANSPORT", text: "        - --transport={{ .Values.agent.transport }}\n"},
			edit{at: "        - --serial-ports=", value: "SERIALPORTS", text: "        - --serial-ports={{ .Values.agent.serialPorts }}\n" + arguments("agent")},
			edit{at: "        # Where the mounts below show the host's /etc/pki.", keep: true, text: unlessHidden(8)},
			edit{at: "        - --host-root=", keep: true, text: "        {{- end }}\n" + metricsArguments},
			edit{at: "        securityContext:", keep: true, text: frame(10, ".Values.agent.seLinuxType", "seLinuxOptions:", "  type: {{ . | quote }}") +
				frame(10, ".Values.agent.appArmorProfile", "appArmorProfile:", "  type: {{ . }}")},
			edit{at: "        # When the certificates of the host end.", keep: true, text: unlessHidden(8)},
			edit{at: "        - name: pki", keep: true, text: "        {{- end }}\n" + ifCertificate(8, certMount)},
			edit{at: "      # A part of it that is not there must not be made: ", keep: true, text: unlessHidden(6)},
			edit{at: "      - name: pki", keep: true, text: "      {{- end }}\n" + ifCertificate(6, certVolume)},
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
			{at: "    - port: 10000", text: "    {{- $ports := splitList \"-\" .Values.agent.serialPorts }}\n    - port: {{ index $ports 0 }}\n      endPort: {{ index $ports 1 }}\n      protocol: TCP\n"},
		},
		"grafana/configmap.yaml": {
			{at: "    grafana_dashboard: "},
			labels("grafana.labels", 1),
		},
		"prometheus/monitors.yaml": {
			labels("prometheus.labels", 2),
			{at: "    scheme: ", times: 2, text: "    scheme: {{ ternary \"https\" \"http\" .Values.metrics.secure }}\n    {{- if .Values.metrics.secure }}\n"},
			{at: "      insecureSkipVerify: ", times: 2, text: verification},
			{at: "    authorization:", times: 2, keep: true, text: "    {{- end }}\n"},
		},
		"prometheus/prometheusrule.yaml": {labels("prometheus.labels", 1)},
	}
}

// arguments is a template for further flags of a container.
func arguments(of string) string {
	return "        {{- range .Values." + of + ".args }}\n        - {{ . | quote }}\n        {{- end }}\n"
}

// The templates for how metrics are served, and for whoever scrapes them.
const (
	metricsArguments = `        {{- if not .Values.metrics.secure }}
        - --metrics-secure=false
        {{- end }}
        {{- if .Values.metrics.certSecret }}
        - --metrics-cert-dir=/run/secrets/metrics
        {{- end }}
`
	certMount = `        - name: metrics-certificate
          mountPath: /run/secrets/metrics
          readOnly: true
`
	certVolume = `      - name: metrics-certificate
        secret:
          secretName: {{ .Values.metrics.certSecret | quote }}
`
	verification = `      {{- if .Values.metrics.serverName }}
      ca:
        secret:
          name: {{ .Values.metrics.certSecret | quote }}
          key: ca.crt
      serverName: {{ .Values.metrics.serverName | quote }}
      {{- else }}
      insecureSkipVerify: true
      {{- end }}
`
)

// ifCertificate is a template that counts only where a Secret has the certificate for
// metrics.
func ifCertificate(indent int, text string) string {
	space := strings.Repeat(" ", indent)
	return space + "{{- if .Values.metrics.certSecret }}\n" + text + space + "{{- end }}\n"
}

// unlessHidden begins what an agent has only where it is shown its host's certificates.
func unlessHidden(indent int) string {
	return strings.Repeat(" ", indent) + "{{- if .Values.agent.hostCertificates }}\n"
}

// nested is a template for a field with a map or a list in it, which is left out where its
// value is empty.
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
		if e.labels != "" {
			more, err := withLabels(place, e.labels)
			if err != nil {
				return "", err
			}
			b.WriteString(more)
		}
	}
	if want := max(e.times, 1); found != want {
		return "", fmt.Errorf("%d lines begin with %q, not %d", found, e.at, want)
	}
	return b.String(), nil
}

// withLabels is a template for a map of labels in a manifest and those at the path of a
// value.
func withLabels(place, path string) (string, error) {
	var parsed map[string]map[string]string
	if err := yaml.Unmarshal([]byte(place), &parsed); err != nil {
		return "", err
	}
	indent := indentation(place)
	head, _, _ := strings.Cut(place, "\n")
	name := strings.TrimSuffix(strings.TrimSpace(head), ":")
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%*s{{- include \"virtferry.labels\" (list %s (dict", head, indent+2, "", path)
	for _, key := range slices.Sorted(maps.Keys(parsed[name])) {
		fmt.Fprintf(&b, " %q %q", key, parsed[name][key])
	}
	fmt.Fprintf(&b, ")) | nindent %d }}\n", indent+2)
	return b.String(), nil
}

// placeLength returns how many lines the first one and what is nested in it take. Items
// of a list are indented as much as its name.
func placeLength(lines []string) int {
	indent := indentation(lines[0])
	// Nothing is nested in a comment either.
	item := strings.HasPrefix(lines[0][indent:], "- ") || strings.HasPrefix(lines[0][indent:], "#")
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
