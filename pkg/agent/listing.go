package agent

import (
	"cmp"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// What the list of a Hypervisor's guests may come to. etcd takes 1.5 MiB at a time,
// and every reader gets the whole of it with each change.
const (
	maxListedDomains = 4096
	maxListedBytes   = 512 << 10
)

// The lengths that the API allows.
const (
	maxDomainName = 256
	maxStateName  = 64
)

// listDomains returns as many of the guests as a Hypervisor can hold, those that are
// active first, with their machine types by UUIDs, as far as they are known.
func listDomains(domains []hypervisor.Domain, machines map[string]string) []v1alpha1.HypervisorDomain {
	ordered := slices.Clone(domains)
	slices.SortStableFunc(ordered, func(a, b hypervisor.Domain) int { return cmp.Compare(rank(a), rank(b)) })
	var list []v1alpha1.HypervisorDomain
	size := 0
	for _, d := range ordered {
		entry, ok := listed(d)
		if !ok {
			continue
		}
		entry.MachineType = machines[d.UUID]
		if size += encodedSize(entry); size > maxListedBytes || len(list) == maxListedDomains {
			break
		}
		list = append(list, entry)
	}
	return list
}

func rank(d hypervisor.Domain) int {
	if d.Active() {
		return 0
	}
	return 1
}

// listed returns a guest as the API takes it: one odd name must not keep all others
// from being published. It reports false where there is nothing to know it by.
func listed(d hypervisor.Domain) (entry v1alpha1.HypervisorDomain, ok bool) {
	entry = v1alpha1.HypervisorDomain{
		UUID: d.UUID, State: cmp.Or(string(d.State), string(hypervisor.StateNoState)), Reason: string(d.Reason),
	}
	if utf8.ValidString(d.Name) && utf8.RuneCountInString(d.Name) <= maxDomainName {
		entry.Name = d.Name
	}
	return entry, hypervisor.IsUUID(d.UUID) && len(entry.State) <= maxStateName && len(entry.Reason) <= maxStateName
}

// encodedSize returns how many bytes an entry takes, with what separates it from the
// next, at most.
func encodedSize(entry v1alpha1.HypervisorDomain) int {
	text, err := json.Marshal(entry)
	if err != nil {
		return maxListedBytes
	}
	return len(text) + 1
}
