package xmlrewrite

import (
	"encoding/binary"
	"net/netip"
	"strconv"
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
	address = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	name := strings.ToLower(strings.TrimSuffix(address, "."))
	if address == "" {
		return scopeUnset
	}
	if isOneOf(name, "localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "ipv6-localhost", "ipv6-loopback") ||
		strings.HasPrefix(name, "localhost.") || strings.HasSuffix(name, ".localhost") || strings.HasPrefix(name, "localhost4.") || strings.HasPrefix(name, "localhost6.") {
		return scopeLoopback
	}
	a, err := netip.ParseAddr(address)
	if err != nil {
		var ok bool
		if a, ok = parseOldIPv4(address); !ok {
			return scopeHost
		}
	}
	switch a = a.Unmap(); {
	case a.IsUnspecified():
		return scopeAny
	case a.IsLoopback():
		return scopeLoopback
	}
	return scopeHost
}

// parseOldIPv4 reads the old spellings of an IPv4 address, which C libraries take: one
// to four numbers in any base, of which the last stands for all bytes that are left.
func parseOldIPv4(text string) (netip.Addr, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var address uint64
	for i, part := range parts {
		bytes := 1
		if i == len(parts)-1 {
			bytes = 5 - len(parts)
		}
		n, err := strconv.ParseUint(part, 0, 8*bytes)
		if err != nil || strings.Contains(part, "_") {
			return netip.Addr{}, false
		}
		address = address<<(8*bytes) | n
	}
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], uint32(address))
	return netip.AddrFrom4(out), true
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
