package xmlrewrite

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// parseUUID returns the UUID in lower case with hyphens, which it has to have. Libvirt writes
// it like that, and the API asks for it; the library takes other forms, too.
func parseUUID(text string) (string, bool) {
	id, err := uuid.Parse(text)
	return id.String(), err == nil && len(text) == len(id.String())
}

func equalUUID(a, b string) bool { return strings.EqualFold(a, b) }

func (p *planner) checkUUID(field *place, given v1alpha1.UUID) (string, bool) {
	text, ok := parseUUID(string(given))
	if !ok {
		p.report(ProblemInvalidValue, field, nil, "this must be a UUID such as 5e26d0f7-8c1e-4b57-9f0e-3a8d2a0c6b11")
	}
	return text, ok
}

// pciAddress is the address of a PCI function.
type pciAddress struct {
	domain                uint32
	bus, device, function uint8
}

func (a pciAddress) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%x", a.domain, a.bus, a.device, a.function)
}

// attrs returns the address as libvirt writes it.
func (a pciAddress) attrs() [4]xmltree.Attr {
	return [4]xmltree.Attr{
		{Name: "domain", Value: fmt.Sprintf("0x%04x", a.domain)},
		{Name: "bus", Value: fmt.Sprintf("0x%02x", a.bus)},
		{Name: "slot", Value: fmt.Sprintf("0x%02x", a.device)},
		{Name: "function", Value: fmt.Sprintf("0x%x", a.function)},
	}
}

func (a pciAddress) element() *xmltree.Elem {
	attrs := a.attrs()
	return &xmltree.Elem{Name: "address", Attrs: attrs[:]}
}

// parsePCI reads an address such as 0000:81:00.1; the domain may be left out.
func parsePCI(text string) (pciAddress, bool) {
	var a pciAddress
	if strings.Count(text, ":") == 1 {
		text = "0:" + text
	}
	domain, rest, _ := strings.Cut(text, ":")
	bus, rest, _ := strings.Cut(rest, ":")
	device, function, _ := strings.Cut(rest, ".")
	parts := [4]uint64{}
	limits := [4]uint64{1<<32 - 1, 0xff, 0x1f, 7}
	for i, s := range [4]string{domain, bus, device, function} {
		v, err := strconv.ParseUint(s, 16, 32)
		if err != nil || v > limits[i] {
			return a, false
		}
		parts[i] = v
	}
	return pciAddress{uint32(parts[0]), uint8(parts[1]), uint8(parts[2]), uint8(parts[3])}, true //nolint:gosec // Compared with the limits above.
}

// readPCI reads the address from an element; numbers may be in any base. A
// part that is missing is zero.
func readPCI(n *xmltree.Node) (pciAddress, bool) {
	if n == nil {
		return pciAddress{}, false
	}
	parts := [4]uint64{}
	limits := [4]uint64{1<<32 - 1, 0xff, 0x1f, 7}
	for i, name := range [4]string{"domain", "bus", "slot", "function"} {
		text, ok := n.Attr(name)
		if !ok {
			continue
		}
		v, err := strconv.ParseUint(text, 0, 32)
		if err != nil || v > limits[i] {
			return pciAddress{}, false
		}
		parts[i] = v
	}
	return pciAddress{uint32(parts[0]), uint8(parts[1]), uint8(parts[2]), uint8(parts[3])}, true //nolint:gosec // Compared with the limits above.
}

// samePCI reports whether an element has the address that e has.
func samePCI(n *xmltree.Node, e *xmltree.Elem) bool {
	have, ok := readPCI(n)
	if !ok {
		return false
	}
	for i, a := range have.attrs() {
		if e.Attrs[i] != a {
			return false
		}
	}
	return true
}

// setPCI writes the address, unless the element has it already in other digits.
func setPCI(n *xmltree.Node, to pciAddress) {
	if have, ok := readPCI(n); ok && have == to {
		return
	}
	for _, a := range to.attrs() {
		n.SetAttr(a.Name, a.Value)
	}
}

func (p *planner) checkPCI(field *place, text v1alpha1.PCIAddress) (pciAddress, bool) {
	a, ok := parsePCI(string(text))
	if !ok {
		p.report(ProblemInvalidValue, field, nil, "this must be a PCI address such as 0000:81:00.1")
	}
	return a, ok
}
