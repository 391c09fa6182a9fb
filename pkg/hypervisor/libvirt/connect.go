package libvirt

import (
	"errors"

	lv "libvirt.org/go/libvirt"
)

// open connects to the daemon, and refuses one that does not lead to QEMU.
func (c *Client) open() (*lv.Connect, error) {
	uri, err := c.address()
	if err != nil {
		return nil, err
	}
	conn, err := lv.NewConnect(uri)
	if e := (lv.Error{}); errors.As(err, &e) && e.Code == lv.ERR_NO_CONNECT && e.Domain != lv.FROM_RPC {
		return nil, &driverError{cause: errors.New(messageOf(e))}
	}
	if err != nil {
		return nil, err
	}
	if err := c.checkDriver(conn); err != nil {
		_, _ = conn.Close()
		return nil, err
	}
	if before := c.chosen.Swap(&uri); c.config.URI == "" && (before == nil || *before != uri) {
		c.log.Info("Found libvirt's socket", "uri", uri)
	}
	return conn, nil
}

func (c *Client) checkDriver(conn *lv.Connect) error {
	driver, err := conn.GetType()
	if err == nil && driver != qemuDriver && !c.config.anyDriver {
		err = &driverError{driver: driver}
	}
	return err
}

// current returns the URI of the daemon that was connected to last; empty before.
func (c *Client) current() string {
	if uri := c.chosen.Load(); uri != nil {
		return *uri
	}
	return c.config.URI
}
