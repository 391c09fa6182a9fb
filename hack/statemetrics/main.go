// Command statemetrics makes the configurations by which kube-state-metrics and
// resource-state-metrics turn LiveMigrations and Hypervisors into metrics. Both are made
// of one list, see kinds.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: statemetrics KUBE-STATE-METRICS-DIRECTORY RESOURCE-STATE-METRICS-DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "statemetrics:", err)
		os.Exit(1)
	}
}

// write writes the configuration for kube-state-metrics, and the ConfigMap with it, into
// one directory, and the object that resource-state-metrics takes into another.
func write(kubeStateMetrics, resourceStateMetrics string) error {
	text, err := document("# Made by make generate. kube-state-metrics takes it with --custom-resource-state-config-file.\n", configuration())
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(`# Made by make generate.
apiVersion: v1
kind: ConfigMap
metadata:
  name: virtferry-kube-state-metrics
  namespace: virtferry-system
  labels:
    app.kubernetes.io/name: virtferry
data:
  config.yaml: |
`)
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	monitor, err := document("# Made by make generate. resource-state-metrics takes it once it is applied.\n", monitor())
	if err != nil {
		return err
	}
	for path, text := range map[string]string{
		filepath.Join(kubeStateMetrics, "config.yaml"):      text,
		filepath.Join(kubeStateMetrics, "configmap.yaml"):   b.String(),
		filepath.Join(resourceStateMetrics, "monitor.yaml"): monitor,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// object is a part of a YAML document.
type object = map[string]any

func document(head string, content object) (string, error) {
	text, err := yaml.Marshal(content)
	if err != nil {
		return "", fmt.Errorf("writing a configuration: %w", err)
	}
	return head + string(text), nil
}
