package xmlrewrite

import (
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
)

// protocolRules is what a network protocol asks for.
type protocolRules struct {
	nameOptional bool
	hostOptional bool
	manyHosts    bool
	auth         string // The type of its authentication; empty if it has none.
}

func rulesOf(protocol v1alpha1.VolumeProtocol) (protocolRules, bool) {
	switch protocol {
	case "rbd":
		return protocolRules{hostOptional: true, manyHosts: true, auth: "ceph"}, true
	case "iscsi":
		return protocolRules{auth: "iscsi"}, true
	case "nbd":
		return protocolRules{nameOptional: true}, true
	case "gluster":
		return protocolRules{manyHosts: true}, true
	case "sheepdog":
		return protocolRules{hostOptional: true, manyHosts: true}, true
	case "http", "https", "ftp", "ftps", "tftp", "nfs", "ssh", "vxhs":
		return protocolRules{}, true
	}
	return protocolRules{}, false
}

func (p *planner) networkShape(n *v1alpha1.NetworkVolumeSource, field string) (sourceShape, bool) {
	shape := sourceShape{kind: "network", protocol: string(n.Protocol), attrs: make([]elemAttr, 0, 4), children: make([]*elem, 0, 4)}
	rules, known := rulesOf(n.Protocol)
	if !known {
		p.report(ProblemInvalidValue, field+".protocol", nil, "this is not a protocol that disks can use")
		return shape, false
	}
	before := len(p.problems)
	p.checkNetworkFields(n, field, rules)
	shape.add("protocol", string(n.Protocol))
	for _, a := range [...]struct {
		field, name string
		value       *string
	}{
		{"name", "name", n.Name}, {"query", "query", n.Query}, {"tlsHostname", "tlsHostname", n.TLSHostname},
	} {
		if a.value != nil && p.checkText(field+"."+a.field, *a.value) {
			shape.add(a.name, *a.value)
		}
	}
	shape.add("tls", p.toggle(field+".tls", n.TLS))
	for i := range n.Hosts {
		shape.children = append(shape.children, p.hostElement(&n.Hosts[i], field+".hosts["+itoa(i)+"]"))
	}
	if n.Auth != nil && rules.auth != "" {
		shape.children = append(shape.children, p.authElement(n.Auth, rules.auth, field+".auth"))
	}
	shape.children = append(shape.children, p.networkChildren(n, field)...)
	return shape, len(p.problems) == before
}

// networkChildren makes the elements that only some protocols have.
func (p *planner) networkChildren(n *v1alpha1.NetworkVolumeSource, field string) []*elem {
	var children []*elem
	named := func(element, attribute, name string, value *string) {
		if value != nil && p.checkText(field+"."+name, *value) {
			children = append(children, newElem(element, attribute, *value))
		}
	}
	named("snapshot", "name", "snapshotName", n.SnapshotName)
	named("config", "file", "configFile", n.ConfigFile)
	if n.InitiatorIQN != nil && p.checkText(field+".initiatorIQN", *n.InitiatorIQN) {
		children = append(children, newElem("initiator").add(newElem("iqn", "name", *n.InitiatorIQN)))
	}
	if n.User != nil || n.Group != nil {
		for _, id := range [...]struct {
			name  string
			value *string
		}{{"user", n.User}, {"group", n.Group}} {
			if id.value != nil {
				p.checkText(field+"."+id.name, *id.value)
			}
		}
		children = append(children, newElem("identity", "user", stringOf(n.User), "group", stringOf(n.Group)))
	}
	if verify := p.toggle(field+".certificateCheck", n.CertificateCheck); verify != "" {
		children = append(children, newElem("ssl", "verify", verify))
	}
	return children
}

// checkNetworkFields reports fields that are missing or that the protocol does
// not know.
func (p *planner) checkNetworkFields(n *v1alpha1.NetworkVolumeSource, field string, rules protocolRules) {
	protocol := string(n.Protocol)
	missing := func(name string) {
		p.report(ProblemMissingData, field+"."+name, nil, "the protocol "+protocol+" needs this")
	}
	if n.Name == nil && !rules.nameOptional {
		missing("name")
	}
	if len(n.Hosts) == 0 && !rules.hostOptional {
		missing("hosts")
	}
	if len(n.Hosts) > 1 && !rules.manyHosts {
		p.report(ProblemConflict, field+".hosts", nil, "the protocol "+protocol+" takes one host only")
	}
	if n.TLSHostname != nil && (n.TLS == nil || *n.TLS != v1alpha1.ToggleEnabled) {
		p.report(ProblemConflict, field+".tlsHostname", nil, "tlsHostname needs tls: Enabled")
	}
	p.checkProtocolFields(n, field)
}

// checkProtocolFields reports fields that belong to other protocols.
func (p *planner) checkProtocolFields(n *v1alpha1.NetworkVolumeSource, field string) {
	for _, only := range [...]struct {
		name      string
		given     bool
		protocols []string
	}{
		{"auth", n.Auth != nil, []string{"rbd", "iscsi"}},
		{"query", n.Query != nil, []string{"http", "https"}},
		{"snapshotName", n.SnapshotName != nil, []string{"rbd"}},
		{"configFile", n.ConfigFile != nil, []string{"rbd"}},
		{"initiatorIQN", n.InitiatorIQN != nil, []string{"iscsi"}},
		{"user", n.User != nil, []string{"nfs"}},
		{"group", n.Group != nil, []string{"nfs"}},
		{"certificateCheck", n.CertificateCheck != nil, []string{"https", "ftps"}},
	} {
		if only.given && !slices.Contains(only.protocols, string(n.Protocol)) {
			p.report(ProblemConflict, field+"."+only.name, nil, "this is for "+strings.Join(only.protocols, " and ")+" only; remove it")
		}
	}
}

func (p *planner) hostElement(h *v1alpha1.VolumeHost, field string) *elem {
	transport := stringOf(h.Transport)
	switch transport {
	case "", "tcp", "rdma":
		if h.Host == nil || h.SocketPath != nil {
			p.report(ProblemInvalidValue, field, nil, "give a host, and a socketPath only with transport: unix")
			return nil
		}
		p.checkHost(field+".host", *h.Host)
	case "unix":
		if h.SocketPath == nil || h.Host != nil || h.Port != nil {
			p.report(ProblemInvalidValue, field, nil, "transport: unix needs socketPath and nothing else")
			return nil
		}
		p.checkPath(field+".socketPath", *h.SocketPath)
	default:
		p.report(ProblemInvalidValue, field+".transport", nil, "this must be tcp, unix or rdma")
	}
	port := ""
	if h.Port != nil {
		if *h.Port < 1 || *h.Port > 65535 {
			p.report(ProblemInvalidValue, field+".port", nil, "a port must be between 1 and 65535")
		}
		port = itoa(*h.Port)
	}
	if transport == "tcp" {
		transport = "" // libvirt leaves its default out.
	}
	return newElem("host", "transport", transport, "name", stringOf(h.Host), "port", port, "socket", stringOf(h.SocketPath))
}

func (p *planner) authElement(a *v1alpha1.VolumeAuth, kind, field string) *elem {
	p.checkText(field+".username", a.Username)
	if (a.SecretUUID == nil) == (a.SecretUsage == nil) {
		p.report(ProblemInvalidValue, field, nil, "give either secretUUID or secretUsage")
		return nil
	}
	uuid := ""
	if a.SecretUUID != nil {
		uuid, _ = p.checkUUID(field+".secretUUID", *a.SecretUUID)
	} else {
		p.checkText(field+".secretUsage", *a.SecretUsage)
	}
	return newElem("auth", "username", a.Username).
		add(newElem("secret", "type", kind, "uuid", uuid, "usage", stringOf(a.SecretUsage)))
}

func (p *planner) toggle(field string, t *v1alpha1.Toggle) string {
	switch stringOf(t) {
	case "":
		return ""
	case string(v1alpha1.ToggleEnabled):
		return "yes"
	case string(v1alpha1.ToggleDisabled):
		return "no"
	}
	p.report(ProblemInvalidValue, field, nil, "this must be Enabled or Disabled")
	return ""
}

// checkText reports text that is empty or holds control characters.
func (p *planner) checkText(field, text string) bool {
	if text != "" && isPlain(text) {
		return true
	}
	p.report(ProblemInvalidValue, field, nil, "this must not be empty or hold control characters")
	return false
}
