//go:build e2e && linux

package lab

import (
	"context"
	"errors"
	"net"
)

// Dial connects to a TCP address from inside the host.
func (h *Host) Dial(ctx context.Context, address string) (c net.Conn, err error) {
	ended := h.inside.do(func() {
		var dialer net.Dialer
		c, err = dialer.DialContext(ctx, "tcp", address)
	})
	return c, errors.Join(ended, err)
}

// SwitchLinks lists the interfaces of the switch, one a line.
func (l *Lab) SwitchLinks(ctx context.Context) (string, error) {
	return l.network.inside.run(ctx, "ip", "-oneline", "link")
}
