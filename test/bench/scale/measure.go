//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/test/bench/rig"
	"github.com/virtferry/virtferry/test/bench/shuttle"
)

// measure puts a load on a new control plane and measures. The figures are those there
// are, also after an error.
func measure(ctx context.Context, p plan) (f figures, err error) {
	f.plan = p
	if p.nodes < 2 || p.finished < 1 || p.admissions < 1 {
		return f, errors.New("there must be two nodes, a finished migration and an admission at least")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := newWorld(ctx, p)
	defer func() { err = errors.Join(err, w.close()) }()
	if err != nil {
		return f, err
	}
	if err := w.seed(ctx); err != nil {
		return f, err
	}
	if err := w.startIdleNodes(ctx); err != nil {
		return f, err
	}
	for _, phase := range []struct {
		name string
		run  func(context.Context, *figures) error
	}{
		{"start", w.measureStart},
		{"rest", w.measureRest},
		{"admissions", w.measureAdmissions},
		{"moves", w.measureMoves},
		{"triage", w.measureTriage},
	} {
		if err := w.phase(ctx, phase.name, &f, phase.run); err != nil {
			return f, err
		}
	}
	return f, nil
}

// phase runs one part of the measurement, and says what each process took for it.
func (w *world) phase(ctx context.Context, name string, f *figures, run func(context.Context, *figures) error) error {
	say("%s ...", name)
	if _, err := w.audit.requests(); err != nil {
		return err
	}
	before, err := w.usage()
	if err != nil {
		return err
	}
	stopProfile := w.profile(ctx, name)
	phaseCtx, cancel := context.WithTimeoutCause(ctx, w.plan.patience, fmt.Errorf("no more patience after %s", w.plan.patience))
	err = run(phaseCtx, f)
	cancel()
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", name, err), stopProfile())
	}
	after, err := w.usage()
	if err != nil {
		return errors.Join(err, stopProfile())
	}
	after.printSince(before)
	asked, err := w.audit.requests()
	if err != nil {
		return errors.Join(err, stopProfile())
	}
	asked.print(os.Stderr, w.units(name))
	if name == "moves" {
		f.requestsPerMigration = float64(asked.total()) / float64(w.plan.moves())
	}
	peak, err := rig.PeakMemory(w.manager.Process().PID())
	if err != nil {
		return errors.Join(err, stopProfile())
	}
	say("  the manager's memory so far: %.1f MiB at most", mebibytes(peak))
	if name == "triage" {
		f.triagePeak = mebibytes(peak)
	} else {
		f.peak = mebibytes(peak)
	}
	return stopProfile()
}

// units is how many migrations share what a phase takes.
func (w *world) units(phase string) int {
	switch phase {
	case "admissions":
		return w.plan.admissions
	case "moves":
		return w.plan.moves()
	case "triage":
		return w.plan.triaged()
	default:
		return 1
	}
}

// measureStart measures how long the manager is not there for its users when it is
// started anew: from the start of its process until a migration that was applied
// shortly before has its first condition. By then the manager leads, has read all there
// is, and works. It goes on until the manager has looked at everything.
func (w *world) measureStart(ctx context.Context, f *figures) error {
	const probe = "probe"
	if err := w.apply(ctx, probe, "probe", w.plan.guests()-1); err != nil {
		return err
	}
	// The API server sees what was put into etcd behind its back in the order in which that
	// was done, and tells of the probe last.
	if _, err := w.seen.wait(ctx, []string{probe}, existence); err != nil {
		return err
	}
	begin := time.Now()
	if err := w.manager.Start(); err != nil {
		return err
	}
	ctx, cancel := w.watchManager(ctx)
	defer cancel()
	at, err := w.seen.wait(ctx, []string{probe}, firstCondition)
	if err != nil {
		return err
	}
	f.ready = at.Sub(begin)
	if _, err := w.seen.wait(ctx, []string{probe}, end); err != nil {
		return err
	}
	err = w.awaitIdle(ctx)
	say("  first condition after %.2f s, all looked at after %.2f s", f.ready.Seconds(), time.Since(begin).Seconds())
	return err
}

// measureRest watches what all costs while nothing moves.
func (w *world) measureRest(ctx context.Context, _ *figures) error {
	return shuttle.Sleep(ctx, w.plan.rest)
}

// measureAdmissions applies migrations one after the other, each when the one before
// has ended, and measures from the apply until the migration has been let go ahead.
func (w *world) measureAdmissions(ctx context.Context, f *figures) error {
	ctx, cancel := w.watchManager(ctx)
	defer cancel()
	var took []time.Duration
	for i := range w.plan.admissions {
		name := "admission-" + strconv.Itoa(i)
		begin := time.Now()
		if err := w.apply(ctx, name, "admission", i); err != nil {
			return err
		}
		at, err := w.seen.wait(ctx, []string{name}, admission)
		if err != nil {
			return err
		}
		took = append(took, at.Sub(begin))
		if _, err := w.seen.wait(ctx, []string{name}, end); err != nil {
			return err
		}
	}
	slices.Sort(took)
	f.admissionMedian, f.admissionP99 = percentile(took, 50), percentile(took, 99)
	return w.settle(ctx)
}

// settle waits for what follows the end of a migration, so that it is counted where it
// belongs: nodes are published, and finalizers removed.
func (w *world) settle(ctx context.Context) error {
	if err := shuttle.Sleep(ctx, time.Second); err != nil {
		return err
	}
	return w.awaitIdle(ctx)
}

// percentile is the least of the sorted durations that so many percent do not exceed.
func percentile(sorted []time.Duration, percent int) time.Duration {
	rank := int(math.Ceil(float64(len(sorted)*percent) / 100))
	return sorted[max(rank, 1)-1]
}

// measureMoves runs migrations to their ends, all at once. What they ask of the API
// server is counted by phase.
func (w *world) measureMoves(ctx context.Context, _ *figures) error {
	ctx, cancel := w.watchManager(ctx)
	defer cancel()
	begin := time.Now()
	names, err := w.applyAll(ctx, "move", w.plan.admissions, w.plan.moves())
	if err != nil {
		return err
	}
	last, err := w.seen.wait(ctx, names, end)
	if err != nil {
		return err
	}
	say("  %d migrations took %.1f s", len(names), last.Sub(begin).Seconds())
	return w.settle(ctx)
}

// measureTriage applies many migrations at once, and measures until the last of them
// has its first condition. The first of them move meanwhile.
func (w *world) measureTriage(ctx context.Context, f *figures) error {
	ctx, cancel := w.watchManager(ctx)
	defer cancel()
	begin := time.Now()
	names, err := w.applyAll(ctx, "triage", w.plan.admissions+w.plan.moves(), w.plan.triaged())
	if err != nil {
		return err
	}
	f.apply = time.Since(begin)
	last, err := w.seen.wait(ctx, names, firstCondition)
	if err != nil {
		return err
	}
	f.triage = last.Sub(begin)
	return nil
}

// applyAll applies the migrations of some guests at once and returns their names.
func (w *world) applyAll(ctx context.Context, kind string, first, count int) ([]string, error) {
	names := make([]string, count)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range names {
		names[i] = kind + "-" + strconv.Itoa(i)
		group.Go(func() error { return w.apply(ctx, names[i], kind, first+i) })
	}
	return names, group.Wait()
}

// apply applies a migration of a guest, as its user does.
func (w *world) apply(ctx context.Context, name, kind string, guest int) error {
	config := ac.LiveMigration(name, namespace).WithLabels(map[string]string{groupLabel: kind}).
		WithSpec(ac.LiveMigrationSpec().WithDomain(guestUUID(guest)).WithTargetNode(w.plan.guestTarget(guest)))
	if err := w.api.Apply(ctx, config, client.FieldOwner("virtferry-bench")); err != nil {
		return fmt.Errorf("applying a migration: %w", err)
	}
	return nil
}
