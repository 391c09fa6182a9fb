//go:build linux

package lab

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// stateListen is TCP_LISTEN in /proc/net/tcp.
const stateListen = "0A"

// parseListening reads the listening sockets out of /proc/net/tcp or tcp6.
func parseListening(table string) ([]netip.AddrPort, error) {
	const localField, stateField = 1, 3
	var found []netip.AddrPort
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		fields := strings.Fields(line)
		if i == 0 || len(fields) <= stateField || fields[stateField] != stateListen {
			continue
		}
		address, err := parseSocketAddress(fields[localField])
		if err != nil {
			return nil, err
		}
		found = append(found, address)
	}
	return found, nil
}

// parseSocketAddress reads an address as the kernel prints it: 32-bit words in
// the machine's order, which is little-endian on all that the lab runs on, a
// colon, and the port.
func parseSocketAddress(s string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("parsing socket address %q: %w", s, err)
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	address, ok := netip.AddrFromSlice(raw)
	number, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		return netip.AddrPort{}, fmt.Errorf("parsing socket address %q", s)
	}
	return netip.AddrPortFrom(address, uint16(number)), nil
}
