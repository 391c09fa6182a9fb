package migration

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/virtferry/virtferry/api/v1alpha1"
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
	// Unlisted is how many guests the node has beside those.
	Unlisted int
}

// Inventory knows the nodes, and which guests each of them has, by what the agents
// publish. A node costs what changes on it, and a look-up what it finds, however many
// nodes and guests there are. It is not safe for concurrent use.
type Inventory struct {
	nodes map[string]*Node
	// holders are the names of the nodes that list a guest, by its UUID and by its
	// name.
	byUUID, byName index
	ready          int
}

// index finds the nodes that list a guest.
type index map[string]map[string]struct{}

func (x index) add(key, node string) {
	if x[key] == nil {
		x[key] = map[string]struct{}{}
	}
	x[key][node] = struct{}{}
}

func (x index) remove(key, node string) {
	delete(x[key], node)
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
			inv.byUUID.remove(id, n.Name)
		}
	}
	// A name may belong to several guests of a node's, so all are taken out first.
	for _, d := range before.Domains {
		if d.Name != "" {
			inv.byName.remove(d.Name, n.Name)
		}
	}
	for id, d := range now {
		if was, known := old[id]; !known || was != d {
			change.Guests = append(change.Guests, id, d.Name)
		}
		inv.byUUID.add(id, n.Name)
		if d.Name != "" {
			inv.byName.add(d.Name, n.Name)
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

func byID(domains []v1alpha1.HypervisorDomain) map[string]v1alpha1.HypervisorDomain {
	out := make(map[string]v1alpha1.HypervisorDomain, len(domains))
	for _, d := range domains {
		out[strings.ToLower(d.UUID)] = d
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
	holders := inv.byName[domain]
	byUUID := isUUID(domain)
	if byUUID {
		holders = inv.byUUID[strings.ToLower(domain)]
	}
	var found []place
	for _, name := range slices.Sorted(maps.Keys(holders)) {
		n := inv.nodes[name]
		for _, d := range n.Domains {
			if byUUID && strings.EqualFold(d.UUID, domain) || !byUUID && d.Name == domain {
				found = append(found, place{node: n, domain: d})
			}
		}
	}
	return found
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
		return strings.Join(sorted[:most], ", ") + " and " + plural(more, "more", "more")
	}
	return strings.Join(sorted, ", ")
}
