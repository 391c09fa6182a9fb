package migration

import (
	"fmt"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// filled is a migration whose source tells this of what its guest takes.
func filled(r *v1alpha1.GuestResources, data *v1alpha1.MigrateData) *v1alpha1.LiveMigration {
	lm := &v1alpha1.LiveMigration{}
	lm.Spec.MigrateData = data
	lm.Status.Attempt = &v1alpha1.AttemptStatus{ID: "1"}
	lm.Status.Source = &v1alpha1.SourceStatus{AttemptID: "1", Guest: &v1alpha1.GuestFacts{Resources: r}}
	return lm
}

// TestFilledNetworks are those of the guest, unless the user has said anything.
func TestFilledNetworks(t *testing.T) {
	t.Parallel()
	settings := &v1alpha1.HypervisorSpec{}
	for _, kind := range []v1alpha1.NetworkKind{v1alpha1.NetworkKindNetwork, v1alpha1.NetworkKindBridge} {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			settings.NetworkMappings = append(settings.NetworkMappings, v1alpha1.NetworkMapping{Kind: kind, From: name, To: name + "2"})
		}
		settings.NetworkMappings = append(settings.NetworkMappings, v1alpha1.NetworkMapping{Kind: kind, From: "same", To: "same"})
	}
	resources := &v1alpha1.GuestResources{
		Networks: []string{"a", "same", "x"}, Bridges: []string{"b"}, VirtualSwitches: []string{"c"},
		DefinedNetworks: []v1alpha1.GuestNetwork{{Kind: v1alpha1.NetworkKindBridge, Name: "d"}, {Kind: v1alpha1.NetworkKindNetwork, Name: "e"}},
	}
	all := "[{Network a a2} {Network e e2} {Bridge b b2} {Bridge c c2} {Bridge d d2}]"
	for name, c := range map[string]struct {
		lm   *v1alpha1.LiveMigration
		want string
	}{
		"nothing is known of the guest": {filled(nil, nil), "[]"},
		"no source":                     {&v1alpha1.LiveMigration{}, "[]"},
		"the user says nothing":         {filled(resources, nil), all},
		"of interfaces":                 {filled(resources, &v1alpha1.MigrateData{PerfEvents: []v1alpha1.PerfEvent{}}), all},
		"the user says that it stays":   {filled(resources, &v1alpha1.MigrateData{Interfaces: []v1alpha1.InterfaceMigrateData{}}), "[]"},
	} {
		if got := fmt.Sprint(FillNetworks(c.lm, settings)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestDroppedPerfEvents are those that the host is known not to count.
func TestDroppedPerfEvents(t *testing.T) {
	t.Parallel()
	r := &v1alpha1.GuestResources{PerfEvents: []v1alpha1.PerfEvent{"cmt", "instructions", "cpu_clock"}}
	for name, c := range map[string]struct {
		lm   *v1alpha1.LiveMigration
		host []string
		want string
	}{
		"some":                     {filled(r, nil), []string{"cpu_clock", "page_faults"}, "[cmt instructions]"},
		"all":                      {filled(r, nil), []string{}, "[cmt instructions cpu_clock]"},
		"none":                     {filled(r, nil), []string{"cmt", "cpu_clock", "instructions"}, "[]"},
		"the host is not known":    {filled(r, nil), nil, "[]"},
		"the guest is not known":   {filled(nil, nil), []string{}, "[]"},
		"the user says which":      {filled(r, &v1alpha1.MigrateData{PerfEvents: []v1alpha1.PerfEvent{}}), []string{}, "[]"},
		"the user says of another": {filled(r, &v1alpha1.MigrateData{Volumes: []v1alpha1.VolumeMigrateData{}}), []string{"cmt"}, "[instructions cpu_clock]"},
	} {
		if got := fmt.Sprint(DroppedPerfEvents(c.lm, c.host)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
