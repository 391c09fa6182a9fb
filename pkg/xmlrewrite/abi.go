package xmlrewrite

import "strings"

// compareABI reads the result back and reports every difference that the guest
// can see. A result is accepted only if every byte of it is accounted for: it is
// either the copy of a byte of the source, in order and without a gap, or part
// of a fragment, which may be as small as one tag. Each fragment is read as XML
// again and compared with what was there before.
//
// The comparison knows what belongs to the host from abispots.go and nothing of
// the rewriters: it is the second opinion on their work.
func compareABI(w *writer, s *scanner) Problems {
	c := &abiComparison{before: w.doc, reader: s}
	source, result := w.doc.src, w.String()
	copied, at := 0, 0
	for i := range w.written {
		f := &w.written[i]
		if f.src < copied || f.end < f.src || source[copied:f.src] != result[at:f.from] || !f.inPlace(source) {
			c.unreadable(f.at)
			break
		}
		if s.nodes.used > 0 {
			s.reuse() // No fragment is needed after it was compared.
		}
		c.compareFragment(f, result[f.from:f.to])
		copied, at = f.end, f.to
	}
	if len(c.problems) == 0 && source[copied:] != result[at:] {
		c.unreadable(w.doc.root)
	}
	return c.problems
}

// inPlace reports whether the fragment takes the place of exactly what it stands
// for in the source.
func (f *fragment) inPlace(source string) bool {
	start, end := int(f.at.start), int(f.at.end)
	switch f.kind {
	case fragmentTag:
		return f.src == start && f.end == int(f.at.open)
	case fragmentElement:
		return f.src == start && f.end == end
	case fragmentGone:
		return f.src <= start && f.end == end && f.from == f.to && strings.TrimLeft(source[f.src:start], " \t\r\n") == ""
	case fragmentNew:
		return f.src == f.end && !f.at.closed && f.isBehind()
	}
	return false
}

// isBehind reports whether a new element is where it should be.
func (f *fragment) isBehind() bool {
	if f.behind != nil {
		return f.behind.parent == f.at && f.src == int(f.behind.end)
	}
	return f.src >= f.at.lastEnd() && f.src <= int(f.at.shut)
}

// lastEnd returns where the last child element ends or, without one, the start
// tag.
func (n *node) lastEnd() int {
	if n.last != nil {
		return int(n.last.end)
	}
	return int(n.open)
}

type abiComparison struct {
	before, after *document
	reader        *scanner
	problems      Problems

	// The spot of the parent of the fragment before, which the next one often
	// shares.
	parent *node
	in     spot
	hidden bool
}

func (c *abiComparison) compareFragment(f *fragment, text string) {
	parent := f.at.parent
	switch f.kind {
	case fragmentTag:
		c.compareTag(f.at, text)
		return
	case fragmentGone:
		if in, hidden := c.spotIn(parent); !hidden && !in.hides(f.at) {
			c.differ(f.at, "or remove this element")
		}
		return
	case fragmentNew:
		parent = f.at
	case fragmentElement:
	}
	in, hidden := c.spotIn(parent)
	after, err := c.reader.document(text)
	switch {
	case err != nil:
		c.unreadable(f.at)
	case hidden:
	case parent == nil:
		c.after = after
		c.compare(f.at, after.root, spotDomain)
	case f.kind == fragmentNew, in.hides(f.at):
		if !in.hides(after.root) {
			c.differ(parent, "the elements in this element")
		}
	default:
		c.after = after
		c.compare(f.at, after.root, in.part(f.at))
	}
}

// compareTag compares a start tag with the one that it replaces.
func (c *abiComparison) compareTag(n *node, text string) {
	after, err := c.reader.tag(text)
	if err != nil || after.name != n.name || after.closed != n.closed {
		c.unreadable(n)
		return
	}
	if n.parent == nil {
		c.compareAttributes(n, after, spotDomain)
		return
	}
	if in, hidden := c.spotIn(n.parent); !hidden && (n.foreign || !in.whole(n.name)) {
		c.compareAttributes(n, after, in.part(n))
	}
}

// spotIn is spotOf with a memory.
func (c *abiComparison) spotIn(parent *node) (in spot, hidden bool) {
	if c.parent != parent && parent != nil {
		c.parent = parent
		c.in, c.hidden = spotOf(parent)
	}
	return c.in, c.hidden
}

func (c *abiComparison) unreadable(at *node) {
	c.problems = append(c.problems, Problem{
		Kind: ProblemABIChanged, XMLPath: at.path(),
		Message: "the rewritten XML cannot be read; please report this as a defect of Virtferry",
	})
}

func (c *abiComparison) differ(at *node, what string) {
	c.problems = append(c.problems, Problem{
		Kind: ProblemABIChanged, XMLPath: at.path(),
		Message: "the rewrite would change " + what + ", which the guest can see, so it was given up; please report this as a defect of Virtferry",
	})
}

func (c *abiComparison) compare(a, b *node, s spot) {
	if c.before.src[a.start:a.end] == c.after.src[b.start:b.end] {
		return
	}
	if a.name != b.name {
		c.differ(a, "the name of this element")
		return
	}
	c.compareAttributes(a, b, s)
	if a.first == nil && b.first == nil {
		if before, after := c.before.text(a), c.after.text(b); before != after && !mapsPath(a, refText, before, after) {
			c.differ(a, "the text of this element")
		}
		return
	}
	x, y := s.nextVisible(a.first), s.nextVisible(b.first)
	for x != nil && y != nil && x.name == y.name {
		c.compare(x, y, s.part(x))
		x, y = s.nextVisible(x.next), s.nextVisible(y.next)
	}
	switch {
	case x != nil:
		c.differ(x, "or remove this element")
	case y != nil:
		c.differ(a, "the elements in this element")
	}
}

func (c *abiComparison) compareAttributes(a, b *node, s spot) {
	for i := range a.attrs {
		name := a.attrs[i].name
		if s.hasAttr(name) {
			continue
		}
		if v, ok := b.attr(name); !ok || v != a.attrs[i].value && !mapsPath(a, name, a.attrs[i].value, v) {
			c.differ(a, "the attribute "+name)
		}
	}
	for i := range b.attrs {
		name := b.attrs[i].name
		if _, ok := a.attr(name); !ok && !s.hasAttr(name) {
			c.differ(a, "the attributes of this element")
		}
	}
}

// mapsPath reports whether a place holds a path of the host, and holds another one after.
func mapsPath(at *node, place, before, after string) bool {
	return strings.HasPrefix(after, "/") && refRowOf(statesAt(at), place, before).isHostPath(before)
}

// statesAt returns where an element stands in the table of references to the host.
func statesAt(n *node) []refState {
	if n.parent == nil {
		return []refState{{node: &hostRefs().root}}
	}
	return statesOf(nil, statesAt(n.parent), n.name, n)
}

// nextVisible returns the first element from n on that the guest can see.
func (s spot) nextVisible(n *node) *node {
	for n != nil && s.hides(n) {
		n = n.next
	}
	return n
}

// hides reports whether a child element holds nothing that the guest can see.
func (s spot) hides(n *node) bool {
	if n.foreign {
		return false
	}
	if s.whole(n.name) {
		return true
	}
	part := s.part(n)
	if !part.optional() {
		return false
	}
	for i := range n.attrs {
		if !part.hasAttr(n.attrs[i].name) {
			return false
		}
	}
	return part.nextVisible(n.first) == nil
}
