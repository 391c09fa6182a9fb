//go:build e2e

package xmlrewrite

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/beevik/etree"
)

var schemas = flag.String("schemas", "/usr/share/libvirt/schemas", "folder of libvirt's RNG schemas, which its library comes with")

// TestSchemaIsClassified goes through libvirt's own schema of a domain's XML
// and finds each place, by its path, in the table of what can name something of
// the host. What the schema gains with another version of libvirt has to be
// classified first; give -schemas to see what that is.
func TestSchemaIsClassified(t *testing.T) {
	g := readGrammar(t, "domaincommon.rng")
	places := make(map[string]bool)
	g.walk(g.defines["domain"], nil, places, nil)
	if len(places) < 2000 {
		t.Fatalf("the schema has only %d places: it was not understood", len(places))
	}
	for _, path := range slices.Sorted(maps.Keys(places)) {
		if !classified(path) {
			t.Errorf("not in hostrefs.txt: %s", path)
		}
	}
}

// classified reports whether the table has a place, whatever conditions it
// names. The path has the names of the elements below domain, and the place.
func classified(path string) bool {
	elements, place, _ := strings.Cut(path, "@")
	states := []refState{{node: &hostRefs().root}}
	for name := range strings.SplitSeq(strings.TrimPrefix(elements, "/"), "/") {
		if name == "" {
			break // The domain itself.
		}
		states = statesOf(nil, states, name, nil)
		if slices.ContainsFunc(states, func(s refState) bool { return s.node.all }) {
			return true
		}
	}
	return slices.ContainsFunc(states, func(s refState) bool {
		return place == refElement && s.node.known || place != refElement && len(s.node.rows[place]) > 0
	})
}

// grammar is a RELAX NG schema.
type grammar struct {
	defines map[string][]*etree.Element
}

func readGrammar(t *testing.T, file string) *grammar {
	t.Helper()
	g := &grammar{defines: make(map[string][]*etree.Element)}
	read := make(map[string]bool)
	var include func(string)
	include = func(file string) {
		if read[file] {
			return
		}
		read[file] = true
		doc := etree.NewDocument()
		text, err := os.ReadFile(filepath.Join(*schemas, file))
		if err != nil {
			t.Fatalf("this test needs libvirt's schemas, which come with the package libvirt0 or libvirt-common: %v", err)
		}
		if err := doc.ReadFromBytes(text); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, e := range doc.Root().ChildElements() {
			switch e.Tag {
			case "include":
				include(e.SelectAttrValue("href", ""))
			case "define":
				name := e.SelectAttrValue("name", "")
				g.defines[name] = append(g.defines[name], e)
			}
		}
	}
	include(file)
	return g
}

// walk notes the places that the patterns allow in an element, whose path is
// that of the patterns' elements without the domain's own. A pattern that is in
// itself is looked at once.
func (g *grammar) walk(patterns []*etree.Element, path []string, places map[string]bool, inside []*etree.Element) {
	for _, p := range patterns {
		if slices.Contains(inside, p) {
			continue
		}
		within := append(slices.Clip(inside), p)
		switch p.Tag {
		case "element":
			if p.SelectAttr("ns") != nil {
				continue // Not libvirt's own language, so it is always warned about.
			}
			for _, name := range namesOf(p) {
				below := append(slices.Clip(path), name)
				note(places, below, refElement)
				g.walk(p.ChildElements(), below, places, within)
			}
		case "attribute":
			for _, name := range namesOf(p) {
				note(places, path, name)
			}
		case "text", "data", "value":
			note(places, path, refText)
		case "ref":
			g.walk(g.defines[p.SelectAttrValue("name", "")], path, places, within)
		case "name", "anyName", "nsName", "except":
		default: // Others only group.
			g.walk(p.ChildElements(), path, places, within)
		}
	}
}

func note(places map[string]bool, path []string, place string) {
	if len(path) > 0 {
		places["/"+strings.Join(path[1:], "/")+"@"+place] = true
	}
}

// namesOf returns the names that an element or attribute of the schema can
// have. Any name at all is what metadata allow.
func namesOf(p *etree.Element) []string {
	if name := p.SelectAttrValue("name", ""); name != "" {
		return []string{name}
	}
	var names []string
	for _, e := range p.FindElements("./name | ./choice/name") {
		names = append(names, e.Text())
	}
	return names
}
