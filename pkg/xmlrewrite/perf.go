package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
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
		p.dropPerfEvents()
		return
	}
	for i, event := range supported {
		if !isName(string(event)) {
			p.report(ProblemInvalidValue, placeOf(perfField).entry(i), nil,
				"this must be the name of a perf event as libvirt writes it, such as cpu_cycles")
		}
	}
	p.removePerfEvents(func(_ *xmltree.Node, name v1alpha1.PerfEvent) bool { return !slices.Contains(supported, name) })
}

// removePerfEvents removes those enabled events of which a function says so.
func (p *planner) removePerfEvents(remove func(event *xmltree.Node, name v1alpha1.PerfEvent) bool) {
	for _, perf := range p.domain.Children("perf") {
		removed := false
		for _, event := range perf.Children("event") {
			if event.Value("enabled") == "yes" && remove(event, v1alpha1.PerfEvent(event.Value("name"))) {
				event.Remove()
				removed = true
			}
		}
		if removed {
			perf.RemoveIfEmpty()
		}
	}
}

// dropPerfEvents removes the enabled events that the target cannot count, with which libvirt
// there would not start the guest.
func (p *planner) dropPerfEvents() {
	p.removePerfEvents(func(event *xmltree.Node, name v1alpha1.PerfEvent) bool {
		dropped := slices.Contains(p.dropped, name)
		if dropped {
			p.warn(placeOf(perfField), event, "the target cannot count this event, so it is switched off for this guest; nothing counts it any more")
		}
		return dropped
	})
}

// perfEvents returns the names of a guest's enabled events, each once.
func perfEvents(doc *guest) []string {
	var out []string
	for _, perf := range doc.Root.Children("perf") {
		for _, event := range perf.Children("event") {
			if name := event.Value("name"); event.Value("enabled") == "yes" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
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
