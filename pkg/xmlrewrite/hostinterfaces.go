package xmlrewrite

import (
	"maps"
	"slices"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// hostInterfaces are the interfaces that are PCI devices of the guest's host, by their MAC
// addresses. Those with the address of another cannot be told from each other, and are left
// out.
func hostInterfaces(doc *guest) map[string]*xmltree.Node {
	found, twice := map[string]*xmltree.Node{}, map[string]bool{}
	for _, nic := range doc.devices("interface") {
		mac, ok := parseMAC(nic.Child("mac").Value("address"))
		if !ok || nic.Value("type") != "hostdev" {
			continue
		}
		_, twice[mac] = found[mac]
		found[mac] = nic
	}
	maps.DeleteFunc(found, func(mac string, _ *xmltree.Node) bool { return twice[mac] })
	return found
}

// HostInterfaces returns the MAC addresses of a guest's interfaces that are PCI devices of its
// host, in lower case, in order. The error is [Problems].
func HostInterfaces[Text ~string | ~[]byte](domainXML Text) ([]string, error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return nil, err
	}
	var macs []string
	for mac := range hostInterfaces(doc) {
		macs = append(macs, mac)
	}
	slices.Sort(macs)
	return macs, nil
}

// LackedInterface returns the element of an interface that a guest's definition has and the
// running guest does not; lacked says whether it does not, and known whether its definition has
// one. Where two have the MAC address, one that is a device of the host is meant. The error is
// [Problems].
func LackedInterface[Text ~string | ~[]byte](live, inactive Text, mac string) (element string, lacked, known bool, err error) {
	running, err := parseGuest(live)
	if err != nil {
		return "", false, false, err
	}
	kept, err := parseGuest(inactive)
	if err != nil {
		return "", false, false, err
	}
	wanted, isHosts := hostInterfaces(kept)[mac]
	if !isHosts {
		wanted = anyInterface(kept, mac)
	}
	_, has := hostInterfaces(running)[mac]
	has = has || !isHosts && anyInterface(running, mac) != nil
	switch {
	case has:
		return "", false, wanted != nil, nil
	case wanted == nil:
		return "", true, false, nil
	default:
		return wanted.Source(), true, true, nil
	}
}

// anyInterface returns an interface of whatever type by its MAC address; nil if there is none.
func anyInterface(doc *guest, mac string) *xmltree.Node {
	for _, nic := range doc.devices("interface") {
		if found, ok := parseMAC(nic.Child("mac").Value("address")); ok && found == mac {
			return nic
		}
	}
	return nil
}

// HostInterface returns the element of an interface that is a PCI device of the guest's host,
// and whether there is one. The error is [Problems].
func HostInterface[Text ~string | ~[]byte](domainXML Text, mac string) (element string, found bool, err error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return "", false, err
	}
	nic, found := hostInterfaces(doc)[mac]
	if !found {
		return "", false, nil
	}
	return nic.Source(), true, nil
}

// WithoutHostInterfaces returns a guest's definition without such interfaces.
func WithoutHostInterfaces[Text ~string | ~[]byte](domainXML Text, macs []string) (string, error) {
	doc, err := parseGuest(domainXML)
	if err != nil {
		return "", err
	}
	for mac, nic := range hostInterfaces(doc) {
		if slices.Contains(macs, mac) {
			nic.Remove()
		}
	}
	return doc.Render().String(), nil
}
