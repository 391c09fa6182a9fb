package xmlrewrite

import (
	"strings"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// mask stands for a secret.
const mask = "********"

// MaskSecrets returns the XML of a guest without its secrets, for people to look at: the
// passwords of its consoles, the cookies and queries of addresses with which its disks are
// fetched, and what its firmware hands on to its system (fw_cfg and OEM strings). What is handed to QEMU past libvirt, metadata and comments are shown as they
// are. The error is [Problems].
func MaskSecrets(domainXML string) (string, error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return "", err
	}
	maskBelow(doc.Root)
	return doc.Render().String(), nil
}

// isHandedOn reports whether an element has what the guest's firmware hands on to its system,
// which may be credentials.
func isHandedOn(n *xmltree.Node) bool {
	if n.Name != "entry" || n.FirstChild != nil {
		return false
	}
	return n.Parent.Name == "oemStrings" || n.Parent.Name == "sysinfo" && n.Parent.Value("type") == "fwcfg" && n.Text() != ""
}

func maskBelow(n *xmltree.Node) {
	if n.HasAttr("passwd") {
		n.SetAttr("passwd", mask)
	}
	if n.HasAttr("query") {
		n.SetAttr("query", mask)
	}
	if name, query, signed := strings.Cut(n.Value("name"), "?"); signed && query != "" && isOneOf(n.Value("protocol"), "http", "https") {
		n.SetAttr("name", name+"?"+mask)
	}
	if n.Name == "cookie" || isHandedOn(n) {
		n.SetText(mask)
		return
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		maskBelow(c)
	}
}
