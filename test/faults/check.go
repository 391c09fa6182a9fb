//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/lab"
)

// graces: how long what is left of a migration may take to go once its status is
// settled, and how long a guest may take to tick on a machine that is busy.
const (
	leftoverGrace = 10 * time.Second
	tickPatience  = 30 * time.Second
	healthGrace   = 60 * time.Second
	// A manager that is killed between the last write of the status and the
	// removal of the finalizer leaves that to the next one, which waits until the
	// dead one's lease is over.
	finalizerGrace = 30 * time.Second
)

// check compares what the status says with what is, and returns what is wrong.
func (r *run) check(ctx context.Context, v verdict, out *result) []string {
	var wrong []string
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }

	seen := r.atRest(ctx, v)
	out.was = ending{v, seen.place()}
	if !slices.Contains(r.scenario.allowed, out.was) {
		report("it came to %v (%v), not to %s", out.was, seen, oneOf(r.scenario.allowed))
	}
	if host := out.was.runner(r.source, r.target); host != nil {
		if err := r.checkTicks(ctx, host, v); err != nil {
			report("%v", err)
		}
		if err := r.checkDisk(ctx, host); err != nil {
			report("%v", err)
		}
		if err := r.eventually(ctx, func() error { return r.checkThawed(ctx, host) }); err != nil {
			report("%v", err)
		}
	}
	if out.was.verdict != unknown && out.was.verdict != pending {
		wrong = append(wrong, r.checkRest(ctx, out.was)...)
	}
	wrong = append(wrong, r.checkRequests()...)
	wrong = append(wrong, r.checkDaemons(ctx)...)
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	return append(wrong, r.seen.problems...)
}

// checkRest: nothing but the guest is left on the hosts, and nothing holds the object.
func (r *run) checkRest(ctx context.Context, was ending) []string {
	var wrong []string
	for _, h := range []*lab.Host{r.source, r.target} {
		if r.twice && h == r.target {
			continue // Its host died with the guest, and has come back with the definition.
		}
		if err := r.eventually(ctx, func() error { return r.checkLeftovers(ctx, h, was) }); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	waiting, cancel := context.WithTimeout(ctx, finalizerGrace)
	defer cancel()
	_, err := r.seen.await(waiting, "the finalizer to go", func(s sight) bool { return s.gone || s.lm != nil && finishedAndFree(s.lm) })
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	return wrong
}

// atRest asks both hosts. Where the fault ends the guest, its host may take a
// moment to notice.
func (r *run) atRest(ctx context.Context, v verdict) truth {
	for deadline := time.Now().Add(leftoverGrace); ; sleep(ctx, pollInterval) {
		seen := seek(ctx, r.guest, r.source, r.target)
		if !r.scenario.fault.endsGuest || slices.Contains(r.scenario.allowed, ending{v, seen.place()}) ||
			time.Now().After(deadline) || ctx.Err() != nil {
			return seen
		}
	}
}

// checkRequests: what became of each request is told.
func (r *run) checkRequests() []string {
	asked := slices.Clone(r.scenario.fault.asks)
	if r.scenario.phase.force {
		asked = append(asked, v1alpha1.RequestForceComplete)
	}
	seen, _ := r.seen.look()
	if seen.lm == nil {
		return nil
	}
	var wrong []string
	for _, request := range asked {
		i := slices.IndexFunc(seen.lm.Status.Requests, func(s v1alpha1.RequestStatus) bool { return s.Type == request })
		switch {
		case i < 0:
			wrong = append(wrong, fmt.Sprintf("the request %s is not recorded", request))
		case seen.lm.Status.Requests[i].SettledTime == nil:
			s := seen.lm.Status.Requests[i]
			wrong = append(wrong, fmt.Sprintf("the request %s is still %s: %s", s.Type, s.State, s.Message))
		}
	}
	return wrong
}

// eventually repeats a check until it is content or the grace is over.
func (r *run) eventually(ctx context.Context, check func() error) error {
	deadline := time.Now().Add(leftoverGrace)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		sleep(ctx, 10*pollInterval)
	}
}

// checkTicks: the guest ticks on where it is, and has neither lost a tick nor
// gone back.
func (r *run) checkTicks(ctx context.Context, host *lab.Host, v verdict) error {
	ctx, cancel := context.WithTimeout(ctx, tickPatience)
	defer cancel()
	if r.scenario.fault.reboots || r.twice || v == unknown {
		// It counts from one again, or two copies have counted for a while.
		return r.awaitTickAfter(ctx, host, time.Now())
	}
	if _, err := r.guest.Ticks().Advance(ctx, host.Name(), 2); err != nil {
		return err
	}
	return r.guest.Ticks().Check()
}

// awaitTickAfter waits for any tick on the host that comes after a moment.
func (r *run) awaitTickAfter(ctx context.Context, host *lab.Host, moment time.Time) error {
	for {
		last := r.guest.Ticks().Last()
		if last.Host == host.Name() && last.At.After(moment) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for a tick on %s: %w", host.Name(), ctx.Err())
		}
		sleep(ctx, pollInterval)
	}
}

// belongs says what of the guest is to be on a host: the guest itself, and a domain
// at all.
func (r *run) belongs(h *lab.Host, e ending) (active, known bool) {
	switch e.place {
	case onSource, pausedSource:
		active = h == r.source
	case onTarget, pausedTarget:
		active = h == r.target
	case nowhere:
		// A guest that has stopped keeps its definition where it stopped.
		home := r.target
		if e.verdict == ended {
			home = r.source
		}
		return false, h == home && !r.scenario.guest.transient
	case heldSource, heldTarget, heldBoth, twice, unseen:
		active = true // Of an outcome that is not known, nothing is asked.
	}
	return active, active
}

// checkLeftovers: the host has of the guest what the ending says, and no more.
func (r *run) checkLeftovers(ctx context.Context, h *lab.Host, e ending) error {
	if err := r.checkImages(ctx, h, e); err != nil {
		return err
	}
	active, known := r.belongs(h, e)
	state := h.DomainState(ctx, r.guest.UUID())
	pid, err := h.QEMUPID(r.guest.Name())
	switch {
	case err != nil:
		return err
	case state.Err != nil:
		return state.Err
	case active != isActive(state), known != (state.State != lab.StateAbsent):
		return fmt.Errorf("not in order: %v, but the guest is %s", state, e.place)
	case active != (pid != 0):
		return fmt.Errorf("not in order: on %s QEMU has the process ID %d, but the guest is %s", h.Name(), pid, e.place)
	case active:
		return r.checkDefinition(ctx, h)
	}
	return nil
}

// checkDefinition: a guest that has a definition that outlives it still has it.
func (r *run) checkDefinition(ctx context.Context, h *lab.Host) error {
	info, err := h.Virsh(ctx, "dominfo", r.guest.UUID())
	if err != nil {
		return err
	}
	for line := range strings.Lines(info) {
		value, ok := strings.CutPrefix(line, "Persistent:")
		if ok && (strings.TrimSpace(value) == "yes") == r.scenario.guest.transient {
			return fmt.Errorf("on %s the guest is persistent: %s", h.Name(), strings.TrimSpace(value))
		}
	}
	return nil
}

// checkDaemons: all of Virtferry's processes run, are ready, and have not ended
// by themselves, and both hosts can be used.
func (r *run) checkDaemons(ctx context.Context) []string {
	var wrong []string
	ctx, cancel := context.WithTimeout(ctx, healthGrace)
	defer cancel()
	for _, d := range r.world.daemons() {
		exits := d.takeExits()
		if !r.scenario.fault.apiAway || d != r.world.manager {
			wrong = append(wrong, exits...)
		}
		if err := d.WaitReady(ctx); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	for _, h := range r.world.lab.Hosts() {
		if err := h.WaitUsable(ctx); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}
