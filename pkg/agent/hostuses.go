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

func (u *hostUses) lastOf(guest string) (use xmlrewrite.HostUse, known bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	use, known = u.last[guest]
	return use, known
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
// libvirt does not answer for, that is the last that is known; unknown are the names of those
// of which nothing is.
func (s *targetSession) survey(ctx context.Context, guests listing) (uses []xmlrewrite.HostUse, unknown []string, err error) {
	s.node.uses.forgetOthers(guests.domains)
	for _, d := range guests.domains {
		if !d.Active() {
			continue
		}
		use, known, err := s.useOf(ctx, d, guests.stuck[d.UUID])
		switch {
		case err != nil:
			return nil, nil, err
		case known:
			uses = append(uses, use)
		default:
			unknown = append(unknown, d.Name)
		}
	}
	return uses, unknown, nil
}

// useOf reads what a guest has of the host, if that is known. One that holds libvirt up is not
// asked.
func (s *targetSession) useOf(ctx context.Context, d hypervisor.Domain, stuck bool) (use xmlrewrite.HostUse, known bool, err error) {
	if stuck {
		use, known = s.node.uses.lastOf(d.UUID)
		return use, known, nil
	}
	use, err = s.readUse(ctx, d)
	switch {
	case hypervisor.IsNoDomain(err):
		return xmlrewrite.HostUse{}, true, nil
	case hypervisor.KindOf(err) == hypervisor.KindTimeout:
		s.log.Info("libvirt does not answer for a guest; what it has of the host is taken to be the last that is known", "guest", d.UUID)
		use, known = s.node.uses.lastOf(d.UUID)
		return use, known, nil
	case err != nil:
		return use, false, fmt.Errorf("reading what the guest %s has of the host: %w", d.Name, err)
	}
	s.node.uses.note(d.UUID, use)
	return use, true, nil
}

// readUse reads what a guest has of the host, with the PCI functions of its persistent
// definition: those that were taken from it for a migration may have to be given back.
func (s *targetSession) readUse(ctx context.Context, d hypervisor.Domain) (use xmlrewrite.HostUse, err error) {
	for _, form := range []hypervisor.XMLForm{hypervisor.XMLMigratable, hypervisor.XMLInactive} {
		if form == hypervisor.XMLInactive && !d.Persistent {
			break
		}
		xml, err := s.hv.DomainXML(ctx, d.UUID, form)
		if err != nil {
			return use, err //nolint:wrapcheck // The caller says what it is about.
		}
		found, err := xmlrewrite.ReadHostUse([]byte(xml))
		if err != nil {
			return use, err //nolint:wrapcheck // The same.
		}
		if form == hypervisor.XMLMigratable {
			use = found
			continue
		}
		use.PCIDevices = append(use.PCIDevices, found.PCIDevices...)
	}
	return use, nil
}
