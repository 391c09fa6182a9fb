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
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/virtferry/virtferry/test/lab"
)

func main() {
	pairs := flag.Int("pairs", 10, "number of pairs of moves, one by virsh and one by a LiveMigration each")
	encrypt := flag.Bool("tls", false, "encrypt what is sent, as both do between hosts with certificates if it is left to them")
	pause := flag.Duration("pause", time.Second, "rest between two moves")
	flag.Parse()
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *pairs, *pause, *encrypt)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "overhead:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pairs int, pause time.Duration, encrypt bool) (err error) {
	l, err := lab.Start(ctx, lab.Options{
		Hosts: 2, ControlPlane: true,
		Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	b, err := newBench(ctx, l, encrypt)
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
			fmt.Fprintf(os.Stderr, "pair %d: %s from %s to %s: %d ms\n", i+1, m.by, m.from, m.to, m.total.Milliseconds())
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
