//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"syscall"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/test/lab"
)

func main() {
	log.SetLogger(logr.Discard()) // Of the client's.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	violations, err := perform(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
	}
	if err != nil || violations > 0 {
		os.Exit(1)
	}
}

// progressf tells what is going on, beside the report.
func progressf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// chosenCases reads the environment.
func chosenCases() ([]scenario, error) {
	only, err := regexp.Compile(os.Getenv("FAULT_ONLY"))
	if err != nil {
		return nil, fmt.Errorf("reading FAULT_ONLY: %w", err)
	}
	var chosen []scenario
	for _, s := range table() {
		if only.MatchString(s.name()) {
			chosen = append(chosen, s)
		}
	}
	runs, seed := 0, rand.Uint64()
	if text := os.Getenv("FAULT_RUNS"); text != "" {
		if runs, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("reading FAULT_RUNS: %w", err)
		}
	}
	if text := os.Getenv("FAULT_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return nil, fmt.Errorf("reading FAULT_SEED: %w", err)
		}
	}
	if runs > 0 {
		fmt.Printf("seed of the random cases: FAULT_SEED=%d\n", seed)
	}
	return append(chosen, randomCases(seed, runs)...), nil
}

// perform runs all cases and reports them. It returns how many were violated.
func perform(ctx context.Context) (violations int, err error) {
	chosen, err := chosenCases()
	if err != nil {
		return 0, err
	}
	l, err := lab.Start(ctx, lab.Options{
		Hosts: 2, ControlPlane: true, KeepState: os.Getenv("KEEP_LAB") != "", Log: progressf,
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	w, err := newWorld(ctx, l)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return 0, err
	}
	if err := w.heal(ctx); err != nil {
		return 0, err
	}
	report := newReport(os.Stdout, w)
	for i, s := range chosen {
		r, err := w.carryOut(ctx, i+1, s)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			return report.violations, fmt.Errorf("carrying out %q: %w", s.name(), err)
		}
		report.add(i+1, r)
	}
	report.end()
	return report.violations, nil
}
