package xmlrewrite

import "github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"

// holder is a device of the guest that is bound to one device of its host.
type holder struct {
	at    *xmltree.Node
	key   string // What it is bound to, in canonical form.
	guest string // Its address inside the guest, in canonical form.
	bind  func(to string)
}

// mapping is one entry of a map from devices of the source to the target's.
type mapping struct {
	from, to string
	guest    string // If set, the device is found by this.
	field    string
}

// deviceMap rebinds devices by a map. All is decided on the original
// addresses, so entries may swap and chain them.
type deviceMap struct {
	p        *planner
	field    string
	what     string // What is mapped, in words.
	holders  []holder
	mappings []mapping

	others []holder // What the guest's other definition has.

	byKey   map[string]int  // From a key to its holder.
	byGuest map[string]int  // From an address inside the guest to its holder.
	seen    map[string]bool // The keys of the others.
	seenIn  map[string]bool // The addresses inside the guest of the others.
	bySrc   map[string]int  // From a source to its mapping.
	byDst   map[string]bool // The targets.
	settled []bool          // By holder: an entry has decided about it.
	final   []string        // By holder: what it will be bound to.
	visited []bool          // By mapping.
}

// rebind plans the map: every holder must be mapped, every entry must have a
// holder, and no two holders may end up on one device.
func (m *deviceMap) rebind() {
	if !m.index() {
		return
	}
	for i := range m.mappings {
		if m.mappings[i].guest != "" {
			m.byGuestAddress(i)
		}
	}
	var chains [][]int
	for i, e := range m.mappings {
		if !m.visited[i] && !m.byDst[e.from] {
			chains = append(chains, m.chain(i))
		}
	}
	done := len(chains) > 0
	for _, chain := range chains {
		done = done && m.carriedOut(chain)
	}
	for _, chain := range chains {
		m.carryOut(chain, done)
	}
	for i := range m.mappings {
		if !m.visited[i] {
			m.carryOut(m.chain(i), false) // What is left are rings.
		}
	}
	m.finish()
}

// index prepares the lookups and checks that the map is one to one.
func (m *deviceMap) index() bool {
	m.byKey = make(map[string]int, len(m.holders))
	m.byGuest = make(map[string]int, len(m.holders))
	m.seen = make(map[string]bool, len(m.others))
	m.seenIn = make(map[string]bool, len(m.others))
	for _, o := range m.others {
		m.seen[o.key], m.seenIn[o.guest] = true, true
	}
	m.bySrc = make(map[string]int, len(m.mappings))
	m.byDst = make(map[string]bool, len(m.mappings))
	m.settled = make([]bool, len(m.holders))
	m.final = make([]string, len(m.holders))
	m.visited = make([]bool, len(m.mappings))
	good := true
	for i, h := range m.holders {
		if _, twice := m.byKey[h.key]; twice {
			m.p.report(ProblemAmbiguous, placeOf(m.field), h.at, "two of the guest's devices use the same "+m.what+" of the source host; detach one of them first")
			good = false
		}
		m.byKey[h.key], m.final[i] = i, h.key
		if _, twice := m.byGuest[h.guest]; !twice {
			m.byGuest[h.guest] = i
		}
	}
	sources := make(map[string]int, len(m.mappings))
	targets := make(map[string]int, len(m.mappings))
	for i, e := range m.mappings {
		if other, twice := sources[e.from]; twice {
			m.p.report(ProblemAmbiguous, placeOf(e.field+".source"), nil, "entry "+itoa(other)+" has the same source; remove one of the two")
			good = false
		}
		if other, twice := targets[e.to]; twice {
			m.p.report(ProblemConflict, placeOf(e.field+".target"), nil, "entry "+itoa(other)+" has the same target; give each device a target of its own")
			good = false
		}
		sources[e.from], targets[e.to] = i, i
		if e.guest == "" {
			m.bySrc[e.from], m.byDst[e.to] = i, true
		}
	}
	return good
}

// byGuestAddress rebinds the device at an address inside the guest. That
// address never changes, so this can be repeated whatever the map looks like.
func (m *deviceMap) byGuestAddress(i int) {
	e := m.mappings[i]
	m.visited[i] = true
	if h, found := m.byGuest[e.guest]; found {
		m.p.warnOfMissingOther(placeOf(e.field+".guestAddress"), m.holders[h].at)
		if key := m.holders[h].key; key != e.from && (key != e.to || m.seen[e.from]) {
			if m.p.inactive {
				return // Another device, which the running guest does not have.
			}
			m.p.report(ProblemConflict, placeOf(e.field+".source"), m.holders[h].at, "the device at this address inside the guest is "+key+" on the source host; correct source or guestAddress")
		}
		m.settled[h], m.final[h] = true, e.to
		return
	}
	if !m.hasOther(e) {
		m.p.report(ProblemNotFound, placeOf(e.field+".guestAddress"), nil, "the guest has no such device at this address; correct or remove the entry")
	}
}

// hasOther reports whether an entry that means no device here means one of the
// guest's other definition.
func (m *deviceMap) hasOther(e mapping) bool {
	return m.p.elsewhere(func(*guest) bool { return m.seen[e.from] || e.guest != "" && m.seenIn[e.guest] })
}

// present returns the holder with the key, unless it was found by its address
// inside the guest.
func (m *deviceMap) present(key string) (int, bool) {
	h, ok := m.byKey[key]
	return h, ok && (!m.settled[h])
}

// chain returns the entries that follow one another from here: the target of
// each is the source of the next.
func (m *deviceMap) chain(start int) []int {
	var chain []int
	i, more := start, true
	for more && !m.visited[i] {
		m.visited[i] = true
		chain = append(chain, i)
		i, more = m.bySrc[m.mappings[i].to]
	}
	return chain
}

// carriedOut reports whether the guest looks as it does after the chain was
// carried out: its devices are at the targets, and none is at the start. That
// is how a rewrite that is repeated finds it. A ring looks the same before and
// after, so this cannot be told of rings. If the guest's other definition has the
// device at the start, nothing was carried out: what is at a target here is another
// device of the source.
func (m *deviceMap) carriedOut(chain []int) bool {
	start := m.mappings[chain[0]].from
	if _, there := m.present(start); there || m.seen[start] {
		return false
	}
	for _, i := range chain {
		if _, there := m.present(m.mappings[i].to); !there {
			return false
		}
	}
	return true
}

// carryOut binds the devices of a chain to their targets, where that is not
// done yet.
func (m *deviceMap) carryOut(chain []int, done bool) {
	bound := make([]int, 0, len(chain))
	for _, i := range chain {
		e := m.mappings[i]
		if done {
			h := m.byKey[e.to]
			bound = append(bound, h)
			m.p.warn(placeOf(e.field+".source"), m.holders[h].at,
				"the guest does not use the "+m.what+" "+m.mappings[chain[0]].from+", but has those that the list leads to; so this one, "+e.to+
					", is kept as mapped by an earlier rewrite. If there was none, correct source")
			continue
		}
		h, ok := m.present(e.from)
		if ok {
			m.final[h] = e.to
			bound = append(bound, h)
		} else if !m.hasOther(e) {
			m.p.report(ProblemNotFound, placeOf(e.field+".source"), nil,
				"the guest does not use this "+m.what+"; correct or remove the entry")
		}
	}
	for _, h := range bound {
		m.settled[h] = true
	}
}

// finish refuses devices that nothing maps, and collisions, and records the edits.
func (m *deviceMap) finish() {
	owner := make(map[string]int, len(m.holders))
	for i, h := range m.holders {
		if other, taken := owner[m.final[i]]; taken {
			m.p.report(ProblemConflict, placeOf(m.field), h.at, "this device and "+m.holders[other].at.Path()+" would become the same "+m.what+" of the target; map each to one of its own")
		}
		owner[m.final[i]] = i
		switch {
		case m.settled[i]:
			h.bind(m.final[i])
			m.claim(h, m.final[i])
		default:
			m.p.report(ProblemMissingData, placeOf(m.field), h.at,
				"the guest uses the "+m.what+" "+h.key+" of the source host; map it to one of the target, or detach it from the guest first")
		}
	}
}

// claim notes that a device uses a PCI function of the target, as devices of other kinds may.
func (m *deviceMap) claim(h holder, to string) {
	if m.field != pciField {
		return
	}
	for _, e := range m.mappings {
		if e.to == to {
			m.p.claims(pciKey(to), claim{field: placeOf(e.field), at: h.at})
			return
		}
	}
}
