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

// SetGuestTime implements hypervisor.Receiver. The limit of libvirt's is the domain's; nobody
// can read what it was. So it is left as libvirt has it, in a domain that has just come.
func (c *Client) SetGuestTime(ctx context.Context, uuid string, now time.Time) error {
	const op = "setting the guest's clock"
	begun := time.Now()
	_, err := call(ctx, c, op, agentSubject+uuid, func(conn *lv.Connect) (struct{}, error) {
		var none struct{}
		domain, err := lookup(conn, uuid)
		if err != nil {
			return none, err
		}
		defer func() { _ = domain.Free() }() // It fails only for a handle that is none.
		if err := domain.AgentSetResponseTimeout(agentSeconds, 0); err != nil {
			return none, asNoAgent(op, err)
		}
		defer func() { _ = domain.AgentSetResponseTimeout(int(lv.DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK), 0) }() // The domain is gone, then.
		at := now.Add(time.Since(begun))
		return none, asNoAgent(op, domain.SetTime(at.Unix(), uint(at.Nanosecond()), 0))
	})
	return err
}

// asNoAgent says of a domain without a channel to an agent that this will not change.
func asNoAgent(op string, err error) error {
	if e := (lv.Error{}); errors.As(err, &e) && (e.Code == lv.ERR_ARGUMENT_UNSUPPORTED || e.Code == lv.ERR_NO_SUPPORT) {
		return fault(op, hypervisor.KindConfigUnsupported, sanitize(e.Message))
	}
	return err
}
