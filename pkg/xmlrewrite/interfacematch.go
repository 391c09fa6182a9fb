package xmlrewrite

import (
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const (
	// noInterface stands for an interface that the migrate data do not mention.
	noInterface = -1
	// ambiguousInterface stands for one of several that an entry may mean.
	ambiguousInterface = -2
	// otherInterface stands for one of the persistent definition that is emulated where the
	// running guest's, which the entry means, is passed through, or the other way round.
	otherInterface = -3
)

// nicEntry is what an entry of the list of interfaces says about which one it means.
type nicEntry struct {
	mac    string // Empty if it is malformed.
	guest  string // The address inside the guest; empty if the entry does not say.
	alias  string // Likewise.
	hosted bool   // It means an interface that is passed through.
	moves  bool   // It gives a source.
}

// isMarked reports whether the entry says more than a MAC address about which one it means.
func (e nicEntry) isMarked() bool { return e.guest != "" || e.alias != "" }

// marks reports whether what it says is so of an interface.
func (e nicEntry) marks(nic *xmltree.Node) bool {
	return (e.guest == "" || e.guest == guestAddress(nic)) && (e.alias == "" || e.alias == nic.Child("alias").Value("name"))
}

// fits reports whether an interface can become what the entry gives: what is emulated stays
// so, and so does what is passed through.
func (e nicEntry) fits(nic *xmltree.Node) bool {
	return !e.moves || (nic.Value("type") == "hostdev") == e.hosted
}

// interfaceMatches finds the entry that means each interface, and reports entries that
// mean none or several.
func (p *planner) interfaceMatches() []int {
	if p.nicMatches != nil {
		return p.nicMatches
	}
	nics := p.devices("interface")
	p.nicMatches = make([]int, len(nics))
	for i := range nics {
		p.nicMatches[i] = noInterface
	}
	entries := p.nicEntries()
	marked := markedEntries(entries)
	here, there := p.doc.nicsByMAC(), map[string][]int(nil)
	if p.other != nil {
		there = p.other.nicsByMAC()
	}
	for i, e := range entries {
		if e.mac == "" {
			continue
		}
		found := e.among(nics, here[e.mac], marked[e.mac])
		means := func(d *guest) []int { return e.among(d.devices("interface"), there[e.mac], marked[e.mac]) }
		switch {
		case len(found) != 1 || p.nicMatches[found[0]] != noInterface:
			p.reportInterfaceEntry(i, found, func(d *guest) bool { return len(means(d)) > 0 })
		case !e.fits(nics[found[0]]) && p.meansOther(e, means):
			p.nicMatches[found[0]] = otherInterface
		default:
			p.nicMatches[found[0]] = i
		}
	}
	return p.nicMatches
}

// markedEntries returns the entries that say more than a MAC address, by that.
func markedEntries(entries []nicEntry) map[string][]nicEntry {
	marked := make(map[string][]nicEntry)
	for _, e := range entries {
		if e.isMarked() {
			marked[e.mac] = append(marked[e.mac], e)
		}
	}
	return marked
}

// meansOther reports whether the definition at hand is the persistent one, and the entry means
// an interface of the running guest's that can become what it gives.
func (p *planner) meansOther(e nicEntry, means func(*guest) []int) bool {
	if !p.inactive || p.other == nil {
		return false
	}
	running := p.other.devices("interface")
	return slices.ContainsFunc(means(p.other), func(i int) bool { return e.fits(running[i]) })
}

// reportInterfaceEntry reports an entry that does not mean one interface of its own.
func (p *planner) reportInterfaceEntry(entry int, found []int, has func(*guest) bool) {
	field := placeOf(interfacesField).entry(entry).dot("macAddress")
	if len(found) == 0 {
		if !p.elsewhere(has) {
			p.report(ProblemNotFound, field, nil, "the guest has no such interface; correct or remove the entry")
		}
		return
	}
	for _, nic := range found {
		p.nicMatches[nic] = ambiguousInterface
	}
	p.report(ProblemAmbiguous, field, p.devices("interface")[found[len(found)-1]],
		"the guest has several interfaces with this MAC address; give an entry for each, with its guestAddress, or with its alias if the guest's definition gives it one that starts with ua-")
}

// among returns which of the interfaces with its MAC address an entry means. If it says no
// more than that, it means one that no other entry says more about and, of a
// passed-through function and the virtio interface that stands in for it, the one of
// the kind that it asks for.
func (e nicEntry) among(nics []*xmltree.Node, sameMAC []int, marked []nicEntry) []int {
	var found, ofKind []int
	for _, i := range sameMAC {
		others := func(other nicEntry) bool { return other.marks(nics[i]) }
		if e.isMarked() && !e.marks(nics[i]) || !e.isMarked() && slices.ContainsFunc(marked, others) {
			continue
		}
		found = append(found, i)
		if (nics[i].Value("type") == "hostdev") == e.hosted {
			ofKind = append(ofKind, i)
		}
	}
	if len(found) > 1 && len(ofKind) > 0 {
		return ofKind
	}
	return found
}

// nicEntries reads what the entries mean, and reports what is malformed or twice.
func (p *planner) nicEntries() []nicEntry {
	entries := make([]nicEntry, len(p.data.Interfaces))
	seen := make(map[[3]string]int, len(entries))
	for i := range entries {
		want, field := &p.data.Interfaces[i], placeOf(interfacesField).entry(i)
		mac, ok := parseMAC(string(want.MACAddress))
		if !ok {
			p.report(ProblemInvalidValue, field.dot("macAddress"), nil, "this must be a MAC address such as 52:54:00:12:34:56")
			continue
		}
		guest := ""
		if want.GuestAddress != nil {
			address, ok := p.checkGuestAddress(field.dot("guestAddress"), *want.GuestAddress)
			if !ok {
				continue
			}
			guest = address
		}
		alias := stringOf(want.Alias)
		if want.Alias != nil && !strings.HasPrefix(alias, "ua-") {
			p.report(ProblemInvalidValue, field.dot("alias"), nil, "this must be a name that the guest's definition gives, which starts with ua-; libvirt makes up other names anew when the guest starts")
			continue
		}
		if other, twice := seen[[3]string{mac, guest, alias}]; twice {
			p.report(ProblemAmbiguous, field.dot("macAddress"), nil, "entry "+itoa(other)+" has the same MAC address; merge the two, or tell them apart by guestAddress or alias")
			continue
		}
		seen[[3]string{mac, guest, alias}] = i
		entries[i] = nicEntry{mac: mac, guest: guest, alias: alias, moves: want.Source != nil, hosted: want.Source != nil && want.Source.HostDevice != nil}
	}
	return entries
}

// nicsByMAC finds interfaces by their MAC addresses.
func (g *guest) nicsByMAC() map[string][]int {
	found := make(map[string][]int)
	for i, nic := range g.devices("interface") {
		if mac, ok := parseMAC(nic.Child("mac").Value("address")); ok {
			found[mac] = append(found[mac], i)
		}
	}
	return found
}

// leftToPCIDevices reports whether an interface that no entry means is a function of the
// host that pciDevices maps: it has its MAC address in common with one that is listed.
func (p *planner) leftToPCIDevices(nic *xmltree.Node, mac string) bool {
	return isPCIInterface(nic) && slices.ContainsFunc(p.data.Interfaces, func(want v1alpha1.InterfaceMigrateData) bool {
		listed, ok := parseMAC(string(want.MACAddress))
		return ok && listed == mac
	})
}
