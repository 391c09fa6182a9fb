package agent

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// connectTimeout bounds the wait for a listener. One on the node itself answers at once;
// where packets are dropped, nobody does, and the guest waits for that.
const connectTimeout = 200 * time.Millisecond

// lookupTimeout bounds the wait for the address of a host that is known by name.
const lookupTimeout = time.Second

// Listens reports whether something accepts TCP connections at an address. It connects,
// and sends nothing: an agent is mostly not in its host's network namespace, and can see
// the host's sockets from outside only. What does not answer counts as free.
func Listens(ctx context.Context, address netip.AddrPort) bool {
	dialer := net.Dialer{Timeout: connectTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", address.String())
	if err != nil {
		return false
	}
	_ = conn.Close() // Nothing was sent that could be lost.
	return true
}

// listening returns on which of the ports something listens at the address, if that is
// valid.
func (n *Node) listening(ctx context.Context, address netip.Addr, ports []int32) []int32 {
	if n.Listens == nil || !address.IsValid() {
		return nil
	}
	var (
		found []int32
		mu    sync.Mutex
		asked sync.WaitGroup
	)
	for _, port := range ports {
		asked.Go(func() {
			if n.Listens(ctx, netip.AddrPortFrom(address, uint16(port))) { //nolint:gosec // It is from a range of ports.
				mu.Lock()
				defer mu.Unlock()
				found = append(found, port)
			}
		})
	}
	asked.Wait()
	return found
}

// consoleAddress returns where serial consoles of the guest will listen on the host. Where
// that is on all of its addresses, it is the one at which other nodes reach it, by the same
// version of IP; it is not valid if there is none, or its name is not known here.
func consoleAddress(ctx context.Context, lm *v1alpha1.LiveMigration, c ReceiveConfig) netip.Addr {
	address := c.ListenAddress
	if data := lm.Spec.MigrateData; data != nil && data.Serial != nil && data.Serial.ListenAddress != nil {
		// A malformed one is refused when the rewrite is planned.
		address, _ = netip.ParseAddr(*data.Serial.ListenAddress)
	}
	if address.IsUnspecified() {
		return addressOf(ctx, c.Endpoint.Address, address.Is4())
	}
	return address
}

// addressOf returns the IP address of a host that is given by its address or name. Where only
// IPv4 is listened on, it is one of that.
func addressOf(ctx context.Context, host string, only4 bool) netip.Addr {
	if address, err := netip.ParseAddr(host); err == nil {
		return address
	}
	network := "ip"
	if only4 {
		network = "ip4"
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil || len(addresses) == 0 {
		return netip.Addr{}
	}
	return addresses[0].Unmap()
}
