//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// latest is the latest moment at which a random fault comes; a migration that is
// left alone ends before.
const latest = 8 * time.Second

// modes are the ways in which a migration with a random fault goes.
var modes = []phase{{}, {brisk: true}, {brisk: true, force: true}, {brisk: true, force: true, postCopy: true}}

// randomCases returns cases that nobody has chosen: any fault of the table, for any
// of the lengths that it has there, at any moment. The same seed returns the same
// cases.
func randomCases(seed uint64, n int) []scenario {
	random := rand.New(rand.NewPCG(seed, 0))
	blocks := preCopyTable()
	out := make([]scenario, 0, n)
	for range n {
		f := blocks[random.IntN(len(blocks))].fault
		when := time.Duration(random.Int64N(int64(latest))).Round(time.Millisecond)
		s := scenario{fault: f, phase: modes[random.IntN(len(modes))], allowed: f.anytime}
		s.phase.name, s.phase.reached = randomly(when, s.phase)
		s.guest.transient = random.IntN(3) == 0
		if s.phase.postCopy && (slices.Contains(s.allowed, lost) || slices.Contains(s.allowed, stopped)) {
			s.allowed = append(slices.Clone(s.allowed), lostHalfOnSource, lostHalfOnTarget, lostPausedOnTarget)
		}
		out = append(out, s)
	}
	return out
}

// randomly is a moment that has nothing to do with what happens.
func randomly(when time.Duration, mode phase) (name string, reached func(context.Context, *run) error) {
	name = "after " + when.String()
	switch {
	case mode.postCopy:
		name += ", post-copy"
	case mode.force:
		name += ", pause"
	case mode.brisk:
		name += ", brisk"
	}
	return name, func(ctx context.Context, _ *run) error {
		sleep(ctx, when)
		return nil
	}
}
