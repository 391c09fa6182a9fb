// Package upgradecheck tells which guests of a node could not be moved to others as they are,
// such as to hosts that have been upgraded. It asks by dry runs, so that both hosts' libvirts
// answer, and touches no guest.
package upgradecheck

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Guest is one that runs on the node.
type Guest struct {
	UUID string `json:"uuid"`
	// Name is libvirt's; empty where the node's Hypervisor does not have it.
	Name string `json:"name,omitempty"`
}

// String returns the guest's name or, where it has none, its UUID.
func (g Guest) String() string {
	if g.Name == "" {
		return g.UUID
	}
	return g.Name
}

// Guests returns the guests of a node that can be moved live, by name: those that run or are
// paused.
func Guests(node *v1alpha1.Hypervisor) []Guest {
	var out []Guest
	for _, d := range node.Status.Domains {
		if state := hypervisor.State(d.State); state == hypervisor.StateRunning || state == hypervisor.StatePaused || state == hypervisor.StateBlocked {
			out = append(out, Guest{UUID: d.UUID, Name: d.Name})
		}
	}
	slices.SortFunc(out, func(a, b Guest) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// Targets returns the nodes to ask where none are given: of all others that are ready, one for
// each kind of host. Hosts are of one kind whose libvirt, QEMU, and CPU are the same.
func Targets(node string, all []v1alpha1.Hypervisor) []string {
	type kind struct{ libvirt, qemu, cpu string }
	seen := map[kind]bool{}
	var out []string
	for _, hv := range slices.SortedFunc(slices.Values(all), func(a, b v1alpha1.Hypervisor) int { return strings.Compare(a.Name, b.Name) }) {
		k := kind{libvirt: hv.Status.LibvirtVersion, qemu: hv.Status.HypervisorVersion}
		if host := hv.Status.Host; host != nil && host.CPU != nil {
			k.cpu = host.CPU.Architecture + " " + host.CPU.Model
		}
		if hv.Name == node || seen[k] || !meta.IsStatusConditionTrue(hv.Status.Conditions, v1alpha1.ConditionReady) {
			continue
		}
		seen[k] = true
		out = append(out, hv.Name)
	}
	return out
}

// CheckNodes refuses a node to look at, or targets, about which nothing can be asked.
func CheckNodes(node string, targets []string, all []v1alpha1.Hypervisor) error {
	for i, name := range append([]string{node}, targets...) {
		at := slices.IndexFunc(all, func(hv v1alpha1.Hypervisor) bool { return hv.Name == name })
		switch {
		case i > 0 && name == node:
			return fmt.Errorf("the guests of %s are there already: name another node by --to", node)
		case at < 0:
			return fmt.Errorf("there is no Hypervisor %q: kubectl get hypervisors lists those that there are", name)
		case !meta.IsStatusConditionTrue(all[at].Status.Conditions, v1alpha1.ConditionReady):
			return fmt.Errorf("%s is not ready, so nothing can be asked about it: kubectl get hypervisor %s -o wide says why", name, name)
		}
	}
	return nil
}

// Answer is what one target says to a guest.
type Answer struct {
	Target  string  `json:"target"`
	Verdict Verdict `json:"verdict"`
	// Blockers are the codes of what stands in the way, where they are known.
	Blockers []v1alpha1.BlockerCode `json:"blockers,omitempty"`
	Message  string                 `json:"message,omitempty"`
}

// Verdict is what comes of a question.
type Verdict string

// The verdicts.
const (
	// Moves: the guest can be moved there.
	Moves Verdict = "Moves"
	// Refused: it cannot.
	Refused Verdict = "Refused"
	// Unanswered: that could not be found out.
	Unanswered Verdict = "Unanswered"
)

// answerOf reads the answer from a dry run; false while there is none.
func answerOf(lm *v1alpha1.LiveMigration) (Answer, bool) {
	out := Answer{Target: lm.Spec.TargetNode, Blockers: blockersOf(lm)}
	c := meta.FindStatusCondition(lm.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c != nil {
		out.Message = c.Message
	}
	switch lm.Status.Phase { //nolint:exhaustive // All others come before the end.
	case v1alpha1.PhaseSucceeded:
		out.Verdict = Moves
	case v1alpha1.PhaseFailed:
		out.Verdict = Refused
		if c != nil && slices.Contains(noAnswer, c.Reason) {
			out.Verdict = Unanswered
		}
	case v1alpha1.PhaseCancelled:
		out.Verdict = Unanswered
	default:
		return out, false
	}
	return out, true
}

// noAnswer are the reasons that say nothing about whether the guest can be moved.
var noAnswer = []string{ //nolint:gochecknoglobals // A constant.
	v1alpha1.ReasonNodeNotReady, v1alpha1.ReasonDomainNotOnSource, v1alpha1.ReasonDomainNotFound, v1alpha1.ReasonDomainNotRunning,
	v1alpha1.ReasonNodeNotFound,
}

// blockersOf returns the codes of what stands in the way on either side.
func blockersOf(lm *v1alpha1.LiveMigration) []v1alpha1.BlockerCode {
	var all []v1alpha1.Blocker
	if s := lm.Status.Source; s != nil && s.Problem != nil {
		all = append(all, s.Problem.Blockers...)
	}
	if t := lm.Status.Target; t != nil && t.Problem != nil {
		all = append(all, t.Problem.Blockers...)
	}
	codes := make([]v1alpha1.BlockerCode, 0, len(all))
	for _, b := range all {
		codes = append(codes, b.Code)
	}
	return codes
}

// Result is what all targets that were asked say to a guest.
type Result struct {
	Guest   Guest    `json:"guest"`
	Answers []Answer `json:"answers"`
}

// Verdict is Moves if one target takes the guest, and Refused if none does.
func (r Result) Verdict() Verdict {
	out := Refused
	for _, a := range r.Answers {
		switch a.Verdict {
		case Moves:
			return Moves
		case Unanswered:
			out = Unanswered
		case Refused:
		}
	}
	if len(r.Answers) == 0 {
		return Unanswered
	}
	return out
}
