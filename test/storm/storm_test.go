//go:build linux

package main

import (
	"testing"
	"time"
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

func TestParsePoolReadsWhatVirtAdminPrints(t *testing.T) {
	pool := parsePool("minWorkers     : 5\nmaxWorkers     : 20\nnWorkers       : 7\nfreeWorkers    : 3\n\n")
	if pool["maxWorkers"] != 20 || pool["nWorkers"] != 7 || pool["freeWorkers"] != 3 {
		t.Errorf("read %v", pool)
	}
}
