package migration

import (
	"slices"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// What the target fills in for parts of the migrate data that the user has left out. Where the
// user has said anything about a part, nothing is filled in.

// maxNetworkMappings is how many the API takes.
const maxNetworkMappings = 192

// FillNetworks returns those mappings of the target's that are of networks and bridges of the
// guest. A list of interfaces is complete, so with one there are none.
func FillNetworks(lm *v1alpha1.LiveMigration, settings *v1alpha1.HypervisorSpec) []v1alpha1.NetworkMapping {
	r := guestResources(lm)
	if r == nil {
		return nil
	}
	if data := lm.Spec.MigrateData; data != nil && data.Interfaces != nil {
		return nil
	}
	var out []v1alpha1.NetworkMapping
	for _, m := range settings.NetworkMappings {
		if len(out) < maxNetworkMappings && m.From != m.To && namesNetwork(r, m) {
			out = append(out, m)
		}
	}
	return out
}

func namesNetwork(r *v1alpha1.GuestResources, m v1alpha1.NetworkMapping) bool {
	lists := [][]string{r.Networks}
	if m.Kind == v1alpha1.NetworkKindBridge {
		lists = [][]string{r.Bridges, r.VirtualSwitches}
	}
	return slices.Contains(slices.Concat(lists...), m.From) ||
		slices.Contains(r.DefinedNetworks, v1alpha1.GuestNetwork{Kind: m.Kind, Name: m.From})
}

// DroppedPerfEvents returns those of the guest's performance events that are not among those that
// the host can count; none if that is not known, which nil is, or if the user says which stay.
func DroppedPerfEvents(lm *v1alpha1.LiveMigration, host []string) []v1alpha1.PerfEvent {
	r, data := guestResources(lm), lm.Spec.MigrateData
	if r == nil || host == nil || data != nil && data.PerfEvents != nil {
		return nil
	}
	var out []v1alpha1.PerfEvent
	for _, event := range r.PerfEvents {
		if !slices.Contains(host, string(event)) {
			out = append(out, event)
		}
	}
	return out
}
