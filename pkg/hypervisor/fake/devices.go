package fake

import (
	"context"
	"strings"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// passedThrough begins an interface that is a device of the host. A domain that has one is not
// migrated.
const passedThrough = "<interface type='hostdev'"

// AttachDevice implements hypervisor.Receiver. A device of the host can be had once; of anything
// else, libvirt attaches another one with the same MAC address.
func (h *Host) AttachDevice(ctx context.Context, uuid string, device hypervisor.DomainXML) error {
	const method = MethodAttachDevice
	return onDomain(ctx, h, &Call{Method: method, UUID: uuid}, func(d *domain) error {
		switch {
		case !d.active():
			return notRunning(method)
		case d.out != nil || d.in != nil:
			return fault(method, hypervisor.KindBusy, "Timed out during operation: cannot acquire state change lock (held by migration)")
		case strings.HasPrefix(string(device), passedThrough) && strings.Contains(string(d.live), string(device)):
			return fault(method, hypervisor.KindOperationInvalid, "PCI device is in use by driver QEMU, domain "+d.guest.Name)
		}
		d.live = hypervisor.DomainXML(strings.Replace(string(d.live), "</devices>", string(device)+"</devices>", 1))
		return nil
	})
}

// DetachDevice implements hypervisor.Receiver.
func (h *Host) DetachDevice(ctx context.Context, uuid string, device hypervisor.DomainXML) error {
	const method = MethodDetachDevice
	return onDomain(ctx, h, &Call{Method: method, UUID: uuid}, func(d *domain) error {
		before, after, found := cutDevice(string(d.live), macOf(string(device)))
		switch {
		case !d.active():
			return notRunning(method)
		case d.out != nil || d.in != nil:
			return fault(method, hypervisor.KindBusy, "Timed out during operation: cannot acquire state change lock (held by migration)")
		case !found:
			return fault(method, hypervisor.KindOther, "device not found: no matching network device was found")
		case d.guest.Clings:
			return nil // The guest has been asked.
		case d.guest.LetsGoAfter > 0:
			h.beginToLetGo(d, macOf(string(device)))
			return nil
		}
		d.live = hypervisor.DomainXML(before + after)
		return nil
	})
}

// beginToLetGo has a guest let go of an interface some time later. To be asked once more makes no
// difference. The fleet's mutex is held.
func (h *Host) beginToLetGo(d *domain, mac string) {
	if d.lettingGo[mac] {
		return
	}
	if d.lettingGo == nil {
		d.lettingGo = map[string]bool{}
	}
	d.lettingGo[mac] = true
	time.AfterFunc(d.guest.LetsGoAfter, func() { h.letGo(d, mac) })
}

// letGo has a guest let go of an interface that it was asked for some time ago.
func (h *Host) letGo(d *domain, mac string) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	delete(d.lettingGo, mac)
	if before, after, found := cutDevice(string(d.live), mac); found && d.active() {
		d.live = hypervisor.DomainXML(before + after)
	}
}

// macOf returns the attribute by which an interface is found.
func macOf(device string) string {
	_, rest, _ := strings.Cut(device, "<mac address='")
	mac, _, _ := strings.Cut(rest, "'")
	return "<mac address='" + mac + "'/>"
}

// cutDevice cuts an interface out of a definition.
func cutDevice(definition, mac string) (before, after string, found bool) {
	const end = "</interface>"
	at := strings.Index(definition, mac)
	if at < 0 {
		return "", "", false
	}
	from, to := strings.LastIndex(definition[:at], "<interface "), strings.Index(definition[at:], end)
	if from < 0 || to < 0 {
		return "", "", false
	}
	return definition[:from], definition[at+to+len(end):], true
}

// LiveXML returns the definition of a running domain; empty if there is none.
func (h *Host) LiveXML(uuid string) string {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	if d := h.domains[uuid]; d != nil && d.active() {
		return string(d.live)
	}
	return ""
}
