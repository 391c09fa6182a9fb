//go:build linux

// Command convergence compares ways to bring a live migration to its end. It
// moves a guest that writes to its memory at several rates over a limited link,
// by libvirt's defaults, by the strategy Stepped and by the strategy Adaptive,
// side by side, all with the same maximum downtime. It prints what each took as a
// table, draws what remained over time, and can record what libvirt said, for
// tests to be replayed.
//
// The strategies steer libvirt from here, without an agent: what is measured is
// pkg/monitor.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/lab"
)

// options are what the command line says.
type options struct {
	rates      []float64
	patterns   []string
	ways       []way
	linkMiBps  int
	memoryMiB  int
	workingSet int
	downtime   time.Duration
	giveUp     time.Duration
	repeat     int
	svg        string
	traces     string
	keepGoing  bool
}

func main() {
	shuttle.Main("convergence", func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		return run(ctx, o)
	})
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("convergence", flag.ExitOnError)
	rates := flags.String("rates", "0,0.3,0.7,0.95,1.2", "how much the guest writes, as shares of what the link carries")
	patterns := flags.String("patterns", "uniform,hotspot", "how the guest's writes are spread")
	ways := flags.String("ways", "libvirt,stepped,adaptive", "what is compared")
	flags.IntVar(&o.linkMiBps, "link", 32, "what the link carries, in MiB/s")
	flags.IntVar(&o.memoryMiB, "memory", 288, "the guest's memory, in MiB")
	flags.IntVar(&o.workingSet, "working-set", 192, "what the guest writes to, in MiB")
	flags.DurationVar(&o.downtime, "max-downtime", 500*time.Millisecond, "the longest downtime that is allowed")
	flags.DurationVar(&o.giveUp, "give-up", 4*time.Minute, "when to abort a migration that does not end")
	flags.BoolVar(&o.keepGoing, "keep-going", false, "do not let Adaptive give up, for traces of what it would have given up")
	flags.IntVar(&o.repeat, "repeat", 1, "how often to repeat it all; the table has medians")
	flags.StringVar(&o.svg, "svg", "", "file to draw to")
	flags.StringVar(&o.traces, "traces", "", "directory to record to")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; see -h", flags.Arg(0))
	}
	for rate := range strings.SplitSeq(*rates, ",") {
		value, err := strconv.ParseFloat(rate, 64)
		if err != nil {
			return o, fmt.Errorf("parsing the rates: %w", err)
		}
		o.rates = append(o.rates, value)
	}
	o.patterns = strings.Split(*patterns, ",")
	for name := range strings.SplitSeq(*ways, ",") {
		w, ok := allWays[name]
		if !ok {
			return o, fmt.Errorf("there is no way %q", name)
		}
		o.ways = append(o.ways, w)
	}
	return o, nil
}

func run(ctx context.Context, o options) (err error) {
	l, err := lab.Start(ctx, lab.Options{Hosts: 2, Log: shuttle.Progressf})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	l.EndWith(ctx.Done(), lab.EndGrace)
	b, err := newBench(ctx, l, o)
	if err != nil {
		return err
	}
	defer b.close()
	var moves []move
	for range o.repeat {
		for _, pattern := range o.patterns {
			for _, rate := range o.rates {
				for _, w := range o.ways {
					m, err := b.move(ctx, w, pattern, rate)
					if err != nil {
						return fmt.Errorf("moving the guest by %s at %g, %s: %w", w, rate, pattern, err)
					}
					shuttle.Progressf("%s", m)
					moves = append(moves, m)
				}
			}
		}
	}
	printReport(os.Stdout, o, moves)
	if o.svg == "" {
		return nil
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(o.svg), 0o755), os.WriteFile(o.svg, []byte(draw(o, moves)), 0o644)); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	return nil
}
