package migration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestJudgeUpgrade(t *testing.T) {
	t.Parallel()
	set := func(machines ...string) map[string]bool {
		out := map[string]bool{}
		for _, m := range machines {
			out[m] = true
		}
		return out
	}
	guest := func(uuid, state, machine string) v1alpha1.HypervisorDomain {
		return v1alpha1.HypervisorDomain{UUID: uuid, Name: "guest-" + uuid, State: state, MachineType: machine}
	}
	own := &Platform{Version: "7.2.9", Offered: set("old", "new"), Deprecated: set("old")}
	newer := &Platform{Version: "10.0.2", Offered: set("new"), Deprecated: set("new")}
	for _, c := range []struct {
		name        string
		domains     []v1alpha1.HypervisorDomain
		own, newest *Platform
		reason      string
		message     string
		stranded    string
	}{
		{"no guests", nil, own, newer, v1alpha1.ReasonMachineTypesOffered, "", ""},
		{"all have new ones", []v1alpha1.HypervisorDomain{guest("1", "Running", "new")}, own, newer, v1alpha1.ReasonMachineTypesOffered, "there to stay", ""},
		{
			"two have not", []v1alpha1.HypervisorDomain{guest("3", "Running", "old"), guest("2", "Running", "new"), guest("1", "Paused", "old")}, own, newer,
			v1alpha1.ReasonGuestsStranded, "QEMU 10.0.2, which other nodes have, does not offer: guest-1 (old), guest-3 (old)", "1 3",
		},
		{"one that does not run", []v1alpha1.HypervisorDomain{guest("1", "Shutoff", "old")}, own, newer, v1alpha1.ReasonMachineTypesOffered, "", ""},
		{"one that is not known", []v1alpha1.HypervisorDomain{guest("1", "Running", "")}, own, newer, v1alpha1.ReasonMachineTypesUnknown, "of all guests", ""},
		{
			"one that is not known, and one that has not", []v1alpha1.HypervisorDomain{guest("1", "Running", ""), guest("2", "Running", "old")}, own, newer,
			v1alpha1.ReasonGuestsStranded, "guest-2", "2",
		},
		{
			"none is newer", []v1alpha1.HypervisorDomain{guest("1", "Running", "old"), guest("2", "Running", "odd")}, own, nil,
			v1alpha1.ReasonGuestsStranded, "will not offer them: guest-1 (old)", "1",
		},
		{"nothing is known of the newest", nil, own, &Platform{Version: "10.0.2"}, v1alpha1.ReasonMachineTypesUnknown, "QEMU 10.0.2", ""},
		{"nothing is known of the node's", nil, nil, nil, v1alpha1.ReasonMachineTypesUnknown, "this node's QEMU", ""},
		{"nor is of what it deprecates", nil, &Platform{}, nil, v1alpha1.ReasonMachineTypesUnknown, "this node's QEMU", ""},
	} {
		got := JudgeUpgrade(c.domains, c.own, c.newest)
		var stranded []string
		for _, g := range got.Stranded {
			stranded = append(stranded, g.UUID)
		}
		if got.Reason != c.reason || !strings.Contains(got.Message, c.message) || strings.Join(stranded, " ") != c.stranded {
			t.Errorf("%s: %s %q with %v", c.name, got.Reason, got.Message, stranded)
		}
	}
}

// TestManyStrandedGuests are told by their number.
func TestManyStrandedGuests(t *testing.T) {
	t.Parallel()
	var domains []v1alpha1.HypervisorDomain
	for i := range 300 {
		domains = append(domains, v1alpha1.HypervisorDomain{UUID: fmt.Sprintf("%03d", i), State: "Running", MachineType: "old"})
	}
	got := JudgeUpgrade(domains, nil, &Platform{Version: "10.0.2", Offered: map[string]bool{}})
	if len(got.Stranded) != MaxStranded || !strings.Contains(got.Message, "004 (old), 295 more. They") {
		t.Errorf("%d are listed: %s", len(got.Stranded), got.Message)
	}
}
