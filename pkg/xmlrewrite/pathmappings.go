package xmlrewrite

import (
	"path"
	"slices"
	"strings"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

const pathMappingsField = "pathMappings"

// pathMap maps paths of the source host for which there is no other field.
type pathMap struct {
	mappings []v1alpha1.PathMapping
	used     []bool
	refused  bool // It is wrong in itself, and maps nothing.

	here, there []pathsFound // By entry: what there is in the guest's definition, and in its other one.
	done        []bool       // By entry: an earlier rewrite has carried it out.
}

// pathsFound says which ends of an entry a definition has, among the paths that the map is for.
type pathsFound struct {
	from, to bool
	own      bool // A path that it maps, and to which no other entry leads.
}

// pathMap returns the map, which is made once.
func (p *planner) pathMap() *pathMap {
	if p.paths == nil {
		p.paths = p.newPathMap()
	}
	return p.paths
}

// newPathMap checks the list, whose paths may have more slashes than they need. Entries may
// swap paths and pass them on: each path is mapped once.
func (p *planner) newPathMap() *pathMap {
	m := &pathMap{mappings: slices.Clone(p.data.PathMappings), used: make([]bool, len(p.data.PathMappings))}
	before := len(p.problems)
	for i := range m.mappings {
		field := placeOf(pathMappingsField).entry(i)
		p.cleanEnd(&m.mappings[i].From, field.dot("from"))
		if !p.cleanEnd(&m.mappings[i].To, field.dot("to")) {
			m.mappings[i].To = "" // It is in no other entry's way.
		}
	}
	for i := range m.mappings {
		p.compareMappings(m.mappings, i, placeOf(pathMappingsField).entry(i))
	}
	m.refused = len(p.problems) > before
	if !m.refused {
		m.find(p)
	}
	return m
}

// cleanEnd checks an end of an entry and brings it into its shortest form.
func (p *planner) cleanEnd(end *string, field *place) bool {
	if !p.checkPath(field, *end) {
		return false
	}
	clean, ok := cleanPath(*end)
	if !ok || clean == "/" {
		p.report(ProblemInvalidValue, field, nil, "this must not have .. in it, or be the root of all files; give the path in full")
		return false
	}
	*end = clean
	return true
}

// compareMappings reports an entry that cannot be told from another, or from what it leads to.
func (p *planner) compareMappings(mappings []v1alpha1.PathMapping, i int, field *place) {
	mapping := mappings[i]
	for j, other := range mappings {
		switch {
		case i == j && mapping.From == mapping.To:
		case i > j && mapping.From == other.From:
			p.report(ProblemAmbiguous, field.dot("from"), nil, "entry "+itoa(j)+" has the same path; remove one of the two")
		case i == j && isBelow(mapping.To, mapping.From):
			p.report(ProblemConflict, field.dot("to"), nil, "this is below the path that it is to replace, and would be mapped again; choose another")
		}
	}
}

// isBelow reports whether a path is in a directory, or is the directory.
func isBelow(p, dir string) bool {
	rest, found := strings.CutPrefix(p, dir)
	return found && (rest == "" || rest[0] == '/')
}

// to returns what a path becomes on the target, by the entry for the longest part of it. A
// path that is on the target already, from an earlier rewrite, stays, and then done is the
// entry that has led there.
func (m *pathMap) to(text string) (to string, mapped bool, done int) {
	from, plain := cleanPath(text)
	if m.refused || !plain {
		return text, m.refused, -1 // Reported already.
	}
	if best := m.entry(from); best >= 0 && !m.done[best] {
		m.used[best] = true
		if to := m.mappings[best].To + from[len(m.mappings[best].From):]; to != from {
			return to, true, -1
		}
		return text, true, -1
	}
	done = -1
	for i, mapping := range m.mappings {
		if m.done[i] && isBelow(from, mapping.To) {
			done = i
		}
	}
	return text, done >= 0, done
}

// entry returns the entry for the longest part of a path; -1 if there is none.
func (m *pathMap) entry(from string) int {
	best := -1
	for i, mapping := range m.mappings {
		if isBelow(from, mapping.From) && (best < 0 || len(mapping.From) > len(m.mappings[best].From)) {
			best = i
		}
	}
	return best
}

// MapPath returns what pathMappings make of a path, as the rewrite does for the emulator.
func MapPath(data *v1alpha1.MigrateData, text string) string {
	from, plain := cleanPath(text)
	if data == nil || !plain {
		return text
	}
	m := &pathMap{mappings: slices.Clone(data.PathMappings)}
	for i := range m.mappings {
		m.mappings[i].From, _ = cleanPath(m.mappings[i].From)
		m.mappings[i].To, _ = cleanPath(m.mappings[i].To)
	}
	best := m.entry(from)
	if best < 0 {
		return text
	}
	return m.mappings[best].To + from[len(m.mappings[best].From):]
}

// field returns the entry that maps a path; nil if there is none.
func (m *pathMap) field(text string) *place {
	at, _ := cleanPath(text)
	if i := m.entry(at); i >= 0 {
		return placeOf(pathMappingsField).entry(i)
	}
	return nil
}

// find notes what there is in both of the guest's definitions, and which entries an earlier
// rewrite has carried out.
func (m *pathMap) find(p *planner) {
	if len(m.mappings) == 0 {
		return
	}
	m.here = m.findIn(p.domain)
	m.there = make([]pathsFound, len(m.mappings))
	if p.other != nil {
		m.there = m.findIn(p.other.Root)
	}
	rings := make([]bool, len(m.mappings))
	for i := range m.mappings {
		rings[i] = m.reach(i, m.follows)[i]
	}
	m.done = make([]bool, len(m.mappings))
	for i := range m.mappings {
		m.done[i] = m.isDone(i, rings)
	}
}

// findIn looks at those paths of a definition that the map is for.
func (m *pathMap) findIn(domain *xmltree.Node) []pathsFound {
	found, disks := make([]pathsFound, len(m.mappings)), &diskDevices{}
	walkPlaces(domain, func(row *refRow, n *xmltree.Node, place, value string) {
		clean, plain := cleanPath(value)
		if !plain || !row.canMap(n, place, value, disks) {
			return
		}
		best, own := m.entry(clean), true
		for i, mapping := range m.mappings {
			if isBelow(clean, mapping.To) {
				found[i].to = true
				own = own && (i == best || !m.leads(i))
			}
		}
		if best >= 0 {
			found[best].from, found[best].own = true, found[best].own || own
		}
	})
	return found
}

// leads reports whether an entry leads anywhere else.
func (m *pathMap) leads(i int) bool { return m.mappings[i].From != m.mappings[i].To }

// follows reports whether an entry maps something of what another leads to.
func (m *pathMap) follows(next, i int) bool {
	from, to := m.mappings[next].From, m.mappings[i].To
	return next != i && m.leads(next) && m.leads(i) && (isBelow(to, from) || isBelow(from, to))
}

// isDone reports whether the guest looks as it does after an entry was carried out, and all
// that it is linked with: there are paths to which each of them leads, and none that only
// the source has. If they lead in a circle, it looks the same before and after, so this
// cannot be told.
func (m *pathMap) isDone(start int, rings []bool) bool {
	linked := m.reach(start, func(next, i int) bool { return m.follows(next, i) || m.follows(i, next) })
	for i, is := range linked {
		if !is && i != start {
			continue
		}
		if m.here[i].own || m.there[i].own || !m.here[i].to && !m.there[i].to || rings[i] {
			return false
		}
	}
	return true
}

// reach returns which entries one comes to from an entry, step by step.
func (m *pathMap) reach(start int, step func(next, i int) bool) []bool {
	reached, todo := make([]bool, len(m.mappings)), []int{start}
	for len(todo) > 0 {
		i := todo[0]
		todo = todo[1:]
		for next := range m.mappings {
			if !reached[next] && step(next, i) {
				reached[next] = true
				todo = append(todo, next)
			}
		}
	}
	return reached
}

// reportUnused reports entries that map nothing in either of the guest's definitions.
func (p *planner) reportUnused(m *pathMap) {
	for i := range m.mappings {
		if m.refused || m.used[i] || m.done[i] || p.elsewhere(func(*guest) bool { return m.there[i].from || m.there[i].to && !m.here[i].from }) {
			continue
		}
		p.report(ProblemNotFound, placeOf(pathMappingsField).entry(i).dot("from"), nil,
			"the guest has no such path that this list maps; correct or remove the entry, and use volumes, interfaces and virtualPMEM for theirs")
	}
}

// isHostPath reports whether a place holds a path of the host for which there is no field
// but that for any path.
func (r *refRow) isHostPath(value string) bool {
	if r == nil || !isPlainPath(value) {
		return false
	}
	return r.class == refSame || r.class == refHarmless && r.when != nil || r.class == refBound && r.paths
}

// isMapped reports whether a field maps a place.
func (r *refRow) isMapped() bool { return r != nil && r.class == refMapped }

// canMap reports whether the map of paths is for a place: for those that have no other
// field, and for those of which volumes has no word.
func (r *refRow) canMap(n *xmltree.Node, place, value string, disks *diskDevices) bool {
	if isServersName(n, place) {
		return false
	}
	return r.isHostPath(value) ||
		r.isMapped() && isPlainPath(value) && (inBackingChain(n) || disks.missLimit(n))
}

// isServersName reports whether a place holds the name by which a server knows an image. It
// may look like a path, but is none of the host's.
func isServersName(n *xmltree.Node, place string) bool {
	return n.Name == "source" && place == "name" && n.HasAttr("protocol")
}

// isPlainPath reports whether a path is absolute and leads nowhere else than it says.
func isPlainPath(text string) bool {
	_, plain := cleanPath(text)
	return plain
}

// cleanPath returns an absolute path in its shortest form, if that is sure to be the same
// one: what .. leads to depends on the host.
func cleanPath(text string) (clean string, ok bool) {
	if !strings.HasPrefix(text, "/") || strings.Contains(text+"/", "/../") {
		return text, false
	}
	return path.Clean(text), true
}

// inBackingChain reports whether an element is in the backing chain of a disk, or says where
// an image keeps its data, for whose paths volumes has no word.
func inBackingChain(n *xmltree.Node) bool {
	for ; n != nil; n = n.Parent {
		if n.Name == "backingStore" || n.Name == "dataStore" {
			return true
		}
	}
	return false
}
