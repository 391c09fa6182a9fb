package fake

import (
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// What a person does with virsh, and what somebody sees who can look everywhere at once.

// Start starts a domain from its definition, as `virsh start` does. It reports false where
// there is none, or it is active.
func (h *Host) Start(uuid string) bool {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	d := h.domains[uuid]
	if d == nil || d.active() || !h.connected {
		return false
	}
	h.fleet.boots++
	d.state, d.reason, d.boot, d.partial = hypervisor.StateRunning, hypervisor.ReasonBooted, h.fleet.boots, false
	d.id = h.newRun()
	h.emit(uuid, hypervisor.LifecycleStarted, "Booted")
	return true
}

// Pause suspends a domain, as `virsh suspend` does, and Unpause resumes it. They report
// false where that is refused.
func (h *Host) Pause(uuid string) bool { return h.byHand(uuid, h.suspend) }

// Unpause is the opposite of Pause.
func (h *Host) Unpause(uuid string) bool { return h.byHand(uuid, h.resume) }

func (h *Host) byHand(uuid string, do func(*domain) error) bool {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	d := h.domains[uuid]
	return d != nil && h.connected && do(d) == nil
}

// Destroy ends a domain, as `virsh destroy` does: a migration of it fails. It reports false
// where it is not active.
func (h *Host) Destroy(uuid string) bool {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	d := h.domains[uuid]
	if d == nil || !d.active() {
		return false
	}
	in, out := d.in, d.out
	h.emit(uuid, hypervisor.LifecycleStopped, "Destroyed")
	h.end(d, hypervisor.ReasonDestroyed)
	switch {
	case in != nil && in.postCopy.active:
		in.postCopy.lost, in.postCopy.unplugged = true, true
		in.change()
	case in != nil:
		in.interrupt(cause{ending: endsDestroyed})
	case out != nil && out.stage < stageSwitching:
		out.dropHalf("Failed")
		out.finish(failed("operation failed: domain is not running"))
	case out != nil:
		out.loseSource()
	}
	return true
}

// loseSource ends a migration in post-copy, or behind it, whose source has lost its half.
func (m *migration) loseSource() {
	if m.half.in != nil {
		m.resumeHalf(hypervisor.ReasonPostcopyFailed, hypervisor.DetailPostcopyFailed)
	}
	m.settle(cause{ending: endsNowhere})
}

// Copies returns what each host has of a guest, without a call.
func (f *Fleet) Copies(uuid string) map[string]hypervisor.Domain {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.copies(uuid)
}

func (f *Fleet) copies(uuid string) map[string]hypervisor.Domain {
	copies := map[string]hypervisor.Domain{}
	for name, h := range f.hosts {
		if d := h.domains[uuid]; d != nil {
			copies[name] = d.describe()
		}
	}
	return copies
}

// Leaving returns how many guests a host is sending.
func (h *Host) Leaving() int {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	n := 0
	for _, d := range h.domains {
		if d.out != nil {
			n++
		}
	}
	return n
}

// Effect is a call that has changed a guest, or failed to.
type Effect struct {
	Host   string
	Method Method
	UUID   string
	Err    error
	// Before and After are what each host had of the guest.
	Before, After map[string]hypervisor.Domain
	// Partial is whether what this host had lacked some of the guest's memory, and
	// Elsewhere whether another one has all of it.
	Partial, Elsewhere bool
}

// WithWitness has a function told of each call that suspends, resumes, destroys or
// undefines a guest, at the moment in which it does. The function must not call the fleet.
func WithWitness(witness func(Effect)) Option {
	return func(f *Fleet) { f.witness = witness }
}

// WithStages has a function told of each stage that a migration comes to. The function must
// not call the fleet.
func WithStages(tell func(uuid string, stage Stage)) Option {
	return func(f *Fleet) { f.onStage = tell }
}

// hasAll reports whether a host, but for one, has all of a guest as it was started once.
func (f *Fleet) hasAll(uuid string, boot int, but *Host) bool {
	for _, h := range f.hosts {
		if d := h.domains[uuid]; h != but && d != nil && d.boot == boot && d.active() && !d.partial {
			return true
		}
	}
	return false
}

// witnessed carries a call out and tells the witness, if it is one to tell of. The fleet's
// mutex is held.
func witnessed[T any](h *Host, call *Call, carryOut func() (T, error)) (T, error) {
	switch call.Method { //nolint:exhaustive // All others leave guests as they are.
	case MethodSuspend, MethodResume, MethodUndefine, MethodDestroyIncoming, MethodDestroyStale:
	default:
		return carryOut()
	}
	if h.fleet.witness == nil {
		return carryOut()
	}
	effect := Effect{Host: h.name, Method: call.Method, UUID: call.UUID, Before: h.fleet.copies(call.UUID)}
	if d := h.domains[call.UUID]; d != nil {
		effect.Partial, effect.Elsewhere = d.partial, h.fleet.hasAll(call.UUID, d.boot, h)
	}
	value, err := carryOut()
	effect.Err, effect.After = err, h.fleet.copies(call.UUID)
	h.fleet.witness(effect)
	return value, err
}
