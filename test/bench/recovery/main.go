//go:build linux

// Command recovery measures how soon a guest in post-copy goes on after the network between its
// two hosts was gone for a while, with the kernel's defaults and with what docs/install.md recommends.
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
	rounds := flag.Int("rounds", 3, "number of breaks of each length with each setting")
	command.Parse("Measures how soon a post-copy goes on after the network was gone, in the lab. Needs root.")
	shuttle.Main("recovery", func(ctx context.Context) error { return run(ctx, *rounds) })
}

// breaks are how long the network is gone: for less than the 25 s after which two libvirts give
// each other up, and for more.
func breaks() []time.Duration { return []time.Duration{10 * time.Second, 40 * time.Second} }

func run(ctx context.Context, rounds int) (err error) {
	shared, err := shuttle.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shared.Stop()) }()
	b, err := newBench(ctx, shared)
	if err != nil {
		return err
	}
	var all []recovery
	for round := range rounds {
		for _, s := range settings() {
			if err := b.set(ctx, s); err != nil {
				return err
			}
			for _, gone := range breaks() {
				r, err := b.measure(ctx, s, gone)
				if err != nil {
					return fmt.Errorf("breaking the network for %s, %s, in round %d: %w", gone, s.name, round+1, err)
				}
				shuttle.Progressf("round %d: %s", round+1, r)
				all = append(all, r)
			}
		}
	}
	printReport(os.Stdout, all)
	return nil
}
