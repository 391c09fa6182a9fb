package libvirt

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func lifecycle(uuid string) hypervisor.Event {
	return hypervisor.Event{Type: hypervisor.EventLifecycle, UUID: uuid, Lifecycle: hypervisor.LifecycleStarted}
}

func TestHubSendsEventsToWhomTheyConcern(t *testing.T) {
	h := newHub()
	one, all := h.subscribe(t.Context(), "one"), h.subscribe(t.Context(), "")
	h.publish(lifecycle("one"))
	h.publish(lifecycle("two"))
	h.publish(hypervisor.Event{Type: hypervisor.EventResync})
	if len(one) != 2 || len(all) != 3 {
		t.Fatalf("got %d and %d events", len(one), len(all))
	}
	if first, second := <-one, <-one; first.UUID != "one" || second.Type != hypervisor.EventResync {
		t.Errorf("got %+v and %+v", first, second)
	}
}

func TestHubSendsOneResyncToASlowSubscriber(t *testing.T) {
	h := newHub()
	slow := h.subscribe(t.Context(), "")
	for range 3*subscriberBuffer + 5 {
		h.publish(lifecycle("one"))
	}
	h.publish(lifecycle("last"))
	var resyncs, last int
	for len(slow) > 0 {
		event := <-slow
		if event.Type == hypervisor.EventResync {
			resyncs++
		}
		if event.UUID == "last" {
			last++
		}
	}
	if resyncs != 1 || last != 1 {
		t.Errorf("got %d resyncs and the last event %d times", resyncs, last)
	}
}

func TestHubClosesAStreamWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		ctx, cancel := context.WithCancel(t.Context())
		events := h.subscribe(ctx, "")
		h.publish(lifecycle("one"))
		cancel()
		synctest.Wait()
		h.publish(lifecycle("two"))
		if event, ok := <-events; !ok || event.UUID != "one" {
			t.Errorf("got %+v, %v", event, ok)
		}
		if event, ok := <-events; ok {
			t.Errorf("got %+v from a stream that should be closed", event)
		}
	})
}
