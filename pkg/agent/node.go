package agent

import (
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

// ReceiveConfig is what a node offers to the guests that it receives.
type ReceiveConfig struct {
	// Endpoint is where other nodes reach this one.
	Endpoint v1alpha1.TargetEndpoint
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

// offer returns what the host gives for absent parts of the migrate data.
func (c ReceiveConfig) offer(ports []int32) *v1alpha1.TargetOffer {
	address := c.ListenAddress.String()
	return &v1alpha1.TargetOffer{
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
