package xmlrewrite

import (
	"strconv"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const sharedCPUsField = "sharedCPUSet"

// planSharedCPUs sets or removes the host CPUs that an unpinned guest shares
// with others. A guest with a pin for each virtual CPU does not run on shared
// CPUs, so it is left alone; so is one whose CPUs libvirt chooses.
func planSharedCPUs(p *planner) {
	want := p.data.SharedCPUSet
	explicit := want != nil
	if want == nil {
		want = p.offer.SharedCPUSet
	}
	if want == nil {
		p.checkKeptCPUs(p.domain.Child("vcpu"))
		return
	}
	var set numberSet
	if *want != "" {
		var ok bool
		if set, ok = p.checkSet(placeOf(sharedCPUsField), *want, "CPUs", targetSet(p.target.OnlineCPUs)); !ok {
			return
		}
	}
	vcpu := p.domain.Child("vcpu")
	if vcpu == nil {
		if explicit {
			p.report(ProblemInvalidXML, placeOf(sharedCPUsField), p.domain, "the guest's XML has no vcpu element; take it from libvirt unchanged")
		}
		return
	}
	if vcpu.Value("placement") == "auto" || p.fullyPinned(vcpu) {
		return
	}
	if set != nil {
		if _, has := vcpu.Attr("cpuset"); has || explicit {
			setNumbers(vcpu, "cpuset", set)
		}
		return
	}
	vcpu.RemoveAttr("cpuset")
}

// checkKeptCPUs judges CPUs to share that nothing maps: it reports those that the target
// does not have.
func (p *planner) checkKeptCPUs(vcpu *xmltree.Node) {
	text, has := vcpu.Attr("cpuset")
	if !has || vcpu.Value("placement") == "auto" || p.fullyPinned(vcpu) {
		return
	}
	cpus := targetSet(p.target.OnlineCPUs)
	if set, ok := parseSet(text); ok && cpus != nil && !set.within(cpus) {
		p.report(ProblemMissingData, placeOf(sharedCPUsField), vcpu,
			"the guest may run on CPUs that the target does not all have; give those of the target")
		return
	}
	p.warn(placeOf(sharedCPUsField), vcpu,
		"the guest may run on some CPUs of its host only, whose numbers are kept; make sure that they are right on the target, or give others here")
}

// fullyPinned reports whether each virtual CPU has a pin, before or after.
func (p *planner) fullyPinned(vcpu *xmltree.Node) bool {
	count, err := strconv.Atoi(vcpu.Text())
	if err != nil || count < 1 || count > maxVCPUs {
		return false
	}
	pinned := make([]bool, count)
	mark := func(id int) {
		if id >= 0 && id < count {
			pinned[id] = true
		}
	}
	for pin := p.domain.Child("cputune").Child("vcpupin"); pin != nil; pin = pin.NextSame() {
		if id, err := strconv.Atoi(pin.Value("vcpu")); err == nil {
			mark(id)
		}
	}
	if numa := p.data.NUMA; numa != nil {
		for _, pin := range numa.VCPUPins {
			mark(int(pin.VCPU))
		}
	}
	for _, is := range pinned {
		if !is {
			return false
		}
	}
	return true
}
