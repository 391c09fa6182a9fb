package xmlrewrite

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const usbField = "usbDevices"

// usbDevice says which USB device of a host is meant, in one of three ways: by vendor and
// product, by bus and device number, or by bus and port.
type usbDevice struct {
	vendor, product string // Four hexadecimal digits each.
	bus, device     int    // The device is 0 if it is found by its port.
	port            string
}

// String returns the device as the migrate data name it.
func (u usbDevice) String() string {
	switch {
	case u.vendor != "":
		return u.vendor + ":" + u.product
	case u.port != "":
		return itoa(u.bus) + "-" + u.port
	}
	return itoa(u.bus) + "/" + itoa(u.device)
}

// element returns the source of a device as libvirt writes it.
func (u usbDevice) element() *xmltree.Elem {
	e := &xmltree.Elem{Name: "source"}
	switch {
	case u.vendor != "":
		return e.Add(xmltree.NewElem("vendor", "id", "0x"+u.vendor), xmltree.NewElem("product", "id", "0x"+u.product))
	case u.port != "":
		return e.Add(xmltree.NewElem("address", "bus", itoa(u.bus), "port", u.port))
	}
	return e.Add(xmltree.NewElem("address", "bus", itoa(u.bus), "device", itoa(u.device)))
}

var (
	usbByID     = regexp.MustCompile(`^([0-9a-fA-F]{4}):([0-9a-fA-F]{4})$`)
	usbByNumber = regexp.MustCompile(`^0*(\d{1,3})/0*([1-9]\d{0,2})$`)
	usbByPort   = regexp.MustCompile(`^0*(\d{1,3})-(\d{1,3}(?:\.\d{1,3}){0,6})$`)
)

// parseUSB reads a device such as 046d:c52b, 3/7 or 3-1.4.
func parseUSB(text string) (usbDevice, bool) {
	if m := usbByID.FindStringSubmatch(text); m != nil {
		return usbOf(m[1], m[2])
	}
	if m := usbByNumber.FindStringSubmatch(text); m != nil {
		bus, _ := strconv.Atoi(m[1])    // The pattern knows numbers.
		device, _ := strconv.Atoi(m[2]) // Likewise.
		return usbDevice{bus: bus, device: device}, true
	}
	if m := usbByPort.FindStringSubmatch(text); m != nil {
		bus, _ := strconv.Atoi(m[1]) // Likewise.
		return usbDevice{bus: bus, port: usbPort(m[2])}, true
	}
	return usbDevice{}, false
}

// usbPort returns a port as the kernel writes it, which libvirt looks for: without zeros
// before its numbers.
func usbPort(text string) string {
	numbers := strings.Split(text, ".")
	for i, n := range numbers {
		numbers[i] = cmp.Or(strings.TrimLeft(n, "0"), "0")
	}
	return strings.Join(numbers, ".")
}

// usbOf reads a vendor and a product in hexadecimal digits.
func usbOf(vendor, product string) (usbDevice, bool) {
	v, errVendor := strconv.ParseUint(vendor, 16, 16)
	p, errProduct := strconv.ParseUint(product, 16, 16)
	return usbDevice{vendor: fmt.Sprintf("%04x", v), product: fmt.Sprintf("%04x", p)}, errVendor == nil && errProduct == nil
}

// usbSource is all that a definition says of a USB device.
type usbSource struct {
	byID       usbDevice // Has no vendor if the definition has none.
	byAddress  usbDevice
	hasAddress bool
	// fixed is set if libvirt takes no device but the one at the address. If it found the
	// device by vendor and product, it says so, and tries that again on the target.
	fixed bool
}

// readUSB reads which device a definition means.
func readUSB(source *xmltree.Node) (u usbSource, ok bool) {
	u.byAddress, u.hasAddress = readUSBAddress(source.Child("address"))
	vendor, product := source.Child("vendor"), source.Child("product")
	if vendor == nil || product == nil {
		u.fixed = true
		return u, u.hasAddress
	}
	v, errVendor := strconv.ParseUint(vendor.Value("id"), 0, 16)
	p, errProduct := strconv.ParseUint(product.Value("id"), 0, 16)
	u.byID = usbDevice{vendor: fmt.Sprintf("%04x", v), product: fmt.Sprintf("%04x", p)}
	u.fixed = u.hasAddress && source.Value("autoAddress") != "yes"
	return u, errVendor == nil && errProduct == nil
}

func readUSBAddress(address *xmltree.Node) (usbDevice, bool) {
	bus, err := strconv.ParseUint(address.Value("bus"), 0, 16)
	if err != nil {
		return usbDevice{}, false
	}
	if port := address.Value("port"); port != "" {
		return usbDevice{bus: int(bus), port: usbPort(port)}, true
	}
	device, err := strconv.ParseUint(address.Value("device"), 0, 16)
	return usbDevice{bus: int(bus), device: int(device)}, err == nil
}

// names returns how migrate data can name the device.
func (u usbSource) names() []usbDevice {
	var names []usbDevice
	if u.hasAddress {
		names = append(names, u.byAddress)
	}
	if u.byID.vendor != "" {
		names = append(names, u.byID)
	}
	return names
}

// planUSBDevices gives passed-through USB devices the device of the target. Those that are
// found by vendor and product need no entry: the target may have such a device, too.
func planUSBDevices(p *planner) {
	m := &deviceMap{p: p, field: usbField, what: "USB device"}
	sources, targets := make(map[usbDevice]bool), make(map[usbDevice]bool)
	for i, d := range p.data.USBDevices {
		field := placeOf(usbField).entry(i)
		from, okFrom := p.checkUSB(field.dot("source"), d.Source)
		to, okTo := p.checkUSB(field.dot("target"), d.Target)
		if to.port != "" && p.target.libvirtBefore(11, 4) { // Its schema has no such address in 11.3, and has it in 12.8.
			p.report(ProblemConflict, field.dot("target"), nil, "the target's libvirt does not find USB devices by port; give the device by vendor and product, or by bus and device number")
		}
		if okFrom && okTo {
			m.mappings = append(m.mappings, mapping{from: from.String(), to: to.String(), field: field.String()})
			sources[from], targets[to] = true, true
		}
	}
	m.holdUSB(sources, targets)
	if p.other != nil {
		for _, h := range p.other.hostdevs("usb") {
			have, _ := readUSB(h.Child("source"))
			for _, name := range have.names() {
				m.others = append(m.others, holder{key: name.String()})
			}
		}
	}
	if len(m.holders)+len(m.mappings) > 0 {
		m.rebind()
	}
}

// holdUSB finds the USB devices that have to be mapped. One for which the definition has
// both an address and vendor and product goes by what the migrate data name; where several
// have the same vendor and product, these mean none of them.
func (m *deviceMap) holdUSB(sources, targets map[usbDevice]bool) {
	devices := m.p.doc.hostdevs("usb")
	alike := make(map[usbDevice]int)
	for _, h := range devices {
		have, _ := readUSB(h.Child("source"))
		alike[have.byID]++
	}
	for _, h := range devices {
		have, ok := readUSB(h.Child("source"))
		switch {
		case !ok:
			m.p.report(ProblemInvalidXML, placeOf(usbField), h, "the USB device has no valid source; take the XML from libvirt unchanged")
		case have.hasAddress && sources[have.byAddress], have.byID.vendor == "":
			m.holders = append(m.holders, usbHolder(h, have.byAddress))
		case sources[have.byID] && (!have.fixed || alike[have.byID] == 1), targets[have.byID] && !have.fixed:
			m.holders = append(m.holders, usbHolder(h, have.byID))
		case have.fixed:
			m.holders = append(m.holders, usbHolder(h, have.byAddress))
		default:
			if targets[have.byAddress] { // Libvirt would look there first.
				h.Child("source").Child("address").RemoveAll()
			}
			m.p.warn(placeOf(usbField), h, "the guest uses a USB device that is found on the target by its vendor and product, "+have.byID.String()+"; make sure that the target has one")
		}
	}
}

// usbHolder is a device that another can take the place of. Where the device was found on
// the source does not stay.
func usbHolder(device *xmltree.Node, have usbDevice) holder {
	source := device.Child("source")
	return holder{at: device, key: have.String(), bind: func(to string) {
		want, ok := parseUSB(to)
		if !ok || want == have && (source.Child("vendor") == nil || source.Child("address") == nil) {
			return
		}
		for _, name := range [...]string{"vendor", "product", "address"} {
			source.Child(name).RemoveAll()
		}
		for _, e := range want.element().Children {
			source.Append(e)
		}
	}}
}

func (p *planner) checkUSB(field *place, text v1alpha1.USBDevice) (usbDevice, bool) {
	device, ok := parseUSB(string(text))
	if !ok {
		p.report(ProblemInvalidValue, field, nil, "this must be a USB device by vendor and product, such as 046d:c52b, by bus and device number, such as 3/7, or by bus and port, such as 3-1.4")
	}
	return device, ok
}
