package libvirt

import (
	"context"
	"sync"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// subscriberBuffer is how many events a subscriber may be behind. A busy host
// sends a handful per second and migration.
const subscriberBuffer = 128

// hub hands events out to subscribers without ever waiting for one.
type hub struct {
	mu          sync.Mutex
	subscribers map[chan hypervisor.Event]string
}

func newHub() *hub { return &hub{subscribers: map[chan hypervisor.Event]string{}} }

// subscribe returns a stream of events of one domain, or of all with an empty
// UUID, that is closed when ctx ends.
func (h *hub) subscribe(ctx context.Context, uuid string) <-chan hypervisor.Event {
	events := make(chan hypervisor.Event, subscriberBuffer)
	h.mu.Lock()
	h.subscribers[events] = uuid
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subscribers, events)
		close(events)
	})
	return events
}

// publish sends an event to everybody whom it concerns.
func (h *hub) publish(event hypervisor.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for events, uuid := range h.subscribers {
		if uuid == "" || event.UUID == "" || uuid == event.UUID {
			offer(events, event)
		}
	}
}

// offer puts an event into a buffer. A full buffer is emptied first, and one
// EventResync takes the place of all that was in it and of the event.
func offer(events chan hypervisor.Event, event hypervisor.Event) {
	select {
	case events <- event:
		return
	default:
	}
	for drained := false; !drained; {
		select {
		case <-events:
		default:
			drained = true
		}
	}
	// Only publish sends, and one at a time, so there is room.
	events <- hypervisor.Event{Type: hypervisor.EventResync}
}

// Subscribe implements hypervisor.Host. The stream is not ended by Run's end.
func (c *Client) Subscribe(ctx context.Context, uuid string) <-chan hypervisor.Event {
	return c.hub.subscribe(ctx, uuid)
}
