package xmlrewrite

import (
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// protocolRules is what a network protocol asks for.
type protocolRules struct {
	nameOptional bool
	hostOptional bool
	manyHosts    bool
	auth         string // The type of the secret for its authentication; empty if it has none.
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
	case "http", "https", "ftp", "ftps", "ssh":
		return protocolRules{auth: "iscsi"}, true // libvirt knows no other type for them.
	case "tftp", "nfs", "vxhs":
		return protocolRules{}, true
	}
	return protocolRules{}, false
}

func (p *planner) networkShape(n *v1alpha1.NetworkVolumeSource, field *place) (*sourceShape, bool) {
	shape := newShape("network")
	shape.protocol = string(n.Protocol)
	rules, known := rulesOf(n.Protocol)
	if !known {
		p.report(ProblemInvalidValue, field.dot("protocol"), nil, "this is not a protocol that disks can use")
		return shape, false
	}
	before := len(p.problems)
	p.checkNetworkFields(n, field, rules)
	shape.AddAttr("protocol", string(n.Protocol))
	p.addText(shape, "name", n.Name, field.dot("name"))
	p.addText(shape, "query", n.Query, field.dot("query"))
	shape.AddAttr("tls", p.toggle(field.dot("tls"), n.TLS))
	p.addText(shape, "tlsHostname", n.TLSHostname, field.dot("tlsHostname"))
	for i := range n.Hosts {
		shape.Add(p.hostElement(&n.Hosts[i], field.dot("hosts").entry(i)))
	}
	if n.Auth != nil && rules.auth != "" {
		shape.Add(p.authElement(n.Auth, rules.auth, field.dot("auth")))
	}
	p.addNetworkChildren(shape, n, field)
	return shape, len(p.problems) == before
}

// addText adds an attribute that is given.
func (p *planner) addText(shape *sourceShape, name string, value *string, field *place) {
	if value != nil && p.checkText(field, *value) {
		shape.AddAttr(name, *value)
	}
}

// addNetworkChildren adds the elements that only some protocols have.
func (p *planner) addNetworkChildren(shape *sourceShape, n *v1alpha1.NetworkVolumeSource, field *place) {
	if n.SnapshotName != nil && p.checkText(field.dot("snapshotName"), *n.SnapshotName) {
		shape.Add(xmltree.NewElem("snapshot", "name", *n.SnapshotName))
	}
	if n.ConfigFile != nil && p.checkText(field.dot("configFile"), *n.ConfigFile) {
		shape.Add(xmltree.NewElem("config", "file", *n.ConfigFile))
	}
	if n.InitiatorIQN != nil && p.checkText(field.dot("initiatorIQN"), *n.InitiatorIQN) {
		shape.Add(xmltree.NewElem("initiator").Add(xmltree.NewElem("iqn", "name", *n.InitiatorIQN)))
	}
	if n.User != nil || n.Group != nil {
		if n.User != nil {
			p.checkText(field.dot("user"), *n.User)
		}
		if n.Group != nil {
			p.checkText(field.dot("group"), *n.Group)
		}
		shape.Add(xmltree.NewElem("identity", "user", stringOf(n.User), "group", stringOf(n.Group)))
	}
	if verify := p.toggle(field.dot("certificateCheck"), n.CertificateCheck); verify != "" {
		shape.Add(xmltree.NewElem("ssl", "verify", verify))
	}
}

// checkNetworkFields reports fields that are missing or that the protocol does
// not know.
func (p *planner) checkNetworkFields(n *v1alpha1.NetworkVolumeSource, field *place, rules protocolRules) {
	protocol := string(n.Protocol)
	missing := func(name string) {
		p.report(ProblemMissingData, field.dot(name), nil, "the protocol "+protocol+" needs this")
	}
	if n.Name == nil && !rules.nameOptional {
		missing("name")
	}
	if len(n.Hosts) == 0 && !rules.hostOptional {
		missing("hosts")
	}
	if len(n.Hosts) > 1 && !rules.manyHosts {
		p.report(ProblemConflict, field.dot("hosts"), nil, "the protocol "+protocol+" takes one host only")
	}
	if n.TLSHostname != nil && (n.TLS == nil || *n.TLS != v1alpha1.ToggleEnabled) {
		p.report(ProblemConflict, field.dot("tlsHostname"), nil, "tlsHostname needs tls: Enabled")
	}
	p.checkProtocolFields(n, field)
	p.checkImageName(n, field.dot("name"))
	for i := range n.Hosts {
		p.checkTransport(n.Protocol, stringOf(n.Hosts[i].Transport), field.dot("hosts").entry(i).dot("transport"))
	}
}

// checkImageName reports the name of an image that does not say where the image is.
func (p *planner) checkImageName(n *v1alpha1.NetworkVolumeSource, field *place) {
	if n.Name == nil || n.Protocol != "rbd" && n.Protocol != "gluster" {
		return
	}
	if in, image, _ := strings.Cut(*n.Name, "/"); in == "" || image == "" {
		p.report(ProblemInvalidValue, field, nil, "the protocol "+string(n.Protocol)+" takes the name of a pool or volume, a slash and the name of the image in it, such as images/guest-1")
	}
}

// checkTransport reports a transport that the protocol does not have.
func (p *planner) checkTransport(protocol v1alpha1.VolumeProtocol, transport string, field *place) {
	switch {
	case transport == "unix" && !isOneOf(string(protocol), "nbd", "gluster", "sheepdog"):
		p.report(ProblemConflict, field, nil, "only nbd, gluster and sheepdog have servers on unix sockets; give a host")
	case transport == "rdma" && protocol != "gluster":
		p.report(ProblemConflict, field, nil, "only gluster has servers that are reached by rdma; remove the transport")
	}
}

// checkProtocolFields reports fields that belong to other protocols.
func (p *planner) checkProtocolFields(n *v1alpha1.NetworkVolumeSource, field *place) {
	only := func(given bool, name string, protocols ...string) {
		if given && !slices.Contains(protocols, string(n.Protocol)) {
			p.report(ProblemConflict, field.dot(name), nil, "this is for "+listOf(protocols)+" only; remove it")
		}
	}
	only(n.Auth != nil, "auth", "rbd", "iscsi", "http", "https", "ftp", "ftps", "ssh")
	only(stringOf(n.TLS) == string(v1alpha1.ToggleEnabled), "tls", "nbd", "vxhs")
	only(n.TLSHostname != nil, "tlsHostname", "nbd")
	only(n.Query != nil, "query", "http", "https")
	only(n.SnapshotName != nil, "snapshotName", "rbd")
	only(n.ConfigFile != nil, "configFile", "rbd")
	only(n.InitiatorIQN != nil, "initiatorIQN", "iscsi")
	only(n.User != nil, "user", "nfs")
	only(n.Group != nil, "group", "nfs")
	only(n.CertificateCheck != nil, "certificateCheck", "https", "ftps")
}

// listOf returns names as a list in a sentence.
func listOf(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func (p *planner) hostElement(h *v1alpha1.VolumeHost, field *place) *xmltree.Elem {
	transport := stringOf(h.Transport)
	switch transport {
	case "", "tcp", "rdma":
		if h.Host == nil || h.SocketPath != nil {
			p.report(ProblemInvalidValue, field, nil, "give a host, and a socketPath only with transport: unix")
			return nil
		}
		p.checkHost(field.dot("host"), *h.Host)
	case "unix":
		if h.SocketPath == nil || h.Host != nil || h.Port != nil {
			p.report(ProblemInvalidValue, field, nil, "transport: unix needs socketPath and nothing else")
			return nil
		}
		p.checkPath(field.dot("socketPath"), *h.SocketPath)
	default:
		p.report(ProblemInvalidValue, field.dot("transport"), nil, "this must be tcp, unix or rdma")
	}
	port := ""
	if h.Port != nil {
		if *h.Port < 1 || *h.Port > 65535 {
			p.report(ProblemInvalidValue, field.dot("port"), nil, "a port must be between 1 and 65535")
		}
		port = itoa(*h.Port)
	}
	if transport == "tcp" {
		transport = "" // libvirt leaves its default out.
	}
	return xmltree.NewElem("host", "transport", transport, "name", stringOf(h.Host), "port", port, "socket", stringOf(h.SocketPath))
}

func (p *planner) authElement(a *v1alpha1.VolumeAuth, kind string, field *place) *xmltree.Elem {
	p.checkText(field.dot("username"), a.Username)
	if (a.SecretUUID == nil) == (a.SecretUsage == nil) {
		p.report(ProblemInvalidValue, field, nil, "give either secretUUID or secretUsage")
		return nil
	}
	uuid := ""
	if a.SecretUUID != nil {
		uuid, _ = p.checkUUID(field.dot("secretUUID"), *a.SecretUUID)
	} else {
		p.checkText(field.dot("secretUsage"), *a.SecretUsage)
	}
	return xmltree.NewElem("auth", "username", a.Username).
		Add(xmltree.NewElem("secret", "type", kind, "uuid", uuid, "usage", stringOf(a.SecretUsage)))
}

func (p *planner) toggle(field *place, t *v1alpha1.Toggle) string {
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
func (p *planner) checkText(field *place, text string) bool {
	if text != "" && isPlain(text) {
		return true
	}
	p.report(ProblemInvalidValue, field, nil, "this must not be empty or hold control characters")
	return false
}
