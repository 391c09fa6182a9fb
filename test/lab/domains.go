//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Domain states as virsh names them, and two of the lab's own.
const (
	StateRunning = "running"
	StatePaused  = "paused"
	StateShutOff = "shut off"
	StateAbsent  = "absent"  // The host does not know the domain.
	StateUnknown = "unknown" // The host could not be asked.
)

// DomainState is what one host says of a domain.
type DomainState struct {
	Host   string
	State  string // One of the State constants, or another state that virsh names.
	Reason string // Such as "booted" or "migrated".
	Err    error  // Set when the state is unknown.
}

// String shows a state as "node-a: running (migrated)".
func (s DomainState) String() string {
	switch {
	case s.Err != nil:
		return fmt.Sprintf("%s: %s (%v)", s.Host, s.State, s.Err)
	case s.Reason != "":
		return fmt.Sprintf("%s: %s (%s)", s.Host, s.State, s.Reason)
	default:
		return s.Host + ": " + s.State
	}
}

// DomainState asks the host for a domain, by name or UUID.
func (h *Host) DomainState(ctx context.Context, domain string) DomainState {
	out, err := h.Virsh(ctx, "domstate", "--reason", domain)
	switch {
	case err == nil:
		state, reason, _ := strings.Cut(out, " (")
		return DomainState{Host: h.name, State: state, Reason: strings.TrimSuffix(reason, ")")}
	case strings.Contains(err.Error(), "failed to get domain"):
		return DomainState{Host: h.name, State: StateAbsent}
	default:
		return DomainState{Host: h.name, State: StateUnknown, Err: err}
	}
}

// DomainStates asks all hosts for a domain, by name or UUID, at the same time.
func (l *Lab) DomainStates(ctx context.Context, domain string) []DomainState {
	hosts := l.Hosts()
	states := make([]DomainState, len(hosts))
	var group errgroup.Group
	for i, h := range hosts {
		group.Go(func() error {
			states[i] = h.DomainState(ctx, domain)
			return nil
		})
	}
	_ = group.Wait() // No task fails.
	return states
}

// ExactlyOneRunning returns an error that names every host's state unless the
// domain, given by name or UUID, runs on one host and on no other. A host that
// cannot be asked is an error too, for it may run the domain.
func (l *Lab) ExactlyOneRunning(ctx context.Context, domain string) ([]DomainState, error) {
	states := l.DomainStates(ctx, domain)
	running, unknown := 0, 0
	for _, s := range states {
		switch s.State {
		case StateRunning:
			running++
		case StateUnknown:
			unknown++
		}
	}
	if running != 1 || unknown != 0 {
		return states, fmt.Errorf("checking that %s runs once: it runs %d times: %v", domain, running, states)
	}
	return states, nil
}

// RunningOn returns the host that runs the guest, or nil when not exactly one
// does.
func (g *Guest) RunningOn(ctx context.Context) *Host {
	states, err := g.lab.ExactlyOneRunning(ctx, g.uuid)
	if err != nil {
		return nil
	}
	for _, s := range states {
		if s.State == StateRunning {
			return g.lab.Host(s.Host)
		}
	}
	return nil
}

// Remove ends the guest on every host that knows it, removes its definition and
// stops following its ticks. Its disks and console files stay.
func (g *Guest) Remove(ctx context.Context) error {
	var errs []error
	for _, s := range g.lab.DomainStates(ctx, g.uuid) {
		if s.State == StateAbsent {
			continue
		}
		if s.Err != nil {
			errs = append(errs, s.Err)
			continue
		}
		errs = append(errs, g.removeFrom(ctx, g.lab.Host(s.Host), s.State))
	}
	g.lab.unfollow(g)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing guest %s: %w", g.name, err)
	}
	return nil
}

// removeFrom removes the guest from one host. A transient domain is gone once it
// is destroyed, so that its definition is missing then is no error.
func (g *Guest) removeFrom(ctx context.Context, h *Host, state string) error {
	if state != StateShutOff {
		if _, err := h.Virsh(ctx, "destroy", g.uuid); err != nil {
			return err
		}
	}
	if h.DomainState(ctx, g.uuid).State == StateAbsent {
		return nil
	}
	_, err := h.Virsh(ctx, "undefine", g.uuid)
	return err
}
