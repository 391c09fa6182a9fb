package xmlrewrite

import (
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// sameDisk reports whether a disk and one of the guest's other definition are the
// same, as far as their serials or sources say. The medium of a drive may differ.
func (p *planner) sameDisk(disk, other *xmltree.Node) bool {
	here, serialHere := p.doc.serialOf(disk)
	there, serialThere := p.other.serialOf(other)
	switch device := disk.Value("device"); {
	case serialHere && serialThere:
		return here == there
	case device == "cdrom" || device == "floppy":
		return device == other.Value("device")
	}
	return disk.Value("type") == other.Value("type") && sameSource(disk.Child("source"), other.Child("source"))
}

// sameSource compares what two sources are, not how libvirt counts or uses them.
func sameSource(a, b *xmltree.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if !hasLocation(a, b) || !hasLocation(b, a) {
		return false
	}
	if !slices.Equal(hostsOf(a), hostsOf(b)) {
		return false
	}
	for _, name := range [...]string{"snapshot", "config", "initiator", "slices"} {
		if !sameContent(a.Child(name), b.Child(name)) {
			return false
		}
	}
	x, y := a.Child("address"), b.Child("address")
	if x == nil || y == nil {
		return x == y
	}
	here, okHere := readPCI(x)
	there, okThere := readPCI(y)
	return okHere && okThere && here == there
}

// hasLocation reports whether a source has what another has to say where the data are.
func hasLocation(a, other *xmltree.Node) bool {
	for name, value := range other.Attrs() {
		// Libvirt may have turned TLS on when the guest was started.
		if isLocation(name) && name != "tls" && name != "tlsHostname" && a.Value(name) != value {
			return false
		}
	}
	return true
}

// sameContent compares two elements with all that is in them; nil is none.
func sameContent(a, b *xmltree.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Same(b.Elem())
}

// hostsOf returns the servers of a source, in an order of their own. Of a running guest,
// libvirt adds the ports that it left out.
func hostsOf(source *xmltree.Node) []string {
	found := source.Children("host")
	hosts := make([]string, 0, len(found))
	for _, h := range found {
		hosts = append(hosts, hostKey(source.Value("protocol"), h.Value("transport"), h.Value("name"), h.Value("port"), h.Value("socket")))
	}
	slices.Sort(hosts)
	return hosts
}

// hostsGiven returns the same for a source of the migrate data.
func hostsGiven(n *v1alpha1.NetworkVolumeSource) []string {
	hosts := make([]string, 0, len(n.Hosts))
	for i := range n.Hosts {
		h := &n.Hosts[i]
		port := ""
		if h.Port != nil {
			port = itoa(*h.Port)
		}
		hosts = append(hosts, hostKey(string(n.Protocol), stringOf(h.Transport), stringOf(h.Host), port, stringOf(h.SocketPath)))
	}
	slices.Sort(hosts)
	return hosts
}

// hostKey is the same for all ways to write one server.
func hostKey(protocol, transport, name, port, socket string) string {
	if transport == "" {
		transport = "tcp"
	}
	if (port == "" || port == "0") && transport != "unix" {
		port = usualPorts[protocol]
	}
	return strings.Join([]string{transport, name, port, socket}, "\x00")
}

// usualPorts are those that libvirt uses where a source names none.
var usualPorts = map[string]string{
	"http": "80", "https": "443", "ftp": "21", "ftps": "990", "tftp": "69", "sheepdog": "7000", "nbd": "10809",
	"ssh": "22", "iscsi": "3260", "gluster": "24007", "vxhs": "9999", "nfs": "2049",
}

// warnOfMissingOther warns where an entry means a device of the running guest by its place,
// and nothing tells whether the persistent definition has the same one there.
func (p *planner) warnOfMissingOther(field *place, at *xmltree.Node) {
	if p.inactive && p.other == nil {
		p.warn(field, at, "the entry means the device that the running guest has in this place, which may be another one than that of the persistent definition; give the running guest's definition, too (--other-definition), to have the two compared")
	}
}
