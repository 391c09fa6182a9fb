package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/virtferry/virtferry/pkg/hypervisor"
)

const (
	// hostInterval is the time between two reads of what the host is, where its
	// libvirt has not been away: that does not change with a guest.
	hostInterval = 10 * time.Minute
	// maxStuck is how many guests may hold libvirt up before it counts as not
	// answering: each takes one of libvirt's workers for as long as it does.
	maxStuck = 4
)

// inventory is what a node is known to have.
type inventory struct {
	node     *Node
	recorder HypervisorRecorder

	// host is what was read of it last, and hostStale whether it has to be read
	// again.
	host      *hypervisor.HostInfo
	hostRead  time.Time
	hostStale bool
	// known are the guests as they were listed last, by their UUIDs; nil before.
	known map[string]hypervisor.Domain
	// heard are the guests of which there was news since, and stuck those of which
	// libvirt does not answer.
	heard map[string]bool
	stuck map[string]bool
}

// findings are the result of a look.
type findings struct {
	host    hypervisor.HostInfo
	domains []hypervisor.Domain
	// warning says which of the domains are not known as they are now.
	warning string
}

// note takes an event in and reports whether it is news of the node.
func (i *inventory) note(e hypervisor.Event) bool {
	switch e.Type {
	case hypervisor.EventResync:
		i.hostStale = true
		return true
	case hypervisor.EventLifecycle:
		if i.heard == nil {
			i.heard = map[string]bool{}
		}
		i.heard[e.UUID] = true
		return true
	case hypervisor.EventIteration, hypervisor.EventJobCompleted:
	}
	return false
}

// read looks at the node.
func (i *inventory) read(ctx context.Context) (findings, error) {
	var f findings
	var err error
	if f.domains, f.warning, err = i.domains(ctx); err != nil {
		i.hostStale = true
		return f, err
	}
	i.node.listed.Store(&listing{domains: f.domains, stuck: maps.Clone(i.stuck)})
	f.host, err = i.readHost(ctx)
	return f, err
}

func (i *inventory) readHost(ctx context.Context) (hypervisor.HostInfo, error) {
	now := i.node.Clock.Now()
	if i.host != nil && !i.hostStale && now.Sub(i.hostRead) < hostInterval {
		return *i.host, nil
	}
	host, err := i.node.Hypervisor.HostInfo(ctx)
	if err != nil {
		i.hostStale = true
		return host, err
	}
	i.host, i.hostRead, i.hostStale = &host, now, false
	return host, nil
}

// domains lists the guests. A guest that holds libvirt up holds the list up as well:
// then each is looked up by itself, and of the one that does not answer the last that
// is known is repeated.
func (i *inventory) domains(ctx context.Context) ([]hypervisor.Domain, string, error) {
	domains, err := i.node.Hypervisor.ListDomains(ctx)
	if hypervisor.KindOf(err) == hypervisor.KindTimeout {
		// Whether libvirt answers at all, the host tells.
		i.hostStale = true
		return i.oneByOne(ctx, err)
	}
	if err != nil {
		return nil, "", err
	}
	i.heard, i.stuck, i.known = nil, nil, map[string]hypervisor.Domain{}
	for _, d := range domains {
		i.known[d.UUID] = d
	}
	return domains, "", nil
}

// oneByOne looks up the guests that are known or were heard of since. It fails with
// cause where there are none, or too many do not answer.
func (i *inventory) oneByOne(ctx context.Context, cause error) ([]hypervisor.Domain, string, error) {
	if err := i.recall(ctx); err != nil {
		return nil, "", err
	}
	uuids := slices.Collect(maps.Keys(i.known))
	for uuid := range i.heard {
		if _, known := i.known[uuid]; !known {
			uuids = append(uuids, uuid)
		}
	}
	for _, uuid := range uuids {
		switch {
		case len(i.stuck) > maxStuck:
			return nil, "", cause
		case i.stuck[uuid]:
			continue
		}
		domain, err := i.node.Hypervisor.LookupDomain(ctx, uuid)
		switch {
		case err == nil:
			i.known[uuid] = domain
		case hypervisor.IsNoDomain(err):
			delete(i.known, uuid)
		case hypervisor.KindOf(err) != hypervisor.KindTimeout:
			return nil, "", err
		default:
			i.noteStuck(uuid)
		}
	}
	if len(i.known) == 0 || len(i.stuck) > maxStuck {
		return nil, "", cause
	}
	domains := slices.SortedFunc(maps.Values(i.known), func(a, b hypervisor.Domain) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UUID, b.UUID))
	})
	return domains, i.warning(), nil
}

// recall takes over which guests an earlier process has published, where this one
// has never listed them.
func (i *inventory) recall(ctx context.Context) error {
	if i.known != nil {
		return nil
	}
	status, err := i.recorder.LastRecorded(ctx)
	if err != nil {
		return fmt.Errorf("reading the last published status: %w", err)
	}
	i.known = map[string]hypervisor.Domain{}
	for _, d := range status.Domains {
		i.known[d.UUID] = hypervisor.Domain{
			UUID: d.UUID, Name: d.Name, State: hypervisor.State(d.State), Reason: hypervisor.Reason(d.Reason),
		}
	}
	return nil
}

// noteStuck remembers a guest that does not answer: it is not asked about again
// before the whole list can be read.
func (i *inventory) noteStuck(uuid string) {
	if i.stuck == nil {
		i.stuck = map[string]bool{}
	}
	i.stuck[uuid] = true
	i.node.Log.Info("libvirt does not answer for a guest; publishing its last known state", "domain", uuid)
}

// warning tells people which guests are not shown as they are.
func (i *inventory) warning() string {
	if len(i.stuck) == 0 {
		return "libvirt cannot list its guests; they are looked up one by one, and some may be missing"
	}
	names := make([]string, 0, len(i.stuck))
	for uuid := range i.stuck {
		names = append(names, cmp.Or(i.known[uuid].Name, uuid))
	}
	slices.Sort(names)
	return "libvirt does not answer for " + strings.Join(names, ", ") +
		"; what is shown for these guests may be out of date. Ask an administrator to find out what blocks them on the host, for example storage that does not respond"
}
