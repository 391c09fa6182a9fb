// Command dashboards makes Grafana's dashboards with Grafana's own builders, and the
// ConfigMap in which the sidecar of Grafana's chart finds them.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboards DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

const configMapHead = `# Made by make generate. The sidecar of Grafana's chart takes what has this label.
apiVersion: v1
kind: ConfigMap
metadata:
  name: virtferry-dashboards
  namespace: virtferry-system
  labels:
    app.kubernetes.io/name: virtferry
    grafana_dashboard: "1"
  annotations:
    grafana_folder: Virtferry
data:
`

func write(dir string) error {
	var configMap strings.Builder
	configMap.WriteString(configMapHead)
	for _, builder := range []*dashboard.DashboardBuilder{fleet(), node(), oneMigration()} {
		d, err := builder.Build()
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return fmt.Errorf("writing %s: %w", *d.Uid, err)
		}
		name := *d.Uid + ".json"
		if err := os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(&configMap, "  %s: |\n", name)
		for line := range strings.Lines(string(text)) {
			configMap.WriteString("    " + line)
		}
		configMap.WriteString("\n")
	}
	return os.WriteFile(filepath.Join(dir, "configmap.yaml"), []byte(configMap.String()), 0o644)
}
