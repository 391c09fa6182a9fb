package xmlrewrite

import (
	"slices"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// portRules is what a type of virtual port asks for.
type portRules struct {
	kinds    []string // Those of the interfaces that can have it.
	takes    []string // The parameters that it knows,
	requires []string // and those that libvirt does not make up.
}

func portRulesOf(kind v1alpha1.VirtualPortType) (portRules, bool) {
	switch kind {
	case "openvswitch":
		return portRules{kinds: []string{"bridge", "network"}, takes: []string{"interfaceID", "profileID"}}, true
	case "midonet":
		return portRules{kinds: []string{"bridge", "network"}, takes: []string{"interfaceID"}, requires: []string{"interfaceID"}}, true
	case "802.1Qbg":
		return portRules{
			kinds: []string{"direct", "network"},
			takes: []string{"managerID", "typeID", "typeIDVersion", "instanceID"}, requires: []string{"managerID", "typeID", "typeIDVersion"},
		}, true
	case "802.1Qbh":
		return portRules{kinds: []string{"direct", "network", "hostdev"}, takes: []string{"profileID"}, requires: []string{"profileID"}}, true
	}
	return portRules{}, false
}

// checkVirtualPort reports a type that libvirt does not have for this kind of interface, and
// parameters that the type does not know or lacks.
func (p *planner) checkVirtualPort(nic *xmltree.Node, want *v1alpha1.VirtualPort, connected string, field *place) {
	kind := *want.Type
	rules, known := portRulesOf(kind)
	if !known {
		return // Reported already.
	}
	if !slices.Contains(rules.kinds, connected) {
		p.report(ProblemConflict, field, nic, "an interface that is connected like this cannot have a virtual port of the type "+string(kind)+
			", which is for "+listOf(fieldsOf(rules.kinds))+"; remove virtualPort, or give another source or type")
		return
	}
	for _, parameter := range [...]struct {
		name  string
		given bool
	}{
		{"interfaceID", want.InterfaceID != nil},
		{"profileID", want.ProfileID != nil},
		{"managerID", want.ManagerID != nil},
		{"typeID", want.TypeID != nil},
		{"typeIDVersion", want.TypeIDVersion != nil},
		{"instanceID", want.InstanceID != nil},
	} {
		switch {
		case parameter.given && !slices.Contains(rules.takes, parameter.name):
			p.report(ProblemConflict, field.dot(parameter.name), nil, "virtual ports of the type "+string(kind)+" do not have this; remove it")
		case !parameter.given && slices.Contains(rules.requires, parameter.name) && connected != "network": // Networks may have it.
			p.report(ProblemMissingData, field.dot(parameter.name), nil, "virtual ports of the type "+string(kind)+" need this")
		}
	}
}

// fieldsOf returns kinds of interfaces as the migrate data call them.
func fieldsOf(kinds []string) []string {
	fields := slices.Clone(kinds)
	for i, kind := range fields {
		if kind == "hostdev" {
			fields[i] = "hostDevice"
		}
	}
	return fields
}
