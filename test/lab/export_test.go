//go:build e2e && linux

package lab

import (
	"context"
	"net"
)

// Dial connects to a TCP address from inside the host.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	var c net.Conn
	err := within(h.inside, func() (err error) {
		var dialer net.Dialer
		c, err = dialer.DialContext(ctx, "tcp", address)
		return err
	})
	return c, err
}

// SwitchLinks lists the interfaces of the switch, one a line.
func (l *Lab) SwitchLinks(ctx context.Context) (string, error) {
	return l.network.inside.run(ctx, "ip", "-oneline", "link")
}
