package fake

import (
	"context"
	"errors"
	"strings"
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

// agentChannel is a guest's channel to its agent.
const agentChannel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"

// withChannel returns a definition of the guest with the channel to its agent, if it has one.
func (d *domain) withChannel(xml hypervisor.DomainXML) hypervisor.DomainXML {
	if d.guest.Agent == NoAgent || strings.Contains(string(xml), agentChannel) {
		return xml
	}
	return hypervisor.DomainXML(strings.Replace(string(xml), "</devices>", agentChannel+"</devices>", 1))
}

// askAgent returns why the agent in a guest cannot be asked, in the words of libvirt 9.0.
func (d *domain) askAgent(method Method) error {
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
	return nil
}

// SetGuestTime implements hypervisor.Receiver.
func (h *Host) SetGuestTime(ctx context.Context, uuid string, now time.Time) error {
	const method = MethodSetGuestTime
	return onDomain(ctx, h, &Call{Method: method, UUID: uuid}, func(d *domain) error {
		if err := d.askAgent(method); err != nil {
			return err
		}
		if !d.frozenSince.IsZero() {
			return disabled(method, "guest-set-time")
		}
		d.guestTime, d.guestTimeSet = now, time.Now()
		return nil
	})
}

// disabled is what QEMU's agent says to nearly everything while the guest is frozen.
func disabled(method Method, command string) error {
	return fault(method, hypervisor.KindOther, "internal error: unable to execute QEMU agent command '"+command+"': Command "+command+" has been disabled: the agent is in frozen state")
}

// FreezeGuest implements hypervisor.Receiver. What FailNext makes it return says nothing of whether
// the guest was asked, unless it is NotAsked.
func (h *Host) FreezeGuest(ctx context.Context, uuid string) error {
	const method = MethodFreezeGuest
	return onDomain(ctx, h, &Call{Method: method, UUID: uuid}, func(d *domain) error {
		err := d.askAgent(method)
		if err == nil && !d.frozenSince.IsZero() {
			err = disabled(method, "guest-get-time")
		}
		if err != nil {
			return NotAsked(err)
		}
		d.frozenSince = time.Now()
		return nil
	})
}

// NotAsked returns an error as one after which the guest has certainly not been asked.
func NotAsked(err error) error {
	var e *hypervisor.Error
	if !errors.As(err, &e) {
		return err
	}
	named := *e
	named.Err = hypervisor.ErrGuestNotAsked
	return &named
}

// ThawGuest implements hypervisor.Receiver.
func (h *Host) ThawGuest(ctx context.Context, uuid string) error {
	const method = MethodThawGuest
	return onDomain(ctx, h, &Call{Method: method, UUID: uuid}, func(d *domain) error {
		if err := d.askAgent(method); err != nil {
			return err
		}
		d.frozenSince = time.Time{}
		return nil
	})
}

// FrozenSince returns since when a guest's file systems are frozen, as seen on this host; zero if
// they are not.
func (h *Host) FrozenSince(uuid string) time.Time {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if d := h.domains[uuid]; d != nil && d.active() {
		return d.frozenSince
	}
	return time.Time{}
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
