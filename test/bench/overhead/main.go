//go:build linux

// Command overhead measures what a LiveMigration costs over virsh migrate: it
// moves one guest back and forth between two hosts of a lab, by turns with the
// one and the other, with the same flags and the same XML, and prints medians
// and where the time goes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/command"
)

func main() {
	pairs := flag.Int("pairs", 10, "number of pairs of moves, one by virsh and one by a LiveMigration each")
	encrypt := flag.Bool("tls", false, "encrypt what is sent, as both do between hosts with certificates if it is left to them")
	pause := flag.Duration("pause", time.Second, "rest between two moves")
	command.Parse("Measures what a LiveMigration costs over virsh migrate, in the lab. Needs root.")
	shuttle.Main("overhead", func(ctx context.Context) error { return run(ctx, *pairs, *pause, *encrypt) })
}

func run(ctx context.Context, pairs int, pause time.Duration, encrypt bool) (err error) {
	shared, err := shuttle.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shared.Stop()) }()
	b, err := newBench(ctx, shared, encrypt)
	if err != nil {
		return err
	}
	defer b.close()
	var virsh, live []move
	for i := range pairs {
		// The order changes with each pair, so that each goes in both directions.
		first, second := b.virsh, b.liveMigration
		if i%2 == 1 {
			first, second = second, first
		}
		for _, do := range []mover{first, second} {
			m, err := b.move(ctx, do, pause)
			if err != nil {
				return fmt.Errorf("moving the guest in pair %d: %w", i+1, err)
			}
			shuttle.Progressf("pair %d: %s from %s to %s: %d ms", i+1, m.by, m.from, m.to, m.total.Milliseconds())
			if m.by == byVirsh {
				virsh = append(virsh, m)
			} else {
				live = append(live, m)
			}
		}
	}
	printReport(os.Stdout, virsh, live)
	return nil
}
