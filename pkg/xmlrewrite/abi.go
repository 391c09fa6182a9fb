package xmlrewrite

// compareABI reads back every stretch of the result that is not a copy of the
// source, and reports every difference that the guest can see. It knows what
// belongs to the host from abispots.go and nothing of the rewriters: it is the
// second opinion on their work.
func compareABI(w *writer) Problems {
	c := &abiComparison{before: w.doc}
	result := w.String()
	s := takeScanner()
	defer s.release()
	for _, f := range w.written {
		s.reuse() // No fragment is needed after it was compared.
		c.compareFragment(s, f, result[f.from:f.to])
	}
	return c.problems
}

type abiComparison struct {
	before, after *document
	problems      Problems
}

func (c *abiComparison) compareFragment(s *scanner, f fragment, text string) {
	in, hidden := spotOf(f.parent)
	if text == "" {
		if !hidden && !in.hides(f.was) {
			c.differ(f.was, "or remove this element")
		}
		return
	}
	after, err := s.document(text)
	switch {
	case err != nil:
		c.problems = append(c.problems, Problem{
			Kind: ProblemABIChanged, XMLPath: f.parent.path(),
			Message: "the rewritten XML cannot be read; please report this as a defect of Virtferry",
		})
	case hidden:
	case f.was == nil, in.hides(f.was):
		if !in.hides(after.root) {
			c.differ(f.parent, "the elements in this element")
		}
	default:
		c.after = after
		c.compare(f.was, after.root, in.part(f.was))
	}
}

func (c *abiComparison) differ(at *node, what string) {
	c.problems = append(c.problems, Problem{
		Kind: ProblemABIChanged, XMLPath: at.path(),
		Message: "the rewrite would change " + what + ", which the guest can see; nothing was changed",
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
		if c.before.text(a) != c.after.text(b) {
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
		if v, ok := b.attr(name); !ok || v != decodeText(a.attrs[i].value) {
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
