package libvirt

import (
	"context"
	"errors"
	"time"

	lv "libvirt.org/go/libvirt"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// eventLink is a connection with event callbacks on it.
type eventLink struct {
	*link
	callbacks []int
}

// shut closes the connection; it may hang. The order matters. First the
// callbacks are deregistered: libvirt frees one at once, or, where its event
// loop is about to call it, when the loop is done with that. Then the loop
// turns once more, so that none is left whose freeing would close the
// connection from within the loop, which would block the whole process where
// the daemon hangs. Only then is the connection closed.
func (l *eventLink) shut() {
	for _, id := range l.callbacks {
		// Deregistering frees the callback before it tells the daemon, so its
		// failure, with a connection that is lost, leaves nothing behind.
		_ = l.conn.DomainEventDeregister(id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	if processLoop.drain(ctx) != nil {
		// A loop that is stuck may still be in a callback: leak the connection
		// rather than pull it away.
		return
	}
	l.link.shut()
}

// dialEvents opens a connection for events. It may hang.
func (c *Client) dialEvents() (*eventLink, error) {
	l, err := c.dial()
	if err != nil {
		return nil, err
	}
	events := &eventLink{link: l}
	register := []func() (int, error){
		func() (int, error) { return l.conn.DomainEventLifecycleRegister(nil, c.onLifecycle) },
		func() (int, error) { return l.conn.DomainEventMigrationIterationRegister(nil, c.onIteration) },
		func() (int, error) { return l.conn.DomainEventJobCompletedRegister(nil, c.onJobCompleted) },
	}
	for _, fn := range register {
		id, err := fn()
		if errors.Is(err, lv.ERR_NO_SUPPORT) {
			continue
		}
		if err != nil {
			events.shut()
			return nil, err
		}
		events.callbacks = append(events.callbacks, id)
	}
	return events, nil
}

// runEvents keeps the events connection until ctx ends.
func (c *Client) runEvents(ctx context.Context) {
	d := newDialer(c.dialEvents, c.config.CallTimeout, c.control.spawned.Go)
	defer d.stop()
	log := c.log.With("connection", "events")
	var pause backoff
	for {
		l, err := d.open(ctx)
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.control.spawned.Go(l.shut)
			}
			return
		case err != nil:
			c.events.failed.Add(1)
			if pause.pause == 0 {
				log.Warn("Connecting to libvirt failed", "error", sanitize(err.Error()))
			}
			select {
			case <-time.After(pause.next()):
			case <-ctx.Done():
			}
			continue
		}
		pause.reset()
		c.events.made.Add(1)
		log.Info("Connected to libvirt")
		// Whatever happened since the callbacks were registered is in the
		// stream; whatever happened before has to be read.
		c.hub.publish(hypervisor.Event{Type: hypervisor.EventResync})
		select {
		case <-l.lost():
			log.Warn("Connection to libvirt lost")
		case <-ctx.Done():
		}
		c.control.spawned.Go(l.shut)
	}
}

// The callbacks run on the thread of libvirt's event loop, or on any thread
// that waits for a reply: they must not call the daemon and must not wait.

func (c *Client) onLifecycle(_ *lv.Connect, domain *lv.Domain, event *lv.DomainEventLifecycle) {
	lifecycle, detail := lifecycleOf(event.Event, event.Detail)
	c.emit(domain, hypervisor.Event{Type: hypervisor.EventLifecycle, Lifecycle: lifecycle, Detail: detail})
}

func (c *Client) onIteration(_ *lv.Connect, domain *lv.Domain, event *lv.DomainEventMigrationIteration) {
	if event.Iteration < 0 {
		return
	}
	c.emit(domain, hypervisor.Event{Type: hypervisor.EventIteration, Iteration: uint64(event.Iteration)})
}

func (c *Client) onJobCompleted(_ *lv.Connect, domain *lv.Domain, event *lv.DomainEventJobCompleted) {
	info := event.Info
	// libvirt sends the event for jobs that succeeded, and leaves the type out.
	info.Type = lv.DOMAIN_JOB_COMPLETED
	stats, err := decodeJobStats(&info)
	if err != nil {
		c.log.Warn("Dropped a job's final statistics", "error", err)
		return
	}
	c.emit(domain, hypervisor.Event{Type: hypervisor.EventJobCompleted, Stats: stats})
}

// emit publishes an event of a domain, which is libvirt's and valid only until
// the callback returns. Its UUID is read from memory.
func (c *Client) emit(domain *lv.Domain, event hypervisor.Event) {
	uuid, err := domain.GetUUIDString()
	if err != nil {
		c.log.Warn("Dropped an event without a domain", "event", string(event.Type))
		return
	}
	event.UUID = uuid
	c.hub.publish(event)
}
