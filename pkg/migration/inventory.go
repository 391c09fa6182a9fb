package migration

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// Node is a hypervisor as the manager sees it.
type Node struct {
	Name string
	// Ready is whether its agent is alive and talks to libvirt; Message says
	// why not.
	Ready   bool
	Message string
	// Since is since when that has been so.
	Since   time.Time
	Domains []v1alpha1.HypervisorDomain
	// LinkMbps is how fast the link is on which guests arrive and leave, in Mbit/s; zero is
	// not known.
	LinkMbps int32
	// StorageMappings says where storage of other nodes is found on it.
	StorageMappings []v1alpha1.StorageMapping
	// Unlisted is how many guests the node has beside those.
	Unlisted int
}

// Inventory knows the nodes, and which guests each of them has, by what the agents
// publish. A node costs what changes on it, and a look-up what it finds, however many
// nodes and guests there are. It is not safe for concurrent use.
type Inventory struct {
	nodes map[string]*Node
	// byUUID and byName hold the guests by their UUIDs, in lower case, and by their
	// names.
	byUUID, byName index
	ready          int
}

// holder is a guest of a node.
type holder struct{ node, uuid string }

// index finds guests.
type index map[string]map[holder]v1alpha1.HypervisorDomain

func (x index) add(key string, h holder, d v1alpha1.HypervisorDomain) {
	if key == "" {
		return
	}
	if x[key] == nil {
		x[key] = map[holder]v1alpha1.HypervisorDomain{}
	}
	x[key][h] = d
}

func (x index) remove(key string, h holder) {
	delete(x[key], h)
	if len(x[key]) == 0 {
		delete(x, key)
	}
}

// NewInventory returns an inventory of some nodes.
func NewInventory(nodes ...Node) *Inventory {
	inv := &Inventory{nodes: map[string]*Node{}, byUUID: index{}, byName: index{}}
	for _, n := range nodes {
		inv.Put(n)
	}
	return inv
}

// Change is what has become different on a node.
type Change struct {
	// Node is whether it came, went, or got ready or unready.
	Node bool
	// Guests are the names and UUIDs, in lower case, of those that came, went, or
	// changed their state.
	Guests []string
}

// Put takes in what is now known of a node.
func (inv *Inventory) Put(n Node) Change {
	before := inv.nodes[n.Name]
	if before == nil {
		before = &Node{}
	}
	change := Change{Node: before.Name == "" || before.Ready != n.Ready || before.Message != n.Message}
	inv.ready += b2i(n.Ready) - b2i(before.Ready)
	old, now := byID(before.Domains), byID(n.Domains)
	for id, d := range old {
		if is, kept := now[id]; !kept || is != d {
			change.Guests = append(change.Guests, id, d.Name)
			inv.byUUID.remove(id, holder{n.Name, id})
			inv.byName.remove(d.Name, holder{n.Name, id})
		}
	}
	for id, d := range now {
		if was, known := old[id]; !known || was != d {
			change.Guests = append(change.Guests, id, d.Name)
			inv.byUUID.add(id, holder{n.Name, id}, d)
			inv.byName.add(d.Name, holder{n.Name, id}, d)
		}
	}
	inv.nodes[n.Name] = &n
	return change
}

// Remove forgets a node.
func (inv *Inventory) Remove(name string) Change {
	if inv.nodes[name] == nil {
		return Change{}
	}
	change := inv.Put(Node{Name: name})
	change.Node = true
	delete(inv.nodes, name)
	return change
}

// byID files guests under their UUIDs. What is none stands for no guest, or for one that is
// listed under its UUID, too.
func byID(domains []v1alpha1.HypervisorDomain) map[string]v1alpha1.HypervisorDomain {
	out := make(map[string]v1alpha1.HypervisorDomain, len(domains))
	for _, d := range domains {
		if d.UUID = strings.ToLower(d.UUID); hypervisor.IsUUID(d.UUID) {
			out[d.UUID] = d
		}
	}
	return out
}

// Node returns a node, if there is one of that name.
func (inv *Inventory) Node(name string) (n Node, ok bool) {
	if inv == nil {
		return Node{}, false
	}
	if found := inv.nodes[name]; found != nil {
		return *found, true
	}
	return Node{}, false
}

// Ready returns how many nodes are ready.
func (inv *Inventory) Ready() int { return inv.ready }

// names lists the nodes for people.
func (inv *Inventory) names() string { return enumerate(slices.Collect(maps.Keys(inv.nodes))) }

// partial lists the nodes that do not list all of their guests for people, or is empty.
func (inv *Inventory) partial() string {
	var out []string
	for name, n := range inv.nodes {
		if n.Unlisted > 0 {
			out = append(out, name)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return enumerate(out)
}

// notReady lists the nodes that are not ready for people, or is empty.
func (inv *Inventory) notReady() string {
	if inv.ready == len(inv.nodes) {
		return ""
	}
	var out []string
	for name, n := range inv.nodes {
		if !n.Ready {
			out = append(out, name)
		}
	}
	return enumerate(out)
}

// place is a guest on a node.
type place struct {
	node   *Node
	domain v1alpha1.HypervisorDomain
}

// places returns where guests of that name or UUID are known, by the order of the
// nodes' names.
func (inv *Inventory) places(domain string) []place {
	found := inv.byName[domain]
	if isUUID(domain) {
		found = inv.byUUID[strings.ToLower(domain)]
	}
	holders := slices.SortedFunc(maps.Keys(found), func(a, b holder) int {
		return cmp.Or(strings.Compare(a.node, b.node), strings.Compare(a.uuid, b.uuid))
	})
	out := make([]place, 0, len(holders))
	for _, h := range holders {
		out = append(out, place{node: inv.nodes[h.node], domain: found[h]})
	}
	return out
}

// isUUID reports whether a domain is given by its UUID.
func isUUID(domain string) bool {
	id, err := uuid.Parse(domain)
	return err == nil && len(domain) == len(id.String())
}

// enumerate lists things for people, and not too many of them.
func enumerate(things []string) string {
	const most = 10
	if len(things) == 0 {
		return "none"
	}
	sorted := slices.Sorted(slices.Values(things))
	if more := len(sorted) - most; more > 0 {
		return strings.Join(sorted[:most], ", ") + " and " + strconv.Itoa(more) + " more"
	}
	return strings.Join(sorted, ", ")
}
