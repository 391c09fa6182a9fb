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
	"path/filepath"
	"strings"
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
	pictures := flag.String("pictures", "", "directory to which the data of each dashboard's panels is drawn; empty for none")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, p, *dashboards, *pictures)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// programs are the paths of what is run.
type programs struct{ prometheus, virtferry string }

func run(ctx context.Context, p programs, dashboards, pictures string) (err error) {
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
	now := time.Now()
	asked, drawn, err := askAll(ctx, w.prometheus, boards, began, now)
	if err != nil {
		return err
	}
	if pictures != "" {
		if err := drawAll(pictures, drawn, began, now); err != nil {
			return err
		}
	}
	return report(os.Stdout, asked)
}

// drawAll writes a picture of each dashboard.
func drawAll(dir string, pictures []picture, from, to time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range pictures {
		p := &pictures[i]
		name := strings.ToLower(strings.NewReplacer(" / ", "-", " ", "-").Replace(p.board)) + ".svg"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(p.draw(from, to)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
