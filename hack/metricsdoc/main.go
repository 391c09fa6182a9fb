// Command metricsdoc writes the page about all metrics into a file, or prints them all as
// Prometheus reads them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/virtferry/virtferry/internal/metrics"
)

func main() {
	series := flag.Bool("series", false, "print all metrics as Prometheus reads them")
	page := flag.String("page", "", "file to write the page about metrics into")
	flag.Parse()
	if err := run(*series, *page); err != nil {
		fmt.Fprintln(os.Stderr, "metricsdoc:", err)
		os.Exit(1)
	}
}

func run(series bool, path string) error {
	switch {
	case series:
		return metrics.WriteSeries(os.Stdout)
	case path == "":
		return errors.New("give -page or -series")
	}
	page, err := metrics.Page()
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(page), 0o644)
}
