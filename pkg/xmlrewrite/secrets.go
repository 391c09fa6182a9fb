package xmlrewrite

// mask stands for a secret.
const mask = "********"

// MaskSecrets returns the XML of a guest without its secrets, for people to look at: the
// passwords of its consoles and the cookies with which its disks are fetched. What is
// handed to QEMU past libvirt is shown as it is. The error is [Problems].
func MaskSecrets(domainXML string) (string, error) {
	doc, err := parseDomain(domainXML)
	if err != nil {
		return "", err
	}
	doc.mask(doc.root)
	return doc.render(nil).String(), nil
}

func (d *document) mask(n *node) {
	if n.hasAttr("passwd") {
		n.setAttr("passwd", mask)
	}
	if n.name == "cookie" {
		n.setText(d, mask)
		return
	}
	for c := n.first; c != nil; c = c.next {
		d.mask(c)
	}
}
