package migration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	// MaxStranded is how many guests a Hypervisor's status lists as stranded.
	MaxStranded = 256
	// strandedNamed is how many of them a message names.
	strandedNamed = 5
)

// Platform is what machines a QEMU emulates.
type Platform struct {
	// Version is QEMU's.
	Version string
	// Offered are all machine types that it has, and Deprecated those of them that one of the
	// next versions will not have. Either is nil where that is not known.
	Offered, Deprecated map[string]bool
}

// Upgradable says of the guests of a node, which has a platform, whether they could go on on
// the newest platform of the cluster, as far as their machine types tell; newest is nil where
// none is newer than the node's. It is nothing that a migration depends on.
type Upgradable struct {
	// Reason is of the condition GuestsUpgradable.
	Reason, Message string
	// Stranded are those that could not, the first MaxStranded of them, by UUIDs.
	Stranded []v1alpha1.StrandedGuest
}

// JudgeUpgrade makes an Upgradable.
func JudgeUpgrade(domains []v1alpha1.HypervisorDomain, own, newest *Platform) Upgradable {
	keeps, why := keeping(own, newest)
	if keeps == nil {
		return Upgradable{Reason: v1alpha1.ReasonMachineTypesUnknown, Message: why}
	}
	var out Upgradable
	unknown := 0
	for _, d := range domains {
		switch {
		case !runs(d.State):
		case d.MachineType == "":
			unknown++
		case !keeps(d.MachineType):
			out.Stranded = append(out.Stranded, v1alpha1.StrandedGuest{UUID: d.UUID, Name: d.Name, MachineType: d.MachineType})
		}
	}
	slices.SortFunc(out.Stranded, func(a, b v1alpha1.StrandedGuest) int { return cmp.Compare(a.UUID, b.UUID) })
	switch {
	case len(out.Stranded) > 0:
		out.Reason, out.Message = v1alpha1.ReasonGuestsStranded, tellStranded(out.Stranded, why)
	case unknown > 0:
		out.Reason, out.Message = v1alpha1.ReasonMachineTypesUnknown, "The agent has not told the machine types of all guests"
	default:
		out.Reason, out.Message = v1alpha1.ReasonMachineTypesOffered, "The machine types of all guests that run are there to stay"
	}
	out.Stranded = out.Stranded[:min(len(out.Stranded), MaxStranded)]
	return out
}

// keeping returns which machine types stay, or nothing if that is not known, and why others
// do not, or why it is not known.
func keeping(own, newest *Platform) (keeps func(machine string) bool, why string) {
	switch {
	case newest != nil && newest.Offered != nil:
		return func(machine string) bool { return newest.Offered[machine] },
			fmt.Sprintf("QEMU %s, which other nodes have, does not offer", newest.Version)
	case newest != nil:
		return nil, fmt.Sprintf("It is not known which machine types QEMU %s has, which other nodes have", newest.Version)
	case own != nil && own.Deprecated != nil:
		return func(machine string) bool { return !own.Deprecated[machine] }, "this node's own QEMU calls deprecated, so that a later one will not offer them"
	default:
		return nil, "The agent does not tell which machine types this node's QEMU has"
	}
}

func runs(state string) bool {
	return hypervisor.Domain{State: hypervisor.State(state)}.Active()
}

func tellStranded(stranded []v1alpha1.StrandedGuest, why string) string {
	var names []string
	for _, g := range stranded[:min(len(stranded), strandedNamed)] {
		names = append(names, fmt.Sprintf("%s (%s)", cmp.Or(g.Name, g.UUID), g.MachineType))
	}
	if more := len(stranded) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return Shorten(fmt.Sprintf("Guests have machine types that %s: %s. They cannot go on there. Before this node is upgraded, shut them down, "+
		"give them another machine type with `virsh edit`, and start them again", why, strings.Join(names, ", ")), MaxConditionMessage)
}
