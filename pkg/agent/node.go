package agent

import (
	"context"
	"net/netip"
	"slices"
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
	// Listens reports whether something accepts connections at an address of the host.
	// Nil knows nothing that does.
	Listens func(context.Context, netip.AddrPort) bool
	// Peers are how libvirt on this host reaches nodes whose transport is unix.
	Peers PeerSockets
	// Secrets reads the cluster's Secrets.
	Secrets SecretSource
	// Files are the host's.
	Files HostFiles
	// Settings returns the spec of the node's Hypervisor, which is empty where there is none.
	// Nil is one that is always empty.
	Settings func(context.Context) (v1alpha1.HypervisorSpec, error)

	ports  portPool
	parts  promises[hostPart]
	uses   hostUses
	claims claims
	// certificateEnds are those that were read last; nil before.
	certificateEnds atomic.Pointer[[]CertificateEnd]
	// hostReads is held by who reads files of the host for a migration.
	hostReads turn
	space     spacePool
	// loanEnds is told when a migration has ended for which secrets may have been lent.
	loanEnds chan struct{}
	// loanTrouble says why secrets that were lent cannot be taken back; nil where they can.
	loanTrouble atomic.Pointer[string]
	// sending and receiving are how many guests the node sends and receives.
	sending, receiving atomic.Int32
	jobs               jobs
	// shown is what the node was last seen to be; nil before.
	shown atomic.Pointer[view]
	// listed are the guests that were listed last; nil before.
	listed atomic.Pointer[listing]
}

// listing are the guests of a node as they were listed, and those of which libvirt did
// not answer.
type listing struct {
	domains []hypervisor.Domain
	stuck   map[string]bool
}

// guests lists the guests of the node. Where one of them holds libvirt up, the list is the
// last that is known, and only the one that is asked for is as it is now.
func (n *Node) guests(ctx context.Context, uuid string) (listing, error) {
	if last := n.listed.Load(); last == nil || len(last.stuck) == 0 {
		domains, err := n.Hypervisor.ListDomains(ctx)
		if hypervisor.KindOf(err) != hypervisor.KindTimeout || last == nil {
			return listing{domains: domains}, err
		}
	}
	var out listing
	if last := n.listed.Load(); last != nil {
		out.stuck = last.stuck
		out.domains = slices.DeleteFunc(slices.Clone(last.domains), func(d hypervisor.Domain) bool { return d.UUID == uuid })
	}
	domain, err := n.Hypervisor.LookupDomain(ctx, uuid)
	switch {
	case hypervisor.IsNoDomain(err):
		return out, nil
	case err != nil:
		return out, err
	}
	out.domains = append(out.domains, domain)
	return out, nil
}

// view is how a node was last seen.
type view struct {
	connected        bool
	active, inactive int
}

// Load is what there is on a node at the moment.
type Load struct {
	// Sending and Receiving are how many LiveMigrations the agent has to do with, on
	// each side.
	Sending, Receiving int
	// Jobs are the migrations that libvirt carries out from here, and SentBytes what
	// such have copied in all, as far as this process has followed them.
	Jobs      []Job
	SentBytes uint64
	// Connected is whether the agent could talk to libvirt the last time.
	Connected bool
	// Active and Inactive are how many guests libvirt knew then; they stay as they were
	// while it is away.
	Active, Inactive int
	// Certificates are the ends of the host's, as far as they can be read.
	Certificates []CertificateEnd
}

// Load returns what there is at the moment. It costs the jobs.
func (n *Node) Load() Load {
	load := Load{Sending: int(n.sending.Load()), Receiving: int(n.receiving.Load())}
	load.Jobs, load.SentBytes = n.jobs.all()
	if ends := n.certificateEnds.Load(); ends != nil {
		load.Certificates = *ends
	}
	if v := n.shown.Load(); v != nil {
		load.Connected, load.Active, load.Inactive = v.connected, v.active, v.inactive
	}
	return load
}

// note remembers how the node was seen.
func (n *Node) note(domains []hypervisor.Domain, err error) {
	v := &view{connected: err == nil}
	if before := n.shown.Load(); err != nil && before != nil {
		v.active, v.inactive = before.active, before.inactive
	}
	for _, d := range domains {
		if d.Active() {
			v.active++
		} else {
			v.inactive++
		}
	}
	n.shown.Store(v)
}

func (n *Node) settings(ctx context.Context) (v1alpha1.HypervisorSpec, error) {
	if n.Settings == nil {
		return v1alpha1.HypervisorSpec{}, nil
	}
	return n.Settings(ctx)
}

// keepPromises restores what an object tells of that its guest was promised.
func (n *Node) keepPromises(lm *v1alpha1.LiveMigration) {
	n.keepPorts(lm)
	n.keepParts(lm)
	n.keepClaim(lm)
	n.space.note(lm, migration.CurrentTarget(lm))
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
	// MigrationPorts is the range on which libvirt has guests arrive; zero is not told.
	MigrationPorts PortRange
	// LinkMbps is how fast the link is on which guests arrive and leave, in Mbit/s; zero is not
	// told.
	LinkMbps int32
	// SharedCPUs and DedicatedCPUs are the host's CPUs for guests whose CPUs are not
	// pinned, and for those whose are, as ParseCPUs writes them.
	SharedCPUs, DedicatedCPUs string
}

// offerConsoles offers what consoles and graphics listen on here.
func (c ReceiveConfig) offerConsoles(offer *v1alpha1.TargetOffer, ports []int32) {
	address := c.ListenAddress.String()
	offer.Graphics = &v1alpha1.GraphicsMigrateData{
		VNCListenAddress: &address, SPICEListenAddress: &address, RDPListenAddress: &address,
	}
	offer.Serial = &v1alpha1.SerialMigrateData{ListenAddress: &address, Ports: ports}
}

// PortRange is a range of TCP ports, both ends included.
type PortRange struct {
	First, Last uint16
}

// String returns the range as "first-last".
func (r PortRange) String() string {
	return strconv.Itoa(int(r.First)) + "-" + strconv.Itoa(int(r.Last))
}
