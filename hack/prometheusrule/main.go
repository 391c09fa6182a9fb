// Command prometheusrule makes the PrometheusRule from the file of alerts, comments
// included.
package main

import (
	"fmt"
	"os"
	"strings"
)

const head = `# Made from %s by make generate.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: virtferry
  namespace: virtferry-system
  labels:
    app.kubernetes.io/name: virtferry
spec:
`

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: prometheusrule ALERTS RULE")
		os.Exit(2)
	}
	if err := convert(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "prometheusrule:", err)
		os.Exit(1)
	}
}

// convert puts what is in a rules file, but for its own head, into a PrometheusRule: its
// spec is a rules file.
func convert(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	_, groups, found := strings.Cut(string(text), "\ngroups:\n")
	if !found {
		return fmt.Errorf("%s has no groups", from)
	}
	var b strings.Builder
	fmt.Fprintf(&b, head, from[strings.LastIndex(from, "/")+1:])
	for line := range strings.Lines("groups:\n" + groups) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("  ")
		}
		b.WriteString(line)
	}
	return os.WriteFile(to, []byte(b.String()), 0o644)
}
