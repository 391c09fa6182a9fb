//go:build linux

// Command dashboards runs every query of the dashboards against a Prometheus that has
// scraped the manager and some agents while guests moved, in each way that a migration
// may end: in the lab, and, in a shorter story, past scripted hypervisors. It fails if a
// query returns nothing, or if what Prometheus was told is not so.
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

	"github.com/virtferry/virtferry/test/command"
)

func main() {
	var o options
	flag.StringVar(&o.prometheus, "prometheus", "prometheus", "path of Prometheus")
	flag.StringVar(&o.virtferry, "virtferry", "bin/virtferry", "path of virtferry")
	flag.StringVar(&o.dashboards, "dashboards", "config/grafana", "directory of the dashboards")
	flag.StringVar(&o.pictures, "pictures", "", "directory to which the data of each dashboard's panels is drawn; empty for none")
	flag.StringVar(&o.stages, "stages", inLab+","+scripted, "where guests move: in the lab, which needs root, past scripted hypervisors, or both")
	flag.BoolVar(&o.hold, "hold", false, "let Prometheus run on, for a look at what it knows, until interrupted")
	command.Parse("Makes every query of the dashboards, on a Prometheus that has seen guests move. The lab needs root.",
		command.KeepLab(),
	)
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	programs

	dashboards, pictures, stages string
	hold                         bool
}

// programs are the paths of what is run.
type programs struct{ prometheus, virtferry string }

// stage is where guests move past a Prometheus.
type stage interface {
	// tell has them move, and returns when each has ended as it should.
	tell(ctx context.Context) error
	// prometheus is where Prometheus listens.
	prometheus() string
	// check compares what Prometheus was told with what was, and returns how many numbers it
	// has compared and what differs.
	check(ctx context.Context, from, to time.Time) (compared int, wrong []string, err error)
	close() error
}

// The stages.
const (
	inLab    = "lab"
	scripted = "scripted"
)

// newStage starts what is to be closed also after an error.
func newStage(ctx context.Context, name string, p programs) (stage, error) {
	switch name {
	case inLab:
		return newLabWorld(ctx, p)
	case scripted:
		return newWorld(ctx, p)
	default:
		return nil, fmt.Errorf("there is no stage %q", name)
	}
}

func run(ctx context.Context, o options) error {
	boards, err := readBoards(o.dashboards)
	if err != nil {
		return err
	}
	r := &report{}
	for name := range strings.SplitSeq(o.stages, ",") {
		seen, err := perform(ctx, name, boards, o)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.acts = append(r.acts, seen)
	}
	return r.write(os.Stdout)
}

// perform has one of the stages tell its story, and asks all queries about it.
func perform(ctx context.Context, name string, boards []board, o options) (out act, err error) {
	s, err := newStage(ctx, name, o.programs)
	if s != nil {
		defer func() { err = errors.Join(err, s.close()) }()
	}
	if err != nil {
		return out, err
	}
	began := time.Now()
	if err := s.tell(ctx); err != nil {
		if o.hold {
			progressf("%s: %v\nPrometheus listens at http://%s until this is interrupted", name, err, s.prometheus())
			<-ctx.Done()
		}
		return out, err
	}
	// Until Prometheus has seen the last end.
	if err := sleep(ctx, 3*scrapeInterval); err != nil {
		return out, err
	}
	out, now := act{stage: name}, time.Now()
	var drawn []picture
	if out.answers, drawn, err = askAll(ctx, s.prometheus(), boards, began, now); err != nil {
		return out, err
	}
	if out.counts, err = countAll(ctx, s.prometheus(), began, now); err != nil {
		return out, err
	}
	if out.compared, out.wrong, err = s.check(ctx, began, now); err != nil {
		return out, err
	}
	if o.pictures != "" {
		err = drawAll(filepath.Join(o.pictures, name), drawn, began, now)
	}
	if o.hold {
		progressf("%s: Prometheus listens at http://%s until this is interrupted", name, s.prometheus())
		<-ctx.Done()
	}
	return out, err
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
