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

	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/command"
)

func main() {
	rounds := flag.Int("rounds", 6, "number of moves by each strategy")
	stp := flag.Bool("stp", false, "have the hosts' bridges use the spanning tree protocol, with the delay that is usual")
	command.Parse("Measures for how long the peers of a guest miss it while it moves, in the lab. Needs root.")
	shuttle.Main("outage", func(ctx context.Context) error { return run(ctx, *rounds, *stp) })
}

func run(ctx context.Context, rounds int, stp bool) (err error) {
	shared, err := shuttle.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shared.Stop()) }()
	b, err := newBench(ctx, shared, stp)
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
			shuttle.Progressf("round %d: %s", round+1, m)
			moves = append(moves, m)
		}
	}
	printReport(os.Stdout, moves)
	return nil
}
