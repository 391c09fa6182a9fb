// Command metricsdoc writes the page about all metrics into a file.
package main

import (
	"fmt"
	"os"

	"github.com/virtferry/virtferry/internal/metrics"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: metricsdoc FILE")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "metricsdoc:", err)
		os.Exit(1)
	}
}

func write(path string) error {
	page, err := metrics.Page()
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(page), 0o644)
}
