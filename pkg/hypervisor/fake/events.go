package fake

import (
	"context"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// subscriberBuffer is how many events a subscriber may be behind.
const subscriberBuffer = 128

// Subscribe implements hypervisor.Host.
func (h *Host) Subscribe(ctx context.Context, uuid string) <-chan hypervisor.Event {
	events := make(chan hypervisor.Event, subscriberBuffer)
	h.fleet.mu.Lock()
	h.subscribers[events] = uuid
	h.fleet.record(&Call{Host: h.name, Method: MethodSubscribe, UUID: uuid})
	h.fleet.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.fleet.mu.Lock()
		defer h.fleet.mu.Unlock()
		delete(h.subscribers, events)
		close(events)
	})
	return events
}

// Emit sends an event to the subscribers, as if libvirt had.
func (h *Host) Emit(event hypervisor.Event) {
	h.fleet.mu.Lock()
	defer h.fleet.mu.Unlock()
	h.publish(event)
}

func (h *Host) emit(uuid string, lifecycle hypervisor.Lifecycle, detail string) {
	h.publish(hypervisor.Event{Type: hypervisor.EventLifecycle, UUID: uuid, Lifecycle: lifecycle, Detail: detail})
}

// publish sends an event, unless the host drops events or nobody is connected.
func (h *Host) publish(event hypervisor.Event) {
	if h.dropping || !h.connected {
		return
	}
	for events, uuid := range h.subscribers {
		if uuid != "" && event.UUID != "" && uuid != event.UUID {
			continue
		}
		select {
		case events <- event:
			continue
		default:
		}
		// One EventResync takes the place of all that was missed.
		for len(events) > 0 {
			select {
			case <-events:
			default:
			}
		}
		events <- hypervisor.Event{Type: hypervisor.EventResync}
	}
}
