package agent

import (
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/migration"
)

// Node is the node that an agent serves.
type Node struct {
	Name       string
	Hypervisor hypervisor.Hypervisor
	Recorder   Recorder
	Receive    ReceiveConfig
	Clock      clock.Clock
	Log        logr.Logger

	ports portPool
	// sending is how many guests the node sends.
	sending atomic.Int32
}

// keepPorts restores the promise of ports that an object tells of.
func (n *Node) keepPorts(lm *v1alpha1.LiveMigration) {
	if section := migration.CurrentTarget(lm); section != nil && section.Offer != nil && section.Offer.Serial != nil {
		n.ports.keep(lm.UID, section.Offer.Serial.Ports)
	}
}

// progressInterval is the least time between two writes of a session that differ in
// progress only.
func (n *Node) progressInterval() time.Duration {
	return max(progressInterval, time.Duration(n.sending.Load())*progressSpacing)
}

// Transport is how one libvirt reaches another.
type Transport string

// The transports.
const (
	TransportTLS Transport = "tls"
	TransportTCP Transport = "tcp"
	TransportSSH Transport = "ssh"
)

// ReceiveConfig is what a node offers to the guests that it receives.
type ReceiveConfig struct {
	// MigrationAddress is the IP address or host name on which the node is
	// reached by other nodes, for control and for the guests' memory.
	MigrationAddress string
	// Transport is how other nodes' libvirt reaches this one's.
	Transport Transport
	// ListenAddress is where graphics and serial consoles of guests listen.
	ListenAddress netip.Addr
	// AllowedPaths are the directories below which migrate data may name paths
	// of this host.
	AllowedPaths []string
	// CgroupVersion is the version of the host's control groups, 1 or 2, or 0
	// where it is not known.
	CgroupVersion int
	// SerialPorts is the range from which serial consoles get their ports.
	SerialPorts PortRange
}

// destinationURI returns where another libvirt reaches this node's.
func (c ReceiveConfig) destinationURI() string {
	return "qemu+" + string(c.Transport) + "://" + bracket(c.MigrationAddress) + "/system"
}

// migrateURI returns where another hypervisor sends a guest's memory. It has no
// port: libvirt picks one.
func (c ReceiveConfig) migrateURI() string {
	return "tcp://" + bracket(c.MigrationAddress)
}

func bracket(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

// offer returns what the host gives for absent parts of the migrate data.
func (c ReceiveConfig) offer(ports []int32) *v1alpha1.MigrateData {
	address := c.ListenAddress.String()
	return &v1alpha1.MigrateData{
		Graphics: &v1alpha1.GraphicsMigrateData{
			VNCListenAddress: &address, SPICEListenAddress: &address, RDPListenAddress: &address,
		},
		Serial: &v1alpha1.SerialMigrateData{ListenAddress: &address, Ports: ports},
	}
}

// PortRange is a range of TCP ports, both ends included.
type PortRange struct {
	First, Last uint16
}

// String returns the range as "first-last".
func (r PortRange) String() string {
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}
