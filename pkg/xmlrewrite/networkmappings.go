package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// connectedTo returns which network or bridge an interface is connected to; an empty name if
// to none.
func connectedTo(nic *xmltree.Node) (v1alpha1.NetworkKind, string) {
	switch source := nic.Child("source"); nic.Value("type") {
	case "network":
		return v1alpha1.NetworkKindNetwork, source.Value("network")
	case "bridge":
		return v1alpha1.NetworkKindBridge, source.Value("bridge")
	}
	return "", ""
}

// MapNetwork returns what a network or bridge is called on the target; its own name if the
// list does not say.
func MapNetwork(mappings []v1alpha1.NetworkMapping, kind v1alpha1.NetworkKind, name string) string {
	i := slices.IndexFunc(mappings, func(m v1alpha1.NetworkMapping) bool { return m.Kind == kind && m.From == name })
	if i < 0 {
		return name
	}
	return mappings[i].To
}

// mapNetwork connects an interface to what its network or bridge is called on the target. What
// libvirt on the source has noted of its connection there goes with the name.
func (p *planner) mapNetwork(nic *xmltree.Node) {
	kind, name := connectedTo(nic)
	to := MapNetwork(p.networks, kind, name)
	if to == name {
		return
	}
	p.checkText(placeOf(interfacesField), to)
	source := nic.Child("source")
	if kind == v1alpha1.NetworkKindBridge {
		source.SetAttr("bridge", to)
		return
	}
	source.SetAttr("network", to)
	source.RemoveAttr("portid")
	source.RemoveAttr("bridge")
}
