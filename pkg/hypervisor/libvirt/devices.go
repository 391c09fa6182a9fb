package libvirt

import (
	"context"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// AttachDevice implements hypervisor.Receiver.
func (c *Client) AttachDevice(ctx context.Context, uuid string, device hypervisor.DomainXML) error {
	return toDomain(ctx, c, "attaching a device", uuid, func(domain *lv.Domain) error {
		return domain.AttachDeviceFlags(string(device), lv.DOMAIN_DEVICE_MODIFY_LIVE)
	})
}

// DetachDevice implements hypervisor.Receiver. libvirt waits for the guest for some seconds, and
// returns without an error if that does not let go by then.
func (c *Client) DetachDevice(ctx context.Context, uuid string, device hypervisor.DomainXML) error {
	return toDomain(ctx, c, "detaching a device", uuid, func(domain *lv.Domain) error {
		return domain.DetachDeviceFlags(string(device), lv.DOMAIN_DEVICE_MODIFY_LIVE)
	})
}
