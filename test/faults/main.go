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
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/test/command"
	"github.com/virtferry/virtferry/test/lab"
)

func main() {
	command.Parse("Breaks each part of a running system at each phase of a migration, in the lab. Needs root.",
		command.Variable{Name: "FAULT_ONLY", Meaning: "a regular expression; only cases whose name, such as libvirtd killed @ Switch-over, matches are run"},
		command.Variable{Name: "FAULT_RUNS", Meaning: "how many random cases follow those of the table; none unless set"},
		command.Variable{Name: "FAULT_SEED", Meaning: "repeats the random cases of an earlier run"},
		command.Variable{Name: "FAULT_LABS", Meaning: "how many labs share the work, one case at a time each; 2 unless set"},
		command.KeepLab(),
	)
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
	runs, err := numberFrom("FAULT_RUNS", 0)
	if err != nil {
		return nil, err
	}
	seed := rand.Uint64()
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
	labs, err := numberFrom("FAULT_LABS", 2)
	if err != nil {
		return 0, err
	}
	report := newReport(os.Stdout)
	next := make(chan int)
	interrupted := ctx.Done()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(next)
		for i := range chosen {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range min(labs, len(chosen)) {
		group.Go(func() error { return performIn(ctx, interrupted, report, chosen, next) })
	}
	err = group.Wait()
	report.end()
	return report.violations, err
}

// performIn runs cases in a lab of their own, as long as there are any. One that fails ends ctx, with which all
// others end in order; whoever interrupts the command does not wait for that.
func performIn(ctx context.Context, interrupted <-chan struct{}, report *report, chosen []scenario, next <-chan int) (err error) {
	l, err := lab.Start(ctx, lab.Options{
		Hosts: 2, ControlPlane: true, KeepState: os.Getenv("KEEP_LAB") != "", Log: progressf,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	l.EndWith(interrupted, lab.EndGrace)
	w, err := newWorld(ctx, l)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	if err := w.heal(ctx); err != nil {
		return err
	}
	w.news() // What was logged so far is of no case.
	for i := range next {
		r, err := w.carryOut(ctx, i+1, chosen[i])
		if err != nil {
			return fmt.Errorf("carrying out %q: %w", chosen[i].name(), errors.Join(err, ctx.Err()))
		}
		report.add(i+1, r)
	}
	return nil
}

// numberFrom reads a number from the environment.
func numberFrom(name string, otherwise int) (int, error) {
	text := os.Getenv(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("reading %s: %q is no number", name, text)
	}
	return n, nil
}
