package traffic

import (
	"testing"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestGuestsOnTheirWayAreCounted(t *testing.T) {
	event := func(uuid string, lifecycle hypervisor.Lifecycle, detail string) hypervisor.Event {
		return hypervisor.Event{Type: hypervisor.EventLifecycle, UUID: uuid, Lifecycle: lifecycle, Detail: detail}
	}
	started := func(uuid string) hypervisor.Event {
		return event(uuid, hypervisor.LifecycleStarted, hypervisor.DetailMigrated)
	}
	tests := []struct {
		name   string
		events []hypervisor.Event
		want   int
	}{
		{name: "one after the other", want: 1, events: []hypervisor.Event{
			started("a"), event("a", hypervisor.LifecycleResumed, hypervisor.DetailMigrated), started("b"),
		}},
		{name: "the second begins when the first has failed", want: 1, events: []hypervisor.Event{
			started("a"), event("a", hypervisor.LifecycleStopped, hypervisor.DetailFailed), started("b"),
		}},
		{name: "two at once", want: 2, events: []hypervisor.Event{
			started("a"), started("b"), event("a", hypervisor.LifecycleResumed, hypervisor.DetailMigrated), started("c"),
		}},
		{name: "one that is merely started", events: []hypervisor.Event{event("a", hypervisor.LifecycleStarted, "Booted")}},
		{name: "the end of the first was lost", want: 1, events: []hypervisor.Event{started("a"), {Type: hypervisor.EventResync}, started("b")}},
		{name: "no lifecycle", events: []hypervisor.Event{{Type: hypervisor.EventIteration, UUID: "a", Iteration: 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var counter Counter
			for _, e := range tt.events {
				counter.Note(e)
			}
			if got := counter.Most(); got != tt.want {
				t.Errorf("%d guests were on their way at once, want %d", got, tt.want)
			}
		})
	}
}
