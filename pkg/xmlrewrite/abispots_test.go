package xmlrewrite

import (
	"slices"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// TestWhatFieldsMapBelongsToTheHost: a place that the table says is mapped by a field of the
// migrate data can be changed, so the comparison with the source must not take it for the
// guest's.
func TestWhatFieldsMapBelongsToTheHost(t *testing.T) {
	t.Parallel()
	// A field decides about the device, but these places are not written to, or only in
	// USB devices, which are looked at by themselves.
	untouched := []string{
		"devices/disk/source/address@multifunction", "devices/disk/source/address@type", "devices/disk/mirror@file",
		"devices/hostdev/source/address@multifunction", "devices/hostdev/source/address@type",
		"devices/hostdev/source/address@port", "devices/hostdev/source/address@device",
		"devices/hostdev/source/product@id", "devices/hostdev/source/vendor@id", "numatune/memory@placement",
	}
	seen := 0
	walkMapped(t, &hostRefs().root, "", nil, func(path, place string, leaf *xmltree.Node) {
		seen++
		s, hidden := spotOf(leaf)
		if !hidden && (place == refText || !s.hasAttr(place)) && !slices.Contains(untouched, path+"@"+place) {
			t.Errorf("%s@%s is mapped by a field, but taken for the guest's: %s", path, place, leaf.Parent.Source())
		}
	})
	if seen < 100 {
		t.Errorf("only %d places are mapped", seen)
	}
}

// walkMapped tells of each attribute and text that the table says is mapped, with an
// element that has the conditions on the way there.
func walkMapped(t *testing.T, at *refNode, path string, tags []string, tell func(path, place string, leaf *xmltree.Node)) {
	t.Helper()
	for place, rows := range at.rows {
		if place == refElement || !slices.ContainsFunc(rows, func(r *refRow) bool { return r.class == refMapped }) {
			continue
		}
		tell(path, place, leafOf(t, tags))
	}
	for name, edges := range at.edges {
		for _, edge := range edges {
			for _, tag := range tagsOf(name, edge.conditions) {
				walkMapped(t, edge.to, strings.TrimPrefix(path+"/"+name, "/"), append(slices.Clone(tags), tag), tell)
			}
		}
	}
}

// tagsOf returns start tags that have what is asked for.
func tagsOf(name string, conditions []refCondition) []string {
	tags := []string{"<" + name}
	for _, c := range conditions {
		if c.attr == "" || c.not {
			continue
		}
		var more []string
		for _, tag := range tags {
			for _, v := range c.values {
				more = append(more, tag+" "+c.attr+"='"+v+"'")
			}
		}
		tags = more
	}
	return tags
}

// leafOf returns the innermost of elements that are inside one another.
func leafOf(t *testing.T, tags []string) *xmltree.Node {
	t.Helper()
	var b strings.Builder
	b.WriteString("<domain>")
	for _, tag := range tags {
		b.WriteString(tag + ">")
	}
	for _, tag := range slices.Backward(tags) {
		b.WriteString("</" + strings.TrimPrefix(strings.Fields(tag)[0], "<") + ">")
	}
	doc, err := xmltree.Parse(b.String() + "</domain>")
	if err != nil {
		t.Fatal(err)
	}
	n := doc.Root
	for n.FirstChild != nil {
		n = n.FirstChild
	}
	return n
}
