package xmlrewrite

import (
	"fmt"
	"regexp"
	"strconv"

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
		return usbDevice{bus: bus, port: m[2]}, true
	}
	return usbDevice{}, false
}

// usbOf reads a vendor and a product in hexadecimal digits.
func usbOf(vendor, product string) (usbDevice, bool) {
	v, errVendor := strconv.ParseUint(vendor, 16, 16)
	p, errProduct := strconv.ParseUint(product, 16, 16)
	return usbDevice{vendor: fmt.Sprintf("%04x", v), product: fmt.Sprintf("%04x", p)}, errVendor == nil && errProduct == nil
}

// readUSB reads which device a definition means. One that has both is found by vendor and
// product; libvirt adds the address of where it found the device on the source.
func readUSB(source *xmltree.Node) (usbDevice, bool) {
	if vendor, product := source.Child("vendor"), source.Child("product"); vendor != nil && product != nil {
		v, errVendor := strconv.ParseUint(vendor.Value("id"), 0, 16)
		p, errProduct := strconv.ParseUint(product.Value("id"), 0, 16)
		return usbDevice{vendor: fmt.Sprintf("%04x", v), product: fmt.Sprintf("%04x", p)}, errVendor == nil && errProduct == nil
	}
	address := source.Child("address")
	bus, err := strconv.ParseUint(address.Value("bus"), 0, 16)
	if err != nil {
		return usbDevice{}, false
	}
	if port := address.Value("port"); port != "" {
		return usbDevice{bus: int(bus), port: port}, true
	}
	device, err := strconv.ParseUint(address.Value("device"), 0, 16)
	return usbDevice{bus: int(bus), device: int(device)}, err == nil
}

// planUSBDevices gives passed-through USB devices the device of the target. Those that are
// found by vendor and product need no entry: the target may have such a device, too.
func planUSBDevices(p *planner) {
	m := &deviceMap{p: p, field: usbField, what: "USB device"}
	mentioned := make(map[string]bool)
	for i, d := range p.data.USBDevices {
		field := placeOf(usbField).entry(i)
		from, okFrom := p.checkUSB(field.dot("source"), d.Source)
		to, okTo := p.checkUSB(field.dot("target"), d.Target)
		if okFrom && okTo {
			m.mappings = append(m.mappings, mapping{from: from.String(), to: to.String(), field: field.String()})
			mentioned[from.String()], mentioned[to.String()] = true, true
		}
	}
	for _, h := range p.doc.hostdevs("usb") {
		source := h.Child("source")
		have, ok := readUSB(source)
		switch {
		case !ok:
			p.report(ProblemInvalidXML, placeOf(usbField), h, "the USB device has no valid source; take the XML from libvirt unchanged")
		case have.vendor != "" && !mentioned[have.String()]:
			p.warn(placeOf(usbField), h, "the guest uses a USB device that is found on the target by its vendor and product, "+have.String()+"; make sure that the target has one")
		default:
			m.holders = append(m.holders, usbHolder(h, have))
		}
	}
	if p.other != nil {
		for _, h := range p.other.hostdevs("usb") {
			if have, ok := readUSB(h.Child("source")); ok {
				m.others = append(m.others, holder{key: have.String()})
			}
		}
	}
	if len(m.holders)+len(m.mappings) > 0 {
		m.rebind()
	}
}

// usbHolder is a device that another can take the place of. Where the device was found on
// the source does not stay.
func usbHolder(device *xmltree.Node, have usbDevice) holder {
	source := device.Child("source")
	return holder{at: device, key: have.String(), bind: func(to string) {
		want, ok := parseUSB(to)
		if !ok || want == have && (want.vendor == "" || source.Child("address") == nil) {
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
