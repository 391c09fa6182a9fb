//go:build linux

// Command block measures guests whose disk only their host has. It moves one back
// and forth between two hosts of a lab, by turns with virsh migrate
// --copy-storage-all, with a LiveMigration that has the image take all of its space at
// once, as libvirt does for virsh, and with one whose image grows; all encrypted or
// all in plain. It prints how long each takes and how much goes over the network. Then a guest
// writes to its disk faster than may be copied, and is moved without and with
// synchronous writes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/virtferry/virtferry/test/bench/shuttle"
	"github.com/virtferry/virtferry/test/command"
)

// options are what the command line says.
type options struct {
	rounds  int
	diskMiB int
	encrypt bool
	// linkMiBps is what may be copied, and writeMiBps what the guest writes meanwhile.
	linkMiBps, writeMiBps int
	patience              time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 6, "number of rounds of moves, in each of which the guest is moved by virsh, by a LiveMigration that makes the same kind of image, and by one whose image grows")
	flag.IntVar(&o.diskMiB, "disk", 1024, "size of the disk in MiB, all of which is written")
	flag.BoolVar(&o.encrypt, "tls", false, "encrypt what is sent")
	flag.IntVar(&o.linkMiBps, "limit", 32, "how many MiB are copied in a second where the guest writes")
	flag.IntVar(&o.writeMiBps, "writes", 80, "how many MiB the guest writes in a second then")
	flag.DurationVar(&o.patience, "patience", time.Minute, "how long a migration may take there before it counts as one that has no end")
	command.Parse("Measures how guests move with a disk of their host, against virsh migrate, in the lab. Needs root.")
	shuttle.Main("block", func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o options) (err error) {
	shared, err := shuttle.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shared.Stop()) }()
	b, err := newBench(ctx, shared, o)
	if err != nil {
		return err
	}
	virsh, live, thin, err := b.compare(ctx)
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
	printReport(os.Stdout, o, [][]move{virsh, live, thin}, plain, synchronous)
	return nil
}

// compare moves the guest by turns.
func (b *bench) compare(ctx context.Context) (virsh, live, thin []move, err error) {
	for i := range b.o.rounds {
		// Each goes in both directions by turns. virsh moves the guest there and back between two
		// LiveMigrations: where it was left by the last one, the next need not wait for news of it.
		movers := []mover{b.virsh, b.liveMigration, b.thin}
		if i%2 == 1 {
			slices.Reverse(movers)
		}
		for _, do := range movers {
			m, err := b.move(ctx, do)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("moving the guest in round %d: %w", i+1, err)
			}
			shuttle.Progressf("round %d: %s: %d ms, %d MiB", i+1, m.by, m.took.Milliseconds(), m.bytes>>20)
			switch m.by {
			case byVirsh:
				virsh = append(virsh, m)
			case byThin:
				thin = append(thin, m)
			default:
				live = append(live, m)
			}
		}
	}
	return virsh, live, thin, nil
}
