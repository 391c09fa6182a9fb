package xmlrewrite

import (
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// guest is one of a guest's two definitions.
type guest struct {
	*xmltree.Document

	byName map[string][]*xmltree.Node // The devices by element name, in the order of the document.
	cells  []int                      // Filled by guestCells.
}

// parseGuest reads a document whose root is a domain. The error is [Problems].
func parseGuest[Text ~string | ~[]byte](domainXML Text) (*guest, error) {
	doc, err := xmltree.Parse(string(domainXML))
	if err != nil {
		return nil, Problems{{
			Kind:    ProblemInvalidXML,
			Message: "the guest's XML cannot be read: " + err.Error(),
		}}
	}
	if doc.Root.Name != "domain" {
		return nil, Problems{{
			Kind:    ProblemInvalidXML,
			Message: "the guest's XML must have <domain> as its root element",
		}}
	}
	g := &guest{Document: doc, byName: make(map[string][]*xmltree.Node)}
	for devices := doc.Root.Child("devices"); devices != nil; devices = devices.NextSame() {
		for device := devices.FirstChild; device != nil; device = device.NextSibling {
			if !device.Foreign {
				g.byName[device.Name] = append(g.byName[device.Name], device)
			}
		}
	}
	return g, nil
}

// devices returns the devices of this element name, in the order of the document.
func (g *guest) devices(name string) []*xmltree.Node { return g.byName[name] }

// hostdevs returns the guest's passed-through devices of one type.
func (g *guest) hostdevs(kind string) []*xmltree.Node {
	var found []*xmltree.Node
	for _, h := range g.devices("hostdev") {
		if h.Value("type") == kind && h.Value("mode") != "capabilities" {
			found = append(found, h)
		}
	}
	return found
}

// guestAddress returns a device's PCI address inside the guest; empty if it has none.
func guestAddress(device *xmltree.Node) string {
	if address := device.Child("address"); address.Value("type") == "pci" {
		if a, ok := readPCI(address); ok {
			return a.String()
		}
	}
	return ""
}
