//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// phase is a moment in the life of a migration, and how it is brought about.
type phase struct {
	name string
	// brisk guests write to their memory faster than it is copied, so that the
	// copying goes on until the fault is over and they are told to stop.
	brisk bool
	// hold keeps one of the agents from going on until the fault is there, so that
	// the phase lasts until then.
	hold bool
	// postCopy allows post-copy. The link between the hosts is limited then, as no
	// limit of the hypervisor's holds for post-copy.
	postCopy bool
	// force asks for the completion when the object is created.
	force bool
	// reached waits for the moment.
	reached func(ctx context.Context, r *run) error
}

// The phases.
var (
	preparing  = phase{name: "Preparing", hold: true, reached: status("the preparation", inPhase(v1alpha1.PhasePreparing))}
	starting   = phase{name: "Starting", brisk: true, reached: status("the start", migration.Started)}
	firstPass  = phase{name: "Copying, first pass", brisk: true, reached: pass(1)}
	laterPass  = phase{name: "Copying, later pass", brisk: true, reached: pass(3)}
	switchOver = phase{name: "Switch-over, source stops", reached: event("the switch-over on the source", func(r *run, e hostEvent) bool {
		return e.host == r.source.Name() && e.Lifecycle == hypervisor.LifecycleSuspended
	})}
	arrival = phase{name: "Switch-over, target runs", reached: event("the switch-over on the target", func(r *run, e hostEvent) bool {
		return e.host == r.target.Name() && e.Lifecycle == hypervisor.LifecycleResumed
	})}
	confirming = phase{name: "Confirming", reached: status("the end on the source", func(lm *v1alpha1.LiveMigration) bool {
		source := migration.CurrentSource(lm)
		return source != nil && source.End != nil
	})}
	finished = phase{name: "Finished", reached: status("the end", migration.Finished)}

	// The request to switch to post-copy is recorded, but not carried out.
	switchOrdered = phase{name: "Post-copy, ordered", brisk: true, postCopy: true, force: true,
		reached: status("the order to switch", func(lm *v1alpha1.LiveMigration) bool {
			steering := steeringOf(lm)
			return steering != nil && steering.PostCopy != nil
		})}
	switching = phase{name: "Post-copy, source stops", brisk: true, postCopy: true, force: true,
		reached: event("the switch to post-copy", func(r *run, e hostEvent) bool {
			return e.host == r.source.Name() && e.Lifecycle == hypervisor.LifecycleSuspended && e.Detail == string(hypervisor.ReasonPostcopy)
		})}
	switched = phase{name: "Post-copy, target runs", brisk: true, postCopy: true, force: true,
		reached: event("post-copy", func(r *run, e hostEvent) bool {
			return e.host == r.target.Name() && e.Lifecycle == hypervisor.LifecycleResumed
		})}
	inPostCopy = phase{name: "Post-copy, copying", brisk: true, postCopy: true, force: true,
		reached: func(ctx context.Context, r *run) error {
			if err := status("phase PostCopy", inPhase(v1alpha1.PhasePostCopy))(ctx, r); err != nil {
				return err
			}
			err := switched.reached(ctx, r)
			sleep(ctx, time.Second)
			return err
		}}
	pauseOrdered = phase{name: "Pause, ordered", brisk: true, force: true,
		reached: status("the order to pause", func(lm *v1alpha1.LiveMigration) bool {
			steering := steeringOf(lm)
			return steering != nil && steering.Pause != nil
		})}
	paused = phase{name: "Pause, copying", brisk: true, force: true,
		reached: event("the pause", func(r *run, e hostEvent) bool {
			return e.host == r.source.Name() && e.Lifecycle == hypervisor.LifecycleSuspended
		})}
	cancelling = phase{name: "Cancelling", brisk: true, reached: func(ctx context.Context, r *run) error {
		if err := status("the copying", inPhase(v1alpha1.PhaseMigrating))(ctx, r); err != nil {
			return err
		}
		if err := r.ask(ctx, v1alpha1.AnnotationCancel); err != nil {
			return err
		}
		return status("the cancelling", inPhase(v1alpha1.PhaseCancelling))(ctx, r)
	}}
)

func inPhase(p v1alpha1.LiveMigrationPhase) func(*v1alpha1.LiveMigration) bool {
	return func(lm *v1alpha1.LiveMigration) bool { return lm.Status.Phase == p }
}

func steeringOf(lm *v1alpha1.LiveMigration) *v1alpha1.SteeringStatus {
	if source := migration.CurrentSource(lm); source != nil {
		return source.Steering
	}
	return nil
}

// errMissed says that a migration was over before the phase was seen.
var errMissed = errors.New("the migration was over before that")

// await waits for a moment, which a migration that is over has missed.
func (r *run) await(ctx context.Context, what string, ok func(sight) bool) error {
	seen, err := r.seen.await(ctx, what, func(s sight) bool { return ok(s) || s.gone || s.lm != nil && migration.Finished(s.lm) })
	if err == nil && !ok(seen) {
		err = fmt.Errorf("waiting for %s: %w", what, errMissed)
	}
	return err
}

// status waits for a state of the object.
func status(what string, ok func(*v1alpha1.LiveMigration) bool) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		return r.await(ctx, what, func(s sight) bool { return s.lm != nil && ok(s.lm) })
	}
}

// event waits for a change of the guest's state on either host.
func event(what string, ok func(*run, hostEvent) bool) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		return r.await(ctx, what, func(s sight) bool {
			return slices.ContainsFunc(s.events, func(e hostEvent) bool { return e.Type == hypervisor.EventLifecycle && ok(r, e) })
		})
	}
}

// pass waits for the middle of a pass over the guest's memory.
func pass(n uint64) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		err := r.await(ctx, fmt.Sprintf("pass %d over the memory", n), func(s sight) bool {
			return slices.ContainsFunc(s.events, func(e hostEvent) bool { return e.Type == hypervisor.EventIteration && e.Iteration >= n })
		})
		sleep(ctx, 500*time.Millisecond)
		return err
	}
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
