package migration

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// NewsDelay is how long the published lists of guests may lag behind a
// migration that has just ended.
const NewsDelay = 30 * time.Second

// Arrival is the end of a successful migration: the guest has come to a node.
type Arrival struct {
	Node string
	Time time.Time
}

// Arrivals returns where a guest, by its UUID, has arrived last, as far as that is
// recorded.
type Arrivals func(domainUUID string) (Arrival, bool)

// ArrivalOf returns where a migration has brought its guest, if it has.
func ArrivalOf(lm *v1alpha1.LiveMigration) (a Arrival, ok bool) {
	st := &lm.Status
	if st.Phase != v1alpha1.PhaseSucceeded || st.Attempt == nil || MovesNothing(lm) || st.CompletionTime == nil {
		return Arrival{}, false
	}
	return Arrival{Node: st.TargetNode, Time: st.CompletionTime.Time}, true
}

// Resolution says which guest a migration moves, from where and to where.
type Resolution struct {
	DomainUUID string
	DomainName string
	SourceNode string
	TargetNode string
	// AlreadyOnTarget is whether there seems to be nothing to do.
	AlreadyOnTarget bool
	// Problem is why the migration cannot go ahead; nil if it can.
	Problem *v1alpha1.Problem
	// Transient is whether the problem may be one of news that has not come in
	// yet, so that it is worth a short wait; AwaitUntil is for how long, where that
	// is known.
	Transient  bool
	AwaitUntil time.Time
}

// Resolve finds the guest and its nodes in the inventory. No list may have a guest that
// is on its way from one to another, so known is the UUID it was found to have before,
// or empty.
func Resolve(spec *v1alpha1.LiveMigrationSpec, known string, inv *Inventory, arrivals Arrivals, now time.Time) Resolution {
	res := find(spec, inv, arrivals)
	if res.DomainUUID == "" {
		res.DomainUUID = known
	}
	if arrival, ok := arrivals(res.DomainUUID); ok && res.DomainUUID != "" {
		res.awaitNews(arrival, now)
	}
	return res
}

func find(spec *v1alpha1.LiveMigrationSpec, inv *Inventory, arrivals Arrivals) Resolution {
	target, targetKnown := inv.Node(spec.TargetNode)
	source, sourceKnown := inv.Node(spec.SourceNode)
	sourceKnown = sourceKnown || spec.SourceNode == ""
	if !targetKnown || !sourceKnown {
		return nodesNotFound(spec, targetKnown, sourceKnown, inv)
	}
	known := settledBySource(spec, inv.places(spec.Domain))
	if len(known) == 0 && source.Unlisted > 0 && isUUID(spec.Domain) {
		// Its agent knows the guests that are too many for a list.
		return betweenNodes(spec, &source, &target, Resolution{DomainUUID: strings.ToLower(spec.Domain)})
	}
	if len(known) == 0 {
		return problem(v1alpha1.ReasonDomainNotFound, true,
			"No node lists a guest %q%s. Check the spelling, or ask an administrator whether the agent on its node is running",
			spec.Domain, missingFrom(inv))
	}
	if ids := uuids(known); len(ids) > 1 {
		return problem(v1alpha1.ReasonDomainAmbiguous, false,
			"%d guests are named %q: %s. Nothing was touched. Create another LiveMigration with the UUID of the guest to move as domain, or with the node it runs on as sourceNode",
			len(ids), spec.Domain, enumerate(placesOf(known)))
	}
	name := known[0].domain.Name
	// Another node may know it by another name.
	known = inv.places(known[0].domain.UUID)
	active := slices.DeleteFunc(slices.Clone(known), func(p place) bool { return !whole(p.domain) })
	if arrival, ok := arrivals(known[0].domain.UUID); ok {
		active = withoutOldNews(active, arrival)
	}
	res := resolveActive(spec, &target, known[0], active)
	res.DomainUUID, res.DomainName = known[0].domain.UUID, name
	return res
}

// nodesNotFound names all nodes that are not known.
func nodesNotFound(spec *v1alpha1.LiveMigrationSpec, targetKnown, sourceKnown bool, inv *Inventory) Resolution {
	var nodes, fields []string
	if !targetKnown {
		nodes, fields = append(nodes, fmt.Sprintf("the target node %q", spec.TargetNode)), append(fields, "targetNode")
	}
	if !sourceKnown {
		nodes, fields = append(nodes, fmt.Sprintf("the source node %q", spec.SourceNode)), append(fields, "sourceNode")
	}
	return problem(v1alpha1.ReasonNodeNotFound, true,
		"No agent serves %s, so the guest was not touched. Nodes with an agent: %s. Create another LiveMigration with the right %s, or ask an administrator to start the agent there",
		strings.Join(nodes, " or "), inv.names(), strings.Join(fields, " and "))
}

// settledBySource narrows guests that share a name down to that of the source node.
func settledBySource(spec *v1alpha1.LiveMigrationSpec, known []place) []place {
	if spec.SourceNode == "" || len(uuids(known)) < 2 {
		return known
	}
	there := slices.DeleteFunc(slices.Clone(known), func(p place) bool { return p.node.Name != spec.SourceNode })
	ids := uuids(there)
	if len(ids) != 1 {
		return known
	}
	return slices.DeleteFunc(known, func(p place) bool { return p.domain.UUID != ids[0] })
}

// withoutOldNews leaves out what nodes that are not ready have listed of a guest which
// has arrived elsewhere, and is listed there: they say what was once.
func withoutOldNews(active []place, arrival Arrival) []place {
	listed := slices.ContainsFunc(active, func(p place) bool { return p.node.Name == arrival.Node })
	if !listed {
		return active
	}
	return slices.DeleteFunc(active, func(p place) bool { return !p.node.Ready && p.node.Name != arrival.Node })
}

func resolveActive(spec *v1alpha1.LiveMigrationSpec, target *Node, known place, active []place) Resolution {
	switch {
	case len(active) == 0:
		return problem(v1alpha1.ReasonDomainNotRunning, true,
			"The guest %q is not running (%s on %s), and only a running guest can be moved live. Ask an administrator to start it there, and then create another LiveMigration",
			spec.Domain, known.domain.State, known.node.Name)
	case len(active) > 1:
		return onSeveralNodes(spec, active)
	}
	return betweenNodes(spec, active[0].node, target, Resolution{})
}

// betweenNodes adds to res the node that the guest is on, and whether it can go from there
// to the target.
func betweenNodes(spec *v1alpha1.LiveMigrationSpec, at, target *Node, res Resolution) Resolution {
	res.SourceNode, res.TargetNode = at.Name, target.Name
	switch {
	case spec.SourceNode != "" && spec.SourceNode != at.Name:
		res.fail(v1alpha1.ReasonDomainNotOnSource, true,
			"The guest %q runs on %s, not on %s. Nothing was touched. Create another LiveMigration with the right sourceNode, or without one%s", spec.Domain, at.Name, spec.SourceNode, alsoNotReady(at, target))
	case at.Name == target.Name && !target.Ready:
		res.fail(v1alpha1.ReasonNodeNotReady, true, "The guest %q seems to run on %s already, but that node is not ready: %s. Create another LiveMigration when it is ready",
			spec.Domain, target.Name, target.Message)
	case at.Name == target.Name:
		res.AlreadyOnTarget = true
	case !at.Ready && !target.Ready:
		res.fail(v1alpha1.ReasonNodeNotReady, true, "The guest stays on the source node %s, which is not ready: %s. Neither is the target node %s: %s. "+
			"Create another LiveMigration when both are ready", at.Name, at.Message, target.Name, target.Message)
	case !at.Ready:
		res.fail(v1alpha1.ReasonNodeNotReady, true, "The guest stays on the source node %s, which is not ready: %s. Create another LiveMigration when it is ready", at.Name, at.Message)
	case !target.Ready:
		res.fail(v1alpha1.ReasonNodeNotReady, true, "The guest stays on %s, as the target node %s is not ready: %s. Create "+
			"another LiveMigration when it is ready, or one with another target", at.Name, target.Name, target.Message)
	}
	return res
}

// alsoNotReady says which of the nodes that a guest would go between are not ready, to be
// put behind another problem.
func alsoNotReady(at, target *Node) string {
	var out strings.Builder
	for _, n := range []*Node{at, target} {
		if !n.Ready && (n == at || n.Name != at.Name) {
			fmt.Fprintf(&out, ". %s is not ready, either: %s", n.Name, n.Message)
		}
	}
	return out.String()
}

// onSeveralNodes tells apart the halves of one guest, of which none may be stopped, and
// copies.
func onSeveralNodes(spec *v1alpha1.LiveMigrationSpec, active []place) Resolution {
	halves := slices.ContainsFunc(active, func(p place) bool {
		return SideOf(&v1alpha1.DomainObservation{State: p.domain.State, Reason: p.domain.Reason}) == SidePostcopy
	})
	if halves {
		return problem(v1alpha1.ReasonDomainOnSeveralNodes, true,
			"The guest %q is in the middle of a post-copy migration between %s: each node has a part of its memory. Stop neither part; "+
				"create another LiveMigration when that migration has ended", spec.Domain, placeNames(active))
	}
	var unheard strings.Builder
	for _, p := range active {
		if !p.node.Ready {
			fmt.Fprintf(&unheard, " What is known about %s may be out of date, because that node is not ready: %s. If it is switched off for good, "+
				"ask an administrator to delete its Hypervisor.", p.node.Name, p.node.Message)
		}
	}
	return problem(v1alpha1.ReasonDomainOnSeveralNodes, true,
		"The guest %q is active on %s at the same time. Nothing was touched.%s Ask an administrator to find out from the guest's console which copy is right, and to destroy the other with `virsh destroy`",
		spec.Domain, placeNames(active), unheard.String())
}

// awaitNews makes a resolution that contradicts a migration which has just ended wait
// for the lists of guests to catch up.
func (r *Resolution) awaitNews(arrival Arrival, now time.Time) {
	until := arrival.Time.Add(NewsDelay)
	if r.SourceNode == arrival.Node || !now.Before(until) {
		return
	}
	r.fail(v1alpha1.ReasonResolving, true, "The guest has just been moved to %s; waiting for that node to report it", arrival.Node)
	r.AlreadyOnTarget, r.AwaitUntil = false, until
}

func problem(reason string, transient bool, format string, args ...any) Resolution {
	var r Resolution
	r.fail(reason, transient, format, args...)
	return r
}

func (r *Resolution) fail(reason string, transient bool, format string, args ...any) {
	r.Problem = &v1alpha1.Problem{Reason: reason, Message: fmt.Sprintf(format, args...)}
	r.Transient = transient
}

// whole reports whether the domain is a guest rather than the shell of an
// incoming migration or a definition.
func whole(d v1alpha1.HypervisorDomain) bool {
	side := SideOf(&v1alpha1.DomainObservation{State: d.State, Reason: d.Reason})
	return side == SideLive || side == SidePostcopy
}

func uuids(ps []place) []string {
	ids := make([]string, 0, len(ps))
	for _, p := range ps {
		ids = append(ids, p.domain.UUID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// placesOf says for people which guest is on which node.
func placesOf(ps []place) []string {
	out := make([]string, 0, len(ps))
	for _, p := range ps {
		out = append(out, p.domain.UUID+" on "+p.node.Name)
	}
	return out
}

func placeNames(ps []place) string {
	out := make([]string, 0, len(ps))
	for _, p := range ps {
		out = append(out, p.node.Name)
	}
	if len(out) == 2 {
		return out[0] + " and " + out[1]
	}
	return enumerate(out)
}

func missingFrom(inv *Inventory) string {
	var where string
	if lost := inv.notReady(); lost != "" {
		where = ". It may be on a node that is not ready: " + lost
	}
	if partial := inv.partial(); partial != "" {
		where += ". It may be one of the guests that did not fit into a node's list (" + partial + "): if so, create another LiveMigration with its UUID as domain and that node as sourceNode"
	}
	return where
}
