//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/test/command"
	"github.com/virtferry/virtferry/test/lab"
)

func main() {
	command.Parse("Moves dozens of guests between two hosts of the lab at once, and cancels some of the migrations. Needs root.",
		command.Variable{Name: "STORM_GUESTS", Meaning: "how many guests each host begins with; 24 unless set"},
		command.Variable{Name: "STORM_CANCELS", Meaning: "how many migrations from each host are cancelled while they wait, and how many while they copy; 3 unless set"},
		command.Variable{Name: "STORM_MINUTES", Meaning: "how long all of it may take, in minutes; 15 unless set"},
		command.KeepLab(),
	)
	log.SetLogger(logr.Discard()) // Of the client's.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	violations, err := perform(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "storm:", err)
	}
	if err != nil || violations > 0 {
		os.Exit(1)
	}
}

// progressf tells what is going on, beside the report.
func progressf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// plan is what the environment asks for.
type plan struct {
	// guests and cancels are for each host.
	guests, cancels int
	limit           time.Duration
}

func planFrom(environment func(string) string) (plan, error) {
	numbers := map[string]int{"STORM_GUESTS": 24, "STORM_CANCELS": 3, "STORM_MINUTES": 15}
	for name := range numbers {
		text := environment(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return plan{}, fmt.Errorf("reading %s: %q is no number", name, text)
		}
		numbers[name] = n
	}
	p := plan{
		guests: numbers["STORM_GUESTS"], cancels: numbers["STORM_CANCELS"],
		limit: time.Duration(numbers["STORM_MINUTES"]) * time.Minute,
	}
	if p.guests < 2*p.cancels {
		return p, errors.New("reading STORM_CANCELS: there are fewer guests than cancellations")
	}
	return p, nil
}

// perform raises the storm and reports it. It returns how many violations there
// were.
func perform(ctx context.Context) (violations int, err error) {
	p, err := planFrom(os.Getenv)
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
	l.EndWith(ctx.Done(), lab.EndGrace)
	s, err := prepare(ctx, l, p)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := s.rage(ctx); err != nil {
		return 0, err
	}
	wrong := s.judge(ctx)
	s.report(os.Stdout, wrong)
	return len(wrong), nil
}
