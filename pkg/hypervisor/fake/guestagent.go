package fake

import (
	"context"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Agent is what a guest has of an agent.
type Agent int

// The agents. One that hangs is made by Host.Hang.
const (
	// NoAgent: the guest has no channel to one.
	NoAgent Agent = iota
	// AgentDisconnected: there is a channel, and nobody at its end.
	AgentDisconnected
	// AgentConnected: it does what it is asked for.
	AgentConnected
)

// SetGuestTime implements hypervisor.Receiver. libvirt's words are those of 9.0.
func (h *Host) SetGuestTime(ctx context.Context, uuid string, now time.Time) error {
	const method = MethodSetGuestTime
	return onDomain(ctx, h, &Call{Method: method, UUID: uuid}, func(d *domain) error {
		switch {
		case !d.active():
			return notRunning(method)
		case d.guest.Agent == NoAgent:
			return fault(method, hypervisor.KindConfigUnsupported, "QEMU guest agent is not configured")
		case d.guest.Agent == AgentDisconnected:
			return fault(method, hypervisor.KindOther, "Guest agent is not responding: QEMU guest agent is not connected")
		case d.state != hypervisor.StateRunning:
			return fault(method, hypervisor.KindOther, "Guest agent is not responding: Guest agent not available for now")
		}
		d.guestTime, d.guestTimeSet = now, time.Now()
		return nil
	})
}

// SetAgent changes what a guest has of an agent.
func (h *Host) SetAgent(uuid string, agent Agent) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.domains[uuid].guest.Agent = agent
}

// GuestClock returns to what a guest's clock was set on this host, and when; zero if it was not.
func (h *Host) GuestClock(uuid string) (to, at time.Time) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if d := h.domains[uuid]; d != nil {
		return d.guestTime, d.guestTimeSet
	}
	return to, at
}
