//go:build linux

// Command outage measures for how long the peers of a guest miss it while it moves, against
// the downtime that is reported: a third machine on the guests' network calls it all the time,
// while LiveMigrations move it back and forth between two hosts of a lab, in every way in which
// they come to their end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/test/lab"
)

func main() {
	rounds := flag.Int("rounds", 6, "number of moves by each strategy")
	stp := flag.Bool("stp", false, "have the hosts' bridges use the spanning tree protocol, with the delay that is usual")
	flag.Parse()
	log.SetLogger(logr.Discard()) // Of the client's.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *rounds, *stp)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "outage:", err)
		os.Exit(1)
	}
}

// progressf tells what is going on, beside the report.
func progressf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func run(ctx context.Context, rounds int, stp bool) (err error) {
	l, err := lab.Start(ctx, lab.Options{Hosts: 2, ControlPlane: true, Log: progressf})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	b, err := newBench(ctx, l, stp)
	if err != nil {
		return err
	}
	var moves []move
	for round := range rounds {
		for _, s := range strategies() {
			m, err := b.move(ctx, s, round%2 == 0)
			if err != nil {
				return fmt.Errorf("moving the guest by %s in round %d: %w", s.name, round+1, err)
			}
			progressf("round %d: %s", round+1, m)
			moves = append(moves, m)
		}
	}
	printReport(os.Stdout, moves)
	return nil
}
