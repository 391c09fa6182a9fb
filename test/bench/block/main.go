//go:build linux

// Command block measures guests whose disk only their host has. It moves one back
// and forth between two hosts of a lab, by turns with virsh migrate
// --copy-storage-all and with a LiveMigration, both encrypted or both in plain,
// and prints how long each takes and how much goes over the network. Then a guest
// writes to its disk faster than may be copied, and is moved without and with
// synchronous writes.
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

// options are what the command line says.
type options struct {
	pairs   int
	diskMiB int
	encrypt bool
	// linkMiBps is what may be copied, and writeMiBps what the guest writes meanwhile.
	linkMiBps, writeMiBps int
	patience              time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.pairs, "pairs", 5, "number of pairs of moves, one by virsh and one by a LiveMigration each")
	flag.IntVar(&o.diskMiB, "disk", 1024, "size of the disk in MiB, all of which is written")
	flag.BoolVar(&o.encrypt, "tls", false, "encrypt what is sent")
	flag.IntVar(&o.linkMiBps, "limit", 32, "how many MiB are copied in a second where the guest writes")
	flag.IntVar(&o.writeMiBps, "writes", 80, "how many MiB the guest writes in a second then")
	flag.DurationVar(&o.patience, "patience", time.Minute, "how long a migration may take there before it counts as one that has no end")
	flag.Parse()
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "block:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	l, err := lab.Start(ctx, lab.Options{
		Hosts: 2, ControlPlane: true,
		Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	b, err := newBench(ctx, l, o)
	if err != nil {
		return err
	}
	virsh, live, err := b.compare(ctx)
	if err != nil {
		return err
	}
	plain, err := b.converge(ctx, false)
	if err != nil {
		return err
	}
	synchronous, err := b.converge(ctx, true)
	if err != nil {
		return err
	}
	printReport(os.Stdout, o, virsh, live, plain, synchronous)
	return nil
}

// compare moves the guest by turns.
func (b *bench) compare(ctx context.Context) (virsh, live []move, err error) {
	for i := range b.o.pairs {
		// The order changes with each pair, so that each goes in both directions.
		movers := []mover{b.virsh, b.liveMigration}
		if i%2 == 1 {
			movers[0], movers[1] = movers[1], movers[0]
		}
		for _, do := range movers {
			m, err := b.move(ctx, do)
			if err != nil {
				return nil, nil, fmt.Errorf("moving the guest in pair %d: %w", i+1, err)
			}
			fmt.Fprintf(os.Stderr, "pair %d: %s: %d ms, %d MiB\n", i+1, m.by, m.took.Milliseconds(), m.bytes>>20)
			if m.by == byVirsh {
				virsh = append(virsh, m)
			} else {
				live = append(live, m)
			}
		}
	}
	return virsh, live, nil
}
