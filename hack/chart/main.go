// Command chart makes the templates of the Helm chart from the manifests in config/, and
// its LICENSE from the one beside that, so that there is one source of both. Every file that
// a kustomization names becomes a template; what the chart's values decide is replaced in
// it, and has to be there with the value that values.yaml gives it.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: chart CONFIG CHART")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// source is a directory of config/ with a kustomization.
type source struct {
	dir string
	// when is the condition under which the chart has its objects; empty means always.
	when string
	// files are conditions of single files, which go before that.
	files map[string]string
}

func sources() []source {
	return []source{
		{dir: "crd", when: ".Values.crds.install"},
		{dir: "rbac"},
		{dir: "policy"},
		{dir: "manager"},
		{dir: "agent"},
		{dir: "prometheus", when: ".Values.prometheus.enabled", files: map[string]string{
			// Metrics in plain are read by anybody.
			"reader.yaml": "and .Values.prometheus.enabled .Values.metrics.secure",
		}},
		{dir: "grafana", when: ".Values.grafana.dashboards"},
		{dir: "components/one-namespace", when: ".Values.oneNamespace"},
		{dir: "components/network-policies", when: ".Values.networkPolicy.enabled"},
	}
}

// generate makes the templates of a chart.
func generate(config, chart string) error {
	values, err := readYAML(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	about, err := readYAML(filepath.Join(chart, "Chart.yaml"))
	if err != nil {
		return err
	}
	// What templates make of several values.
	repository, _ := lookUp(values, "image.repository")
	values["IMAGE"] = fmt.Sprintf("%v:%v", repository, about["appVersion"])
	transport, _ := lookUp(values, "agent.transport")
	values["TRANSPORT"] = fmt.Sprintf("--transport=%v", transport)
	serialPorts, _ := lookUp(values, "agent.serialPorts")
	values["SERIALPORTS"] = fmt.Sprintf("--serial-ports=%v", serialPorts)

	g := generator{config: config, chart: chart, values: values, edits: edits(), used: map[string]bool{}}
	for _, s := range sources() {
		if err := g.generate(s); err != nil {
			return err
		}
	}
	licence, err := os.ReadFile(filepath.Join(config, "..", "LICENSE"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(chart, "LICENSE"), licence, 0o644); err != nil {
		return err
	}
	for file := range g.edits {
		if !g.used[file] {
			return fmt.Errorf("no kustomization names %s/%s, in which something is to be replaced", config, file)
		}
	}
	return nil
}

// generator makes templates of what is in the directory config.
type generator struct {
	config, chart string
	values        map[string]any
	edits         map[string][]edit
	// used are the keys of edits that there were files for.
	used map[string]bool
}

func (g *generator) generate(s source) error {
	kustomization, err := readYAML(filepath.Join(g.config, s.dir, "kustomization.yaml"))
	if err != nil {
		return err
	}
	to := filepath.Join(g.chart, "templates", filepath.Base(s.dir))
	if err := errors.Join(os.RemoveAll(to), os.MkdirAll(to, 0o755)); err != nil {
		return err
	}
	files, _ := kustomization["resources"].([]any)
	for _, file := range files {
		name := fmt.Sprintf("%s/%v", s.dir, file)
		text, err := os.ReadFile(filepath.Join(g.config, name))
		if err != nil {
			return err
		}
		template, err := convert(string(text), g.edits[editsOf(name)], g.values)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", g.config, name, err)
		}
		g.used[editsOf(name)] = true
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), []byte(s.frame(name, template)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// editsOf names the edits of a file. Those of all CRDs are the same.
func editsOf(file string) string {
	if strings.HasPrefix(file, "crd/bases/") {
		return "crd/bases/"
	}
	return file
}

// frame says where a template is from, and when it counts.
func (s source) frame(name, template string) string {
	head := fmt.Sprintf("{{- /* Made from config/%s by make generate. */}}\n", name)
	when, own := s.files[strings.TrimPrefix(name, s.dir+"/")]
	if !own {
		when = s.when
	}
	if when == "" {
		return head + template
	}
	return head + "{{- if " + when + " }}\n" + template + "{{- end }}\n"
}

// convert makes a template of a manifest.
func convert(text string, edits []edit, values map[string]any) (string, error) {
	// What looks like a template already is text, of alerts for instance.
	text = strings.ReplaceAll(text, "{{", "{{ `{{` }}")
	text = strings.ReplaceAll(text, "\n  namespace: virtferry-system\n", "\n  namespace: {{ .Release.Namespace | quote }}\n")
	text = strings.ReplaceAll(text, "virtferry-system", "{{ .Release.Namespace }}")
	for _, e := range edits {
		var err error
		if text, err = e.apply(text, values); err != nil {
			return "", err
		}
	}
	return text, nil
}

func readYAML(path string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := yaml.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}
