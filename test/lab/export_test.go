//go:build e2e && linux

package lab

import (
	"context"
	"errors"
	"net"
)

// Listen listens on a free TCP port of the host's own address, inside the host.
func (h *Host) Listen(ctx context.Context) (l net.Listener, err error) {
	ended := h.inside.do(func() {
		var config net.ListenConfig
		l, err = config.Listen(ctx, "tcp", net.JoinHostPort(h.Address(), "0"))
	})
	return l, errors.Join(ended, err)
}

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
