package migration

import (
	"fmt"
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
}

// Resolution says which guest a migration moves, from where and to where.
type Resolution struct {
	DomainUUID string
	DomainName string
	SourceNode string
	TargetNode string
	// AlreadyOnTarget is whether there is nothing to do.
	AlreadyOnTarget bool
	// Problem is why the migration cannot go ahead; nil if it can.
	Problem *v1alpha1.Problem
	// Transient is whether the problem may be one of news that has not come in
	// yet, so that it is worth a short wait.
	Transient bool
}

// place is a guest on a node.
type place struct {
	node   Node
	domain v1alpha1.HypervisorDomain
}

// Resolve finds the guest and its nodes among the hypervisors.
func Resolve(spec *v1alpha1.LiveMigrationSpec, nodes []Node) Resolution {
	target := slices.IndexFunc(nodes, func(n Node) bool { return n.Name == spec.TargetNode })
	if target < 0 {
		return problem(v1alpha1.ReasonNodeNotFound, true,
			"No agent serves the target node %q; the nodes with one are: %s. Correct targetNode or start the agent there",
			spec.TargetNode, names(nodes))
	}
	if spec.SourceNode != "" && !slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == spec.SourceNode }) {
		return problem(v1alpha1.ReasonNodeNotFound, true,
			"No agent serves the source node %q; the nodes with one are: %s. Correct sourceNode or start the agent there",
			spec.SourceNode, names(nodes))
	}
	known := places(spec.Domain, nodes)
	if len(known) == 0 {
		return problem(v1alpha1.ReasonDomainNotFound, true,
			"No node has a guest %q; `kubectl get hypervisors -o yaml` lists those there are%s",
			spec.Domain, lostNodes(nodes))
	}
	if ids := uuids(known); len(ids) > 1 {
		return problem(v1alpha1.ReasonDomainAmbiguous, false,
			"Several guests are named %q: %s. Give the UUID of the one that is meant as domain", spec.Domain, strings.Join(ids, ", "))
	}
	active := slices.DeleteFunc(slices.Clone(known), func(p place) bool { return !whole(p.domain) })
	res := resolveActive(spec, nodes[target], known[0], active)
	res.DomainUUID, res.DomainName = known[0].domain.UUID, known[0].domain.Name
	return res
}

func resolveActive(spec *v1alpha1.LiveMigrationSpec, target Node, known place, active []place) Resolution {
	switch {
	case len(active) == 0:
		return problem(v1alpha1.ReasonDomainNotRunning, true,
			"The guest %q is not running (%s on %s): only a running guest can be moved live. Start it first",
			spec.Domain, known.domain.State, known.node.Name)
	case len(active) > 1:
		return problem(v1alpha1.ReasonDomainOnSeveralNodes, true,
			"The guest %q is active on %s at the same time. Nothing was touched: find out which copy is right and stop the other",
			spec.Domain, placeNames(active))
	}
	at := active[0].node
	res := Resolution{SourceNode: at.Name, TargetNode: target.Name}
	switch {
	case at.Name == target.Name && !target.Ready:
		res.fail(v1alpha1.ReasonNodeNotReady, true, "The guest %q seems to run on %s already, but that node is not ready: %s",
			spec.Domain, target.Name, target.Message)
	case at.Name == target.Name:
		res.AlreadyOnTarget = true
	case spec.SourceNode != "" && spec.SourceNode != at.Name:
		res.fail(v1alpha1.ReasonDomainNotOnSource, true,
			"The guest %q runs on %s, not on %s. Correct sourceNode or leave it out", spec.Domain, at.Name, spec.SourceNode)
	case !at.Ready:
		res.fail(v1alpha1.ReasonNodeNotReady, true, "The source node %s is not ready: %s", at.Name, at.Message)
	case !target.Ready:
		res.fail(v1alpha1.ReasonNodeNotReady, true, "The target node %s is not ready: %s", target.Name, target.Message)
	}
	return res
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

// places returns where guests of that name or UUID are known.
func places(domain string, nodes []Node) []place {
	id, err := uuid.Parse(domain)
	byUUID := err == nil && len(domain) == len(id.String())
	var found []place
	for _, n := range nodes {
		for _, d := range n.Domains {
			if byUUID && strings.EqualFold(d.UUID, domain) || !byUUID && d.Name == domain {
				found = append(found, place{node: n, domain: d})
			}
		}
	}
	return found
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

func placeNames(ps []place) string {
	out := make([]string, 0, len(ps))
	for _, p := range ps {
		out = append(out, p.node.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " and ")
}

func names(nodes []Node) string {
	if len(nodes) == 0 {
		return "none"
	}
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	slices.Sort(out)
	const most = 10
	if len(out) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(out[:most], ", "), len(out)-most)
	}
	return strings.Join(out, ", ")
}

func lostNodes(nodes []Node) string {
	lost := slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return n.Ready })
	if len(lost) == 0 {
		return ""
	}
	return fmt.Sprintf(". It may be on a node that is not ready: %s", names(lost))
}
