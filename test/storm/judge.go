//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

const (
	// cancelLimit is how long a cancellation may take, wherever the migration is.
	cancelLimit = 10 * time.Second
	// arrivingLimit is how many guests may be on their way to a host at once: with
	// two hosts, as many as may leave the other one.
	arrivingLimit = 1
	tickPatience  = 30 * time.Second
	leftoverGrace = 15 * time.Second
)

// judge returns all that is not as it should be.
func (s *storm) judge(ctx context.Context) []string {
	var mu sync.Mutex
	wrong := s.watch.wrong()
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		wrong = append(wrong, fmt.Sprintf(format, args...))
	}
	_ = s.each(func(one *passenger) error { // It never fails.
		if err := s.judgeOne(ctx, one); err != nil {
			note("%s: %v", one.name, err)
		}
		return nil
	})
	for _, t := range s.observers {
		if guests, _, _ := t.peak(); guests > arrivingLimit {
			note("%d guests were on their way to %s at once, %d may be", guests, t.host.Name(), arrivingLimit)
		}
		if err := s.leftovers(ctx, t.host); err != nil {
			note("%v", err)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// destination returns where a passenger belongs by what its LiveMigration says.
func (s *storm) destination(one *passenger) (*lab.Host, error) {
	lm, finished := s.watch.last(one.name)
	switch {
	case lm == nil:
		return nil, errors.New("its LiveMigration was never seen")
	case finished.IsZero():
		return nil, fmt.Errorf("it is still in phase %s after %.0f s: %s", lm.Status.Phase, s.took.Seconds(), messageOf(lm))
	case lm.Status.Phase == v1alpha1.PhaseSucceeded:
		return one.to, nil
	case lm.Status.Phase == v1alpha1.PhaseCancelled && !one.cancelled.IsZero():
		return one.from, nil
	default:
		return nil, fmt.Errorf("it ended as %s: %s", lm.Status.Phase, messageOf(lm))
	}
}

// judgeOne compares what a LiveMigration says with what is.
func (s *storm) judgeOne(ctx context.Context, one *passenger) error {
	host, err := s.destination(one)
	if err != nil {
		return err
	}
	if _, finished := s.watch.last(one.name); !one.cancelled.IsZero() {
		if took := finished.Sub(one.cancelled); took > cancelLimit {
			return fmt.Errorf("the cancellation took %.1f s", took.Seconds())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, tickPatience)
	defer cancel()
	if on := one.guest.RunningOn(ctx); on != host {
		return fmt.Errorf("the guest is not on %s: %v", host.Name(), s.lab.DomainStates(ctx, one.guest.UUID()))
	}
	if _, err := one.guest.Ticks().Advance(ctx, host.Name(), 2); err != nil {
		return err
	}
	return one.guest.Ticks().Check()
}

// leftovers compares what a host has with what it should have.
func (s *storm) leftovers(ctx context.Context, h *lab.Host) error {
	var want []string
	for _, one := range s.passengers {
		if host, err := s.destination(one); err == nil && host == h {
			want = append(want, one.name)
		}
	}
	slices.Sort(want)
	ctx, cancel := context.WithTimeout(ctx, leftoverGrace)
	defer cancel()
	for last := error(nil); ; sleep(ctx, pollInterval) {
		err := has(ctx, h, want)
		switch {
		case err == nil:
			return nil
		case ctx.Err() == nil:
			last = err
		default:
			return cmp.Or(last, err)
		}
	}
}

// has says whether a host has just these guests.
func has(ctx context.Context, h *lab.Host, want []string) error {
	out, err := h.Virsh(ctx, "list", "--all", "--name")
	if err != nil {
		return err
	}
	if got := slices.Sorted(slices.Values(strings.Fields(out))); !slices.Equal(got, want) {
		return fmt.Errorf("%s has the guests %v, not %v", h.Name(), got, want)
	}
	processes, err := h.Processes()
	if err != nil {
		return err
	}
	var emulators int
	for _, p := range processes {
		if strings.Contains(p.Command, "-name guest=") {
			emulators++
		}
	}
	if emulators != len(want) {
		return fmt.Errorf("%s has %d processes of QEMU for %d guests", h.Name(), emulators, len(want))
	}
	return nil
}

func messageOf(lm *v1alpha1.LiveMigration) string {
	if c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded); c != nil {
		return c.Reason + ": " + c.Message
	}
	return "it has no condition"
}

// report prints a row for each migration, and what all came to.
func (s *storm) report(out io.Writer, wrong []string) {
	fmt.Fprintf(out, "%-12s %-8s %-12s %-24s %8s %9s\n", "guest", "from", "phase", "reason", "over_s", "cancel_ms")
	var moved, cancelled int
	var slowest time.Duration
	for _, one := range s.passengers {
		lm, finished := s.watch.last(one.name)
		if lm == nil {
			continue
		}
		reason, _, _ := strings.Cut(messageOf(lm), ":")
		over, cancelling := "-", "-"
		if !finished.IsZero() {
			over = fmt.Sprintf("%.1f", finished.Sub(s.began).Seconds())
			if !one.cancelled.IsZero() {
				took := finished.Sub(one.cancelled)
				slowest = max(slowest, took)
				cancelling = strconv.FormatInt(took.Milliseconds(), 10)
			}
		}
		switch lm.Status.Phase { //nolint:exhaustive // Of the others there should be none.
		case v1alpha1.PhaseSucceeded:
			moved++
		case v1alpha1.PhaseCancelled:
			cancelled++
		}
		fmt.Fprintf(out, "%-12s %-8s %-12s %-24s %8s %9s\n", one.name, one.from.Name(), lm.Status.Phase, reason, over, cancelling)
	}
	for _, t := range s.observers {
		guests, busy, workers := t.peak()
		fmt.Fprintf(out, "arriving_at_once_max@%s: %d\nbusy_workers_max@%s: %d of %d\n", t.host.Name(), guests, t.host.Name(), busy, workers)
	}
	for _, v := range wrong {
		fmt.Fprintf(out, "VIOLATION: %s\n", v)
	}
	fmt.Fprintf(out, "migrations: %d\nmoved: %d\ncancelled: %d\ncancel_ms_max: %d\nstorm_s: %.1f\nviolations: %d\n",
		len(s.passengers), moved, cancelled, slowest.Milliseconds(), s.took.Seconds(), len(wrong))
}
