package xmlrewrite

import (
	"fmt"
	"strconv"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
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

// guestAddress returns a device's address inside the guest, of a PCI function or a channel
// device; empty if it has none.
func guestAddress(device *xmltree.Node) string {
	address := device.Child("address")
	switch address.Value("type") {
	case "pci":
		if a, ok := readPCI(address); ok {
			return a.String()
		}
	case "ccw":
		return ccwAddress([3]string{address.Value("cssid"), address.Value("ssid"), address.Value("devno")}, 0)
	}
	return ""
}

// ccwAddress returns the address of a channel device, whose parts are numbers in the base
// given; empty if it is malformed.
func ccwAddress(parts [3]string, base int) string {
	var numbers [3]uint64
	for i, bits := range [3]int{8, 2, 16} {
		var err error
		if numbers[i], err = strconv.ParseUint(parts[i], base, bits); err != nil {
			return ""
		}
	}
	return fmt.Sprintf("%02x.%x.%04x", numbers[0], numbers[1], numbers[2])
}

// checkGuestAddress returns an address inside the guest in canonical form.
func (p *planner) checkGuestAddress(field *place, text v1alpha1.GuestAddress) (string, bool) {
	if a, ok := parsePCI(string(text)); ok {
		return a.String(), true
	}
	if parts := strings.Split(string(text), "."); len(parts) == 3 {
		if a := ccwAddress([3]string(parts), 16); a != "" {
			return a, true
		}
	}
	p.report(ProblemInvalidValue, field, nil, "this must be the address of a PCI function, such as 0000:01:00.0, or of a channel device, such as fe.0.0001")
	return "", false
}
