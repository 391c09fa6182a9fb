package xmlrewrite

import (
	"strings"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// compareABI reads the result back and reports every difference that the guest can see.
// Each place where it is not a copy of the source is compared with what was there before.
//
// The comparison knows what belongs to the host from abispots.go and nothing of
// the rewriters: it is the second opinion on their work.
func compareABI(result *xmltree.Result) Problems {
	replaced, broken := result.Replacements()
	if broken != nil {
		return Problems{{
			Kind: ProblemABIChanged, XMLPath: broken.Path(),
			Message: "the rewritten XML cannot be read; please report this as a defect of Virtferry",
		}}
	}
	var c abiComparison
	for _, r := range replaced {
		c.judge(r)
	}
	return c.problems
}

// abiComparison collects the differences.
type abiComparison struct{ problems Problems }

// judge compares an element, or what there is instead of one, with what was there before.
func (c *abiComparison) judge(r xmltree.Replacement) {
	switch r.Kind {
	case xmltree.ReplacedTag:
		if s, hidden := spotOf(r.At); !hidden {
			c.compareAttributes(r.At, r.After, s)
		}
	case xmltree.AddedElement:
		if in, hidden := spotOf(r.At); !hidden && !in.hides(r.After) {
			c.differ(r.At, "the elements in this element")
		}
	case xmltree.ReplacedElement, xmltree.RemovedElement:
		c.judgeElement(r.At, r.After)
	}
}

// judgeElement compares an element with what there is instead of it; nil if there is
// nothing.
func (c *abiComparison) judgeElement(before, after *xmltree.Node) {
	if before.Parent == nil {
		c.compare(before, after, spotDomain)
		return
	}
	in, hidden := spotOf(before.Parent)
	switch {
	case hidden:
	case after == nil:
		if !in.hides(before) {
			c.differ(before, "or remove this element")
		}
	case !in.hides(before):
		c.compare(before, after, in.part(before))
	case !in.hides(after):
		c.differ(before.Parent, "the elements in this element")
	}
}

func (c *abiComparison) differ(at *xmltree.Node, what string) {
	c.problems = append(c.problems, Problem{
		Kind: ProblemABIChanged, XMLPath: at.Path(),
		Message: "the rewrite would change " + what + ", which the guest can see, so it was given up; please report this as a defect of Virtferry",
	})
}

func (c *abiComparison) compare(a, b *xmltree.Node, s spot) {
	if a.Source() == b.Source() {
		return
	}
	if a.Name != b.Name {
		c.differ(a, "the name of this element")
		return
	}
	c.compareAttributes(a, b, s)
	if a.FirstChild == nil && b.FirstChild == nil {
		if before, after := a.Text(), b.Text(); before != after && !mapsPath(a, refText, before, after) {
			c.differ(a, "the text of this element")
		}
		return
	}
	x, y := s.nextVisible(a.FirstChild), s.nextVisible(b.FirstChild)
	for x != nil && y != nil && x.Name == y.Name {
		c.compare(x, y, s.part(x))
		x, y = s.nextVisible(x.NextSibling), s.nextVisible(y.NextSibling)
	}
	switch {
	case x != nil:
		c.differ(x, "or remove this element")
	case y != nil:
		c.differ(a, "the elements in this element")
	}
}

func (c *abiComparison) compareAttributes(a, b *xmltree.Node, s spot) {
	for name, before := range a.Attrs() {
		if s.hasAttr(name) {
			continue
		}
		if after, ok := b.Attr(name); !ok || after != before && !mapsPath(a, name, before, after) {
			c.differ(a, "the attribute "+name)
		}
	}
	for name := range b.Attrs() {
		if !a.HasAttr(name) && !s.hasAttr(name) {
			c.differ(a, "the attributes of this element")
		}
	}
}

// mapsPath reports whether a place holds a path of the host, and holds another one after.
func mapsPath(at *xmltree.Node, place, before, after string) bool {
	return strings.HasPrefix(after, "/") && refRowOf(statesAt(at), place, before).canMap(at, place, before, &diskDevices{})
}

// statesAt returns where an element stands in the table of references to the host.
func statesAt(n *xmltree.Node) []refState {
	if n.Parent == nil {
		return []refState{{node: &hostRefs().root}}
	}
	return statesOf(nil, statesAt(n.Parent), n.Name, n)
}

// nextVisible returns the first element from n on that the guest can see.
func (s spot) nextVisible(n *xmltree.Node) *xmltree.Node {
	for n != nil && s.hides(n) {
		n = n.NextSibling
	}
	return n
}

// hides reports whether a child element holds nothing that the guest can see.
func (s spot) hides(n *xmltree.Node) bool {
	if n.Foreign {
		return false
	}
	if s.whole(n.Name) {
		return true
	}
	part := s.part(n)
	if !part.optional() {
		return false
	}
	for name := range n.Attrs() {
		if !part.hasAttr(name) {
			return false
		}
	}
	return part.nextVisible(n.FirstChild) == nil
}
