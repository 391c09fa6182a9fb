package agent

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// hostUses remembers what guests, by their UUIDs, were last seen to have of the host. Its zero
// value is ready.
type hostUses struct {
	mu   sync.Mutex
	last map[string]xmlrewrite.HostUse
}

// note remembers what a guest has, and lastOf returns that.
func (u *hostUses) note(guest string, use xmlrewrite.HostUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = map[string]xmlrewrite.HostUse{}
	}
	u.last[guest] = use
}

func (u *hostUses) lastOf(guest string) xmlrewrite.HostUse {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last[guest]
}

// forgetOthers drops what was noted of guests that are not among those of the host.
func (u *hostUses) forgetOthers(guests []hypervisor.Domain) {
	u.mu.Lock()
	defer u.mu.Unlock()
	here := make(map[string]bool, len(guests))
	for _, d := range guests {
		here[d.UUID] = true
	}
	maps.DeleteFunc(u.last, func(guest string, _ xmlrewrite.HostUse) bool { return !here[guest] })
}

// survey reads what the guests that run on the host have of it, each once. Of a guest that
// libvirt does not answer for, that is the last that is known: what is taken after all makes the
// migration fail before anything has happened to its guest.
func (s *targetSession) survey(ctx context.Context, guests listing) ([]xmlrewrite.HostUse, error) {
	s.node.uses.forgetOthers(guests.domains)
	var uses []xmlrewrite.HostUse
	for _, d := range guests.domains {
		if !d.Active() {
			continue
		}
		use, err := s.useOf(ctx, d, guests.stuck[d.UUID])
		if err != nil {
			return nil, err
		}
		uses = append(uses, use)
	}
	return uses, nil
}

// useOf reads what a guest has of the host. One that holds libvirt up is not asked.
func (s *targetSession) useOf(ctx context.Context, d hypervisor.Domain, stuck bool) (xmlrewrite.HostUse, error) {
	if stuck {
		return s.node.uses.lastOf(d.UUID), nil
	}
	xml, err := s.hv.DomainXML(ctx, d.UUID, hypervisor.XMLMigratable)
	switch {
	case hypervisor.IsNoDomain(err):
		return xmlrewrite.HostUse{}, nil
	case hypervisor.KindOf(err) == hypervisor.KindTimeout:
		s.log.Info("libvirt does not answer for a guest; what it has of the host is taken to be the last that is known", "guest", d.UUID)
		return s.node.uses.lastOf(d.UUID), nil
	case err != nil:
		return xmlrewrite.HostUse{}, fmt.Errorf("reading the definition of the guest %s: %w", d.Name, err)
	}
	use, err := xmlrewrite.ReadHostUse([]byte(xml))
	if err != nil {
		return xmlrewrite.HostUse{}, fmt.Errorf("reading what the guest %s has of the host: %w", d.Name, err)
	}
	s.node.uses.note(d.UUID, use)
	return use, nil
}
