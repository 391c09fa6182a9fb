package xmlrewrite

import (
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// rewriteInterfaceTarget names the host's device, and says whether libvirt makes
// it. A name that belongs to the old kind of source does not stay, and neither
// does who makes it.
func (p *planner) rewriteInterfaceTarget(nic *xmltree.Node, want *string, managed string, kindChanges bool, field *place) {
	if want != nil && !isDeviceName(*want) {
		p.report(ProblemInvalidValue, field, nil, "the name of a network device must have 1 to 15 characters, without slashes and blanks")
		return
	}
	target := nic.Child("target")
	switch {
	case target == nil:
		if e := xmltree.NewElem("target", "dev", stringOf(want), "managed", managed); len(e.Attrs) > 0 {
			nic.InsertBehind(nic.FirstOf("source", "mac"), e)
		}
		return
	case kindChanges && want == nil && managed == "" && hasOnly(target, "dev", "managed"):
		target.Remove()
		return
	}
	for _, a := range [...]xmltree.Attr{{Name: "dev", Value: stringOf(want)}, {Name: "managed", Value: managed}} {
		switch {
		case a.Value != "":
			target.SetAttr(a.Name, a.Value)
		case kindChanges:
			target.RemoveAttr(a.Name)
		}
	}
}

// checkUnnamedTap looks at the tap device that somebody else has to make on the target, for
// which the migrate data has no name: it needs one, and keeps that which it has.
func (p *planner) checkUnnamedTap(nic *xmltree.Node, managed string, kindChanges bool, field *place) {
	target := nic.Child("target")
	if managed == "no" && (kindChanges || target.Value("dev") == "") {
		p.report(ProblemMissingData, field, nic, "a tap device that something else creates (tapManagement: External) is found by its name; give that here")
		return
	}
	if managed == "" {
		managed = target.Value("managed")
	}
	if !kindChanges && nic.Value("type") == "ethernet" && managed == "no" && target.HasAttr("dev") {
		p.warn(field, target, "the interface uses a tap device that libvirt does not make, whose name is kept; make sure that it is there on the target, or give another here")
	}
}

// isDeviceName reports whether Linux can give a network device this name.
func isDeviceName(name string) bool {
	return name != "" && len(name) <= 15 && !strings.ContainsAny(name, "/ \t\r\n") && isPlain(name)
}

// hasOnly reports whether an element holds nothing but attributes of these names.
func hasOnly(n *xmltree.Node, names ...string) bool {
	for name := range n.Attrs() {
		if !slices.Contains(names, name) {
			return false
		}
	}
	return n.FirstChild == nil
}

// tapManagement returns who creates the tap device of an ethernet interface, as
// libvirt says it; empty if the data do not.
func (p *planner) tapManagement(want *v1alpha1.EthernetInterfaceSource, field *place) string {
	if want == nil || want.TapManagement == nil {
		return ""
	}
	switch *want.TapManagement {
	case v1alpha1.TapManagementLibvirt:
		return "yes"
	case v1alpha1.TapManagementExternal:
		return "no"
	}
	p.report(ProblemInvalidValue, field.dot("tapManagement"), nil, "this must be Libvirt or External")
	return ""
}

// rewriteVirtualPort sets or removes the virtual port. One that belongs to the
// old kind of source does not stay.
func (p *planner) rewriteVirtualPort(nic *xmltree.Node, want *v1alpha1.VirtualPort, connected string, kindChanges bool, field *place) {
	if want == nil {
		if kindChanges {
			nic.SyncChild("virtualport", nil)
		}
		return
	}
	parameters := p.portParameters(want, field)
	kind := stringOf(want.Type)
	p.checkOneOf(field.dot("type"), kind, "openvswitch", "midonet", "802.1Qbg", "802.1Qbh")
	if kind == "" {
		if len(parameters.Attrs) > 0 {
			p.report(ProblemMissingData, field.dot("type"), nil, "the type is required unless the virtual port is empty")
		}
		nic.SyncChild("virtualport", nil)
		return
	}
	p.checkVirtualPort(nic, want, connected, field)
	e := xmltree.NewElem("virtualport", "type", kind)
	if len(parameters.Attrs) > 0 {
		e.Add(parameters)
	}
	if have := nic.Child("virtualport"); have != nil && p.sameVirtualPort(have, e) {
		return
	}
	nic.SyncChild("virtualport", e, "vlan", "source", "mac")
}

// portParameters makes the element of a virtual port's parameters.
func (p *planner) portParameters(want *v1alpha1.VirtualPort, field *place) *xmltree.Elem {
	numbers := [...]struct {
		name  string
		value *int32
	}{{"managerid", want.ManagerID}, {"typeid", want.TypeID}, {"typeidversion", want.TypeIDVersion}}
	parameters := xmltree.NewElem("parameters")
	for _, n := range numbers {
		if n.value != nil {
			parameters.AddAttr(n.name, itoa(*n.value))
		}
	}
	uuids := [...]struct {
		name, field string
		value       *v1alpha1.UUID
	}{{"instanceid", "instanceID", want.InstanceID}, {"interfaceid", "interfaceID", want.InterfaceID}}
	for _, u := range uuids {
		if u.value == nil {
			continue
		}
		if uuid, ok := p.checkUUID(field.dot(u.field), *u.value); ok {
			parameters.AddAttr(u.name, uuid)
		}
	}
	if want.ProfileID != nil && p.checkText(field.dot("profileID"), *want.ProfileID) {
		parameters.AddAttr("profileid", *want.ProfileID)
	}
	return parameters
}

// sameVirtualPort also accepts what libvirt adds to a port that names nothing:
// an interface identity it made up, which then has to stay.
func (p *planner) sameVirtualPort(have *xmltree.Node, want *xmltree.Elem) bool {
	if have.Same(want) {
		return true
	}
	return len(want.Children) == 0 && have.Value("type") == want.Attrs[0].Value && want.Attrs[0].Value == "openvswitch" &&
		have.Child("parameters").HasAttr("interfaceid") && hasOnly(have.Child("parameters"), "interfaceid")
}

// rewriteVLAN sets or removes the VLAN tags.
func (p *planner) rewriteVLAN(nic *xmltree.Node, want *v1alpha1.InterfaceVLAN, field *place) {
	switch {
	case want == nil:
	case len(want.Tags) == 0:
		nic.SyncChild("vlan", nil)
	default:
		nic.SyncChild("vlan", p.vlanElement(want, field), "source", "mac")
	}
}

func (p *planner) vlanElement(want *v1alpha1.InterfaceVLAN, field *place) *xmltree.Elem {
	trunk := p.toggle(field.dot("trunk"), want.Trunk)
	needsTrunk := len(want.Tags) > 1
	e := xmltree.NewElem("vlan")
	seen := make(map[int32]bool, len(want.Tags))
	for i, tag := range want.Tags {
		at := field.dot("tags").entry(i)
		if tag.ID < 0 || tag.ID > 4095 || seen[tag.ID] {
			p.report(ProblemInvalidValue, at.dot("id"), nil, "a tag must be between 0 and 4095, and be listed only once")
		}
		seen[tag.ID] = true
		mode := stringOf(tag.NativeMode)
		p.checkOneOf(at.dot("nativeMode"), mode, "tagged", "untagged")
		needsTrunk = needsTrunk || mode != ""
		e.Add(xmltree.NewElem("tag", "id", itoa(tag.ID), "nativeMode", mode))
	}
	if trunk == "no" && needsTrunk {
		p.report(ProblemConflict, field.dot("trunk"), nil, "several tags or a native mode need trunk: Enabled")
	}
	if trunk == "yes" || needsTrunk {
		e.AddAttr("trunk", "yes")
	}
	return e
}

// rewriteFilter sets or removes the network filter. Dropping a filter opens
// the guest to its network, so it never happens in silence.
func (p *planner) rewriteFilter(nic *xmltree.Node, want *v1alpha1.NetworkFilter, before, after connection, field *place) {
	if want == nil {
		if before != after && nic.Child("filterref") != nil && !after.canFilter() {
			p.report(ProblemMissingData, field, nic.Child("filterref"),
				"libvirt cannot filter the traffic of this kind of source or virtual port; choose another, or set filter to {} to do without the filter")
		}
		return
	}
	if want.Name == nil {
		if len(want.Parameters) > 0 {
			p.report(ProblemMissingData, field.dot("name"), nil, "parameters need the name of a filter")
		}
		nic.SyncChild("filterref", nil)
		return
	}
	if !after.canFilter() {
		p.report(ProblemConflict, field, nic, "libvirt filters the traffic of bridges, its own networks and ethernet only, without a virtual port; remove filter, or choose another source")
	}
	p.checkText(field.dot("name"), *want.Name)
	e := xmltree.NewElem("filterref", "filter", *want.Name)
	for i, parameter := range want.Parameters {
		at := field.dot("parameters").entry(i)
		if !isName(parameter.Name) {
			p.report(ProblemInvalidValue, at.dot("name"), nil, "this must be the name of a filter's variable")
		}
		p.checkText(at.dot("value"), parameter.Value)
		e.Add(xmltree.NewElem("parameter", "name", parameter.Name, "value", parameter.Value))
	}
	nic.SyncChild("filterref", e, "model", "target", "source", "mac")
}

// rewriteBandwidth sets or removes the limits.
func (p *planner) rewriteBandwidth(nic *xmltree.Node, want *v1alpha1.InterfaceBandwidth, kind string, field *place) {
	if want == nil {
		return
	}
	if want.Inbound == nil && want.Outbound == nil {
		nic.SyncChild("bandwidth", nil)
		return
	}
	if kind == "hostdev" {
		p.report(ProblemConflict, field, nic, "libvirt cannot limit the traffic of an interface that is passed through; remove bandwidth, and limit the traffic at the switch")
	}
	if want.Outbound != nil && want.Outbound.FloorKilobytesPerSecond != nil {
		p.report(ProblemConflict, field.dot("outbound.floorKilobytesPerSecond"), nil, "only inbound traffic can have a guaranteed rate")
	}
	if want.Inbound != nil && want.Inbound.FloorKilobytesPerSecond != nil && kind != "network" {
		p.report(ProblemConflict, field.dot("inbound.floorKilobytesPerSecond"), nil, "only interfaces on a libvirt network can have a guaranteed rate")
	}
	e := xmltree.NewElem("bandwidth").Add(
		p.limitElement("inbound", want.Inbound, field.dot("inbound")),
		p.limitElement("outbound", want.Outbound, field.dot("outbound")))
	nic.SyncChild("bandwidth", e, "source", "mac")
}

func (p *planner) limitElement(name string, limit *v1alpha1.BandwidthLimit, field *place) *xmltree.Elem {
	if limit == nil {
		return nil
	}
	e := xmltree.NewElem(name)
	for _, v := range [...]struct {
		name, field string
		value       *int64
	}{
		{"average", "averageKilobytesPerSecond", &limit.AverageKilobytesPerSecond},
		{"peak", "peakKilobytesPerSecond", limit.PeakKilobytesPerSecond},
		{"burst", "burstKilobytes", limit.BurstKilobytes},
		{"floor", "floorKilobytesPerSecond", limit.FloorKilobytesPerSecond},
	} {
		if v.value == nil {
			continue
		}
		if *v.value < 1 {
			p.report(ProblemInvalidValue, field.dot(v.field), nil, "a limit is at least 1")
		}
		e.AddAttr(v.name, itoa(*v.value))
	}
	return e
}

// rewriteInterfaceDriver sets the host's side of a virtio interface. Daemons
// and vDPA hardware are a host's side of their own: a name that belongs to the
// old kind of source does not stay.
func (p *planner) rewriteInterfaceDriver(nic *xmltree.Node, want *v1alpha1.InterfaceDriver, kindChanges bool, kind string, field *place) {
	driver := nic.Child("driver")
	if want == nil {
		if !kindChanges || driver == nil || (kind != "vhostuser" && kind != "vdpa") {
			return
		}
		driver.RemoveAttr("name") // The element stays: libvirt compares whether there is one.
		return
	}
	if kind == "hostdev" {
		p.report(ProblemConflict, field, nic, "this is for interfaces that QEMU emulates, and this one is passed through; remove driver")
		return
	}
	if !p.checkOneOf(field, string(*want), "vhost", "qemu") {
		return
	}
	if driver != nil {
		driver.SetAttr("name", string(*want))
		return
	}
	if !p.inactive {
		p.report(ProblemConflict, field, nic, "the interface has no driver element, and libvirt refuses to add one while the guest runs; leave driver out")
		return
	}
	nic.InsertBehind(nic.FirstOf("model", "target", "source", "mac"), xmltree.NewElem("driver", "name", string(*want)))
}
