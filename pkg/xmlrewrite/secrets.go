package xmlrewrite

import "github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"

// mask stands for a secret.
const mask = "********"

// MaskSecrets returns the XML of a guest without its secrets, for people to look at: the
// passwords of its consoles and the cookies with which its disks are fetched. What is
// handed to QEMU past libvirt is shown as it is. The error is [Problems].
func MaskSecrets(domainXML string) (string, error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return "", err
	}
	maskBelow(doc.Root)
	return doc.Render().String(), nil
}

func maskBelow(n *xmltree.Node) {
	if n.HasAttr("passwd") {
		n.SetAttr("passwd", mask)
	}
	if n.Name == "cookie" {
		n.SetText(mask)
		return
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		maskBelow(c)
	}
}
