//go:build linux

package main

import (
	"fmt"
	"maps"
	"slices"
)

// exceptions are what is not seen, by its name, with the reason.
type exceptions map[string]string

// unansweredInLab are the queries that have no data in the lab. There is none: one that only
// the scripted hypervisors can answer would have to be here.
func unansweredInLab() exceptions { return exceptions{} }

// zeroInLab are the queries whose data in the lab is zero throughout.
func zeroInLab() exceptions {
	return exceptions{
		"Virtferry / Fleet: Unreadable objects": "the API server stores nothing that cannot be read, which test/integration holds",
	}
}

// unreached are the outcomes to which guests in the lab do not come.
func unreached() exceptions {
	const madeUp = "it is for what an agent, or another version, makes up"
	return exceptions{
		"Aborted: Other": madeUp, "Cancelled: Other": madeUp, "Failed: Other": madeUp, "Succeeded: Other": madeUp,
		"Pause by force: Other": madeUp, "PostCopy by force: Other": madeUp, "Downtime: Other": madeUp,
		"Aborted: MigrationFailed": "it is for an abort whose reason the agent does not know, and it knows all",
	}
}

// hold compares what lacks with what may, in both directions: what lacks without a reason is
// wrong, and so is a reason for what does not lack.
func (e exceptions) hold(what string, lacking []string) []string {
	var out []string
	for _, name := range lacking {
		if _, excused := e[name]; !excused {
			out = append(out, fmt.Sprintf("%s: %s", what, name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e)) {
		if !slices.Contains(lacking, name) {
			out = append(out, fmt.Sprintf("exceptions.go must not say any more that %s: %s", what, name))
		}
	}
	return out
}
