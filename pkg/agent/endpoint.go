package agent

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// What the target's agent writes is checked once more before it reaches the
// source's libvirt, which runs as root: nothing here relies on the API server to
// have done so.

// CheckAddress reports why other nodes cannot reach a host at this address. It
// takes what the API takes: an IP address without brackets and zone, or a DNS name.
func CheckAddress(address string) error {
	if len(validation.IsDNS1123Subdomain(address)) == 0 && net.ParseIP(address) == nil {
		return nil
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("%q is neither an IP address without brackets nor a DNS name in lower case", address)
	}
	if ip.Zone() != "" || ip.Is4In6() || !ip.IsGlobalUnicast() && !ip.IsLinkLocalUnicast() {
		return fmt.Errorf("%q is not an address at which another host can reach this one", address)
	}
	return nil
}

// endpointURIs returns where the source's libvirt reaches the target's, by that socket if the
// endpoint is reached by one, and where its hypervisor sends the guest's memory and disks; both
// are empty for an endpoint that is not valid. The latter has no port: libvirt picks one.
func endpointURIs(e *v1alpha1.TargetEndpoint, socket string) (destination, migrate string) {
	if checkEndpoint(e) != nil || e.Transport == v1alpha1.TransportUnix && socket == "" {
		return "", ""
	}
	migrate = "tcp://" + hostOf(dataAddress(e))
	if e.Transport == v1alpha1.TransportUnix {
		return "qemu+unix:///system?socket=" + socket, migrate
	}
	return "qemu+" + string(e.Transport) + "://" + hostOf(e.Address) + "/system", migrate
}

// disksURI returns where the source's hypervisor sends disks that are copied; empty is where it
// sends the memory, or an endpoint that is not valid. It has no port: the target's libvirt
// picks one of those on which guests arrive, and gives it back by itself, which it does not do
// before 10.1.0 with a port that it is given.
func disksURI(e *v1alpha1.TargetEndpoint) string {
	if checkEndpoint(e) != nil || e.DisksAddress == "" {
		return ""
	}
	return "tcp://" + hostOf(e.DisksAddress)
}

// CheckDisksAddress reports why disks cannot arrive at an address; an empty one is none of
// their own. The hypervisor listens there, so it has to be an address of the host, and not a
// name that may be another one's to the source; and one that needs no zone.
func CheckDisksAddress(address string) error {
	if address == "" {
		return nil
	}
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" || ip.Is4In6() || !ip.IsGlobalUnicast() {
		return fmt.Errorf("%q is not an IP address without brackets at which another host can reach this one without a zone", address)
	}
	return nil
}

// dataAddress is where a guest's memory and disks go.
func dataAddress(e *v1alpha1.TargetEndpoint) string { return cmp.Or(e.DataAddress, e.Address) }

// listensAt returns on which address the target's hypervisor has to listen, where libvirt may be
// configured to another network; empty leaves it to libvirt. A name says nothing of that.
func listensAt(e *v1alpha1.TargetEndpoint) string {
	if checkEndpoint(e) != nil || net.ParseIP(e.DataAddress) == nil {
		return ""
	}
	return e.DataAddress
}

// hostOf returns an address as a URI has it.
func hostOf(address string) string {
	if ip, err := netip.ParseAddr(address); err == nil && ip.Is6() {
		return "[" + address + "]"
	}
	return address
}

func checkEndpoint(e *v1alpha1.TargetEndpoint) error {
	if e == nil {
		return errors.New("its address is missing")
	}
	switch e.Transport {
	case v1alpha1.TransportTLS, v1alpha1.TransportTCP, v1alpha1.TransportSSH, v1alpha1.TransportUnix:
	default:
		return fmt.Errorf("the transport %q is unknown", e.Transport)
	}
	return errors.Join(CheckAddress(e.Address), CheckAddress(dataAddress(e)), CheckDisksAddress(e.DisksAddress))
}

// checkTargetSection checks all that the source takes from the target's section to
// start the migration with.
func checkTargetSection(t *v1alpha1.TargetStatus) error {
	errs := []error{checkEndpoint(t.Endpoint)}
	if o := t.Offer; o != nil {
		errs = append(errs, checkOffer(o))
	}
	if h := t.Host; h != nil {
		errs = append(errs, checkCPUSet("onlineCPUs", h.OnlineCPUs), checkCPUSet("numaNodes", h.NUMANodes), checkServerName(h.MigrationTLS))
	}
	return errors.Join(errs...)
}

func checkServerName(t *v1alpha1.MigrationTLS) error {
	if t == nil || t.ServerName == "" {
		return nil
	}
	return CheckAddress(t.ServerName)
}

func checkOffer(o *v1alpha1.TargetOffer) error {
	var addresses []*string
	if g := o.Graphics; g != nil {
		addresses = append(addresses, g.VNCListenAddress, g.SPICEListenAddress, g.RDPListenAddress)
	}
	errs := []error{checkNetworkMappings(o.NetworkMappings)}
	if s := o.Serial; s != nil {
		addresses = append(addresses, s.ListenAddress)
		for _, port := range s.Ports {
			if port < 1 || port > 65535 {
				errs = append(errs, fmt.Errorf("%d is not a TCP port", port))
			}
		}
	}
	for _, address := range addresses {
		if address == nil {
			continue
		}
		if ip, err := netip.ParseAddr(*address); err != nil || ip.Zone() != "" {
			errs = append(errs, fmt.Errorf("%q is not an IP address to listen on", *address))
		}
	}
	return errors.Join(errs...)
}

// networkName is the pattern of names in v1alpha1.NetworkMapping.
var networkName = regexp.MustCompile(`^[^\x00-\x1f\x7f/]{1,253}$`)

// checkNetworkMappings checks names that come to be in a guest's definition.
func checkNetworkMappings(mappings []v1alpha1.NetworkMapping) error {
	for _, m := range mappings {
		if m.Kind != v1alpha1.NetworkKindNetwork && m.Kind != v1alpha1.NetworkKindBridge || !networkName.MatchString(m.To) {
			return fmt.Errorf("%q is not the name of a network or bridge of the kind %q", m.To, m.Kind)
		}
	}
	return nil
}

// cpuSetOf returns a set as the API takes it, or an empty one, which is not known,
// if it is longer than that.
func cpuSetOf(set string) v1alpha1.CPUSet {
	const most = 4096
	if len(set) > most {
		return ""
	}
	return v1alpha1.CPUSet(set)
}

// cpuSet is the pattern of v1alpha1.CPUSet.
var cpuSet = regexp.MustCompile(`^\d{1,5}(-\d{1,5})?(,\d{1,5}(-\d{1,5})?)*$`)

func checkCPUSet(what string, set v1alpha1.CPUSet) error {
	if set == "" || cpuSet.MatchString(string(set)) {
		return nil
	}
	return fmt.Errorf("%s is not a list of numbers and ranges such as 0-3,8", what)
}
