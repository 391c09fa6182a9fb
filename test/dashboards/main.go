//go:build linux

// Command dashboards runs every query of the dashboards against a Prometheus that has
// scraped the manager and some agents while guests moved, in each way that a migration
// may end. API server, manager, agents and Prometheus are real, the hypervisors made up.
// It fails if a query returns nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	var p programs
	flag.StringVar(&p.prometheus, "prometheus", "prometheus", "path of Prometheus")
	flag.StringVar(&p.virtferry, "virtferry", "bin/virtferry", "path of virtferry")
	dashboards := flag.String("dashboards", "config/grafana", "directory of the dashboards")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, p, *dashboards)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// programs are the paths of what is run.
type programs struct{ prometheus, virtferry string }

func run(ctx context.Context, p programs, dashboards string) (err error) {
	boards, err := readBoards(dashboards)
	if err != nil {
		return err
	}
	w, err := newWorld(ctx, p)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := w.tell(ctx); err != nil {
		return err
	}
	// Until Prometheus has seen the last end.
	if err := sleep(ctx, 3*scrapeInterval); err != nil {
		return err
	}
	asked, err := askAll(ctx, w.prometheus, boards, began)
	if err != nil {
		return err
	}
	return report(os.Stdout, asked)
}
