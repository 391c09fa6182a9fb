package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

const perfField = "perfEvents"

// planPerfEvents removes the enabled events that the target does not support.
// It never adds one: which events a guest has is not the target's to decide.
func planPerfEvents(p *planner) {
	supported := p.data.PerfEvents
	if supported == nil {
		supported = p.offer.PerfEvents
	}
	if supported == nil {
		return
	}
	for i, event := range supported {
		if !isName(string(event)) {
			p.report(ProblemInvalidValue, placeOf(perfField).entry(i), nil,
				"this must be the name of a perf event as libvirt writes it, such as cpu_cycles")
		}
	}
	for _, perf := range p.domain.Children("perf") {
		removed := false
		for _, event := range perf.Children("event") {
			if event.Value("enabled") == "yes" && !slices.Contains(supported, v1alpha1.PerfEvent(event.Value("name"))) {
				event.Remove()
				removed = true
			}
		}
		if removed {
			perf.RemoveIfEmpty()
		}
	}
}

// isName reports whether s is a plain name.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return s != ""
}
