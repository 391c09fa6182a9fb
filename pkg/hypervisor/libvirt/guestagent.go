package libvirt

import (
	"context"
	"errors"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// agentSeconds is how long libvirt waits for a guest's agent on our behalf. By itself, it waits
// for ever, and gives one of its workers away for that.
const agentSeconds = 5

// agentSubject is what calls to a guest's agent are about: their silence is not to keep the
// domain from being asked.
const agentSubject = "guest agent of "

// SetGuestTime implements hypervisor.Receiver.
func (c *Client) SetGuestTime(ctx context.Context, uuid string, now time.Time) error {
	const op = "setting the guest's clock"
	begun := time.Now()
	return toGuest(ctx, c, op, uuid, func(domain *lv.Domain) error {
		at := now.Add(time.Since(begun))
		return domain.SetTime(at.Unix(), uint(at.Nanosecond()), 0)
	})
}

// freezeWithin is how long after the call was made a guest is still asked to freeze its file systems. It
// leaves the agent all of its time for that before we give up. Libvirt may have kept us waiting, for
// another call to the same agent for example.
const freezeWithin = 2 * time.Second

// FreezeGuest implements hypervisor.Receiver. It asks for the time first: if nobody answers that, nobody
// has been asked to freeze anything, and nobody will freeze it minutes later, when the agent
// comes to itself. An agent that somebody else has had freeze the guest refuses to tell the
// time.
func (c *Client) FreezeGuest(ctx context.Context, uuid string) error {
	const op = "freezing the guest's file systems"
	begun := time.Now()
	return toGuest(ctx, c, op, uuid, func(domain *lv.Domain) error {
		if _, _, err := domain.GetTime(0); err != nil {
			return notAsked(op, err)
		}
		if time.Since(begun) > freezeWithin || ctx.Err() != nil {
			return notAsked(op, errDeadline)
		}
		return domain.FSFreeze(nil, 0)
	})
}

// ThawGuest implements hypervisor.Receiver.
func (c *Client) ThawGuest(ctx context.Context, uuid string) error {
	return toGuest(ctx, c, "thawing the guest's file systems", uuid, func(domain *lv.Domain) error { return domain.FSThaw(nil, 0) })
}

// toGuest makes a call to the agent in a guest. The limit of libvirt's is the domain's; nobody
// can read what it was. So it is left as libvirt has it by itself: but not by a call that was given up,
// after which the next one may be waiting for the agent already, and would do so for ever.
func toGuest(ctx context.Context, c *Client, op, uuid string, fn func(*lv.Domain) error) error {
	begun := time.Now()
	_, err := call(ctx, c, op, agentSubject+uuid, func(conn *lv.Connect) (struct{}, error) {
		var none struct{}
		domain, err := lookup(conn, uuid)
		if err != nil {
			return none, notAsked(op, err)
		}
		defer func() { _ = domain.Free() }() // It fails only for a handle that is none.
		if err := domain.AgentSetResponseTimeout(agentSeconds, 0); err != nil {
			return none, notAsked(op, err)
		}
		defer func() {
			if ctx.Err() == nil && time.Since(begun) < c.config.CallTimeout {
				_ = domain.AgentSetResponseTimeout(int(lv.DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK), 0) // The domain is gone, then.
			}
		}()
		return none, asNoAgent(op, fn(domain))
	})
	return err
}

// notAsked says of an error that the guest's agent was not asked for what was wanted, and will not be.
func notAsked(op string, err error) error {
	converted := convert(op, asNoAgent(op, err))
	if done := (*hypervisor.Error)(nil); errors.As(converted, &done) {
		named := *done
		named.Err = hypervisor.ErrGuestNotAsked
		return &named
	}
	return converted
}

// asNoAgent says of a domain without a channel to an agent that this will not change.
func asNoAgent(op string, err error) error {
	if e := (lv.Error{}); errors.As(err, &e) && (e.Code == lv.ERR_ARGUMENT_UNSUPPORTED || e.Code == lv.ERR_NO_SUPPORT) {
		return fault(op, hypervisor.KindConfigUnsupported, sanitize(e.Message))
	}
	return err
}
