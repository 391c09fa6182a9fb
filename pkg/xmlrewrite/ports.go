package xmlrewrite

import (
	"strconv"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// listenPorts returns the TCP ports on which character devices of the guest listen on its host.
func listenPorts(doc *guest) []int32 {
	var sources []*xmltree.Node
	for _, l := range serialListeners(doc) {
		sources = append(sources, l.source)
	}
	for _, source := range otherListeners(doc) {
		if source.Parent.Value("type") == "tcp" {
			sources = append(sources, source)
		}
	}
	var ports []int32
	for _, source := range sources {
		// A service that is no number is one of /etc/services; none of those is
		// given to guests.
		if port, err := strconv.ParseUint(source.Value("service"), 10, 16); err == nil {
			ports = append(ports, int32(port))
		}
	}
	return ports
}
