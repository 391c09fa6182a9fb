package xmlrewrite

import (
	"strconv"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const cpuSharesField = "cpuShares"

// planCPUShares keeps, removes or sets the CPU weight. The two versions of
// cgroups accept different weights, so a weight that the target would refuse
// needs a decision.
func planCPUShares(p *planner) {
	want := p.data.CPUShares
	if want == nil {
		want = p.offer.CPUShares
	}
	shares := p.domain.Child("cputune").Child("shares")
	if want == nil || want.Policy == v1alpha1.CPUSharesKeep {
		p.checkKeptShares(shares)
		return
	}
	switch want.Policy {
	case v1alpha1.CPUSharesKeep: // Handled above.
	case v1alpha1.CPUSharesRemove:
		if want.Shares != nil {
			p.report(ProblemConflict, placeOf(cpuSharesField+".shares"), nil, "shares must be given with policy: Set, and only then")
		}
		if shares != nil {
			for _, s := range p.domain.Child("cputune").Children("shares") {
				s.Remove()
			}
			p.domain.Child("cputune").RemoveIfEmpty()
		}
	case v1alpha1.CPUSharesSet:
		p.setShares(shares, want.Shares)
	default:
		p.report(ProblemInvalidValue, placeOf(cpuSharesField+".policy"), nil, "this must be Keep, Remove or Set")
	}
}

func (p *planner) setShares(shares *xmltree.Node, want *int64) {
	switch {
	case want == nil:
		p.report(ProblemMissingData, placeOf(cpuSharesField+".shares"), nil, "policy: Set needs the new weight")
	case !p.sharesFit(*want):
		p.report(ProblemInvalidValue, placeOf(cpuSharesField+".shares"), nil, "the weight must be "+p.sharesRange())
	case shares != nil:
		shares.SetText(itoa(*want))
	default:
		e := xmltree.NewElem("shares")
		e.Text = itoa(*want)
		p.domain.AppendIn("cputune", p.domain.Child("vcpu"), e)
	}
}

func (p *planner) checkKeptShares(shares *xmltree.Node) {
	if shares == nil {
		return
	}
	if v, err := strconv.ParseInt(shares.Text(), 10, 64); err == nil && !p.sharesFit(v) {
		p.report(ProblemMissingData, placeOf(cpuSharesField), shares,
			"the target does not accept the guest's CPU weight; use policy: Remove, or policy: Set with a weight "+p.sharesRange())
	}
}

func (p *planner) sharesFit(v int64) bool {
	lowest, highest := p.sharesBounds()
	return v >= lowest && v <= highest
}

// sharesBounds returns the lowest and the highest weight that the target takes, as
// far as that is known. Before version 9.1, libvirt asks of both versions of cgroups
// what version 1 does.
func (p *planner) sharesBounds() (lowest, highest int64) {
	lowest, highest = 1, 262144
	if p.target.CgroupVersion == 2 {
		highest = 10000
	}
	if p.target.CgroupVersion == 1 || p.target.libvirtBefore(9, 1) {
		lowest = 2
	}
	return lowest, highest
}

func (p *planner) sharesRange() string {
	lowest, highest := p.sharesBounds()
	text := "between " + itoa(lowest) + " and " + itoa(highest)
	if v := p.target.CgroupVersion; v != 0 {
		text += ", which is what the target's cgroups (version " + itoa(v) + ") and libvirt allow"
	}
	return text
}
