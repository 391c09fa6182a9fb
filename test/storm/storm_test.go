//go:build linux

package main

import (
	"testing"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

func TestThePlanComesFromTheEnvironment(t *testing.T) {
	tests := []struct {
		name        string
		environment map[string]string
		want        plan
		wrong       bool
	}{
		{name: "nothing set", want: plan{guests: 24, cancels: 3, limit: 15 * time.Minute}},
		{
			name:        "all set",
			environment: map[string]string{"STORM_GUESTS": "5", "STORM_CANCELS": "0", "STORM_MINUTES": "2"},
			want:        plan{guests: 5, limit: 2 * time.Minute},
		},
		{name: "no number", environment: map[string]string{"STORM_GUESTS": "many"}, wrong: true},
		{name: "more cancellations than guests", environment: map[string]string{"STORM_GUESTS": "5"}, wrong: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := planFrom(func(name string) string { return tt.environment[name] })
			if (err != nil) != tt.wrong || !tt.wrong && got != tt.want {
				t.Errorf("the plan is %+v (%v), want %+v", got, err, tt.want)
			}
		})
	}
}

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
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			traffic := &traffic{arriving: map[string]bool{}}
			for _, e := range tt.events {
				traffic.note(e)
			}
			if got, _, _ := traffic.peak(); got != tt.want {
				t.Errorf("%d guests were on their way at once, want %d", got, tt.want)
			}
		})
	}
}

func TestParsePoolReadsWhatVirtAdminPrints(t *testing.T) {
	pool := parsePool("minWorkers     : 5\nmaxWorkers     : 20\nnWorkers       : 7\nfreeWorkers    : 3\n\n")
	if pool["maxWorkers"] != 20 || pool["nWorkers"] != 7 || pool["freeWorkers"] != 3 {
		t.Errorf("read %v", pool)
	}
}
