package xmlrewrite

import (
	"net/netip"
	"strings"
)

// bindScope says how far an address that something listens on reaches.
type bindScope int

const (
	// scopeHost: an address of one host, which another host does not have.
	scopeHost bindScope = iota
	// scopeAny: the wildcard address.
	scopeAny
	// scopeLoopback: an address that every host has for itself.
	scopeLoopback
	// scopeUnset: libvirt's default on the host at hand.
	scopeUnset
)

func scopeOf(address string) bindScope {
	if address == "" {
		return scopeUnset
	}
	if address == "localhost" {
		return scopeLoopback
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"))
	switch {
	case err != nil:
		return scopeHost
	case a.Unmap().IsUnspecified():
		return scopeAny
	case a.Unmap().IsLoopback():
		return scopeLoopback
	}
	return scopeHost
}

// checkListenAddress returns the address to write, or nil where it is absent
// or malformed; malformed is reported.
func (p *planner) checkListenAddress(field *place, address *string) *string {
	if address == nil {
		return nil
	}
	a, err := netip.ParseAddr(*address)
	if err != nil || a.Zone() != "" {
		p.report(ProblemInvalidValue, field, nil,
			"this must be an IPv4 or IPv6 address without brackets, port or zone, such as 192.0.2.10 or 2001:db8::10")
		return nil
	}
	return address
}
