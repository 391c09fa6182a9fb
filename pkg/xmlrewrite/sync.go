package xmlrewrite

// same reports whether an element already says what e says: attributes in any
// order, children in the same order.
func (d *document) same(n *node, e *elem) bool {
	if n.name != e.name || n.foreign || len(n.attrs) != len(e.attrs) {
		return false
	}
	for _, a := range e.attrs {
		if v, ok := n.attr(a.name); !ok || v != a.value {
			return false
		}
	}
	c := n.first
	for _, child := range e.children {
		if c == nil || !d.same(c, child) {
			return false
		}
		c = c.next
	}
	return c == nil && (len(e.children) > 0 || d.text(n) == e.text)
}

// syncChild makes e the only child of its name, or removes all of that name
// where e is nil. A child that says the same stays byte for byte. A new one
// goes behind the first of the given siblings that exists.
func (p *planner) syncChild(parent *node, name string, e *elem, behind ...string) {
	have := parent.children(name)
	if e == nil {
		for _, n := range have {
			n.remove()
		}
		return
	}
	if len(have) == 0 {
		parent.insertBehind(firstOf(parent, behind), e)
		return
	}
	if !p.doc.same(have[0], e) {
		have[0].replace(e)
	}
	for _, extra := range have[1:] {
		extra.remove()
	}
}

// syncList makes the elements the only children of their name, in order.
func (p *planner) syncList(parent *node, name string, elems []*elem) {
	have := parent.children(name)
	equal := len(have) == len(elems)
	for i := 0; equal && i < len(have); i++ {
		equal = p.doc.same(have[i], elems[i])
	}
	if equal {
		return
	}
	for _, n := range have {
		n.remove()
	}
	var behind *node
	if len(have) > 0 {
		behind = have[len(have)-1]
	}
	for _, e := range elems {
		parent.insertBehind(behind, e)
	}
}

func firstOf(parent *node, names []string) *node {
	for _, name := range names {
		if n := parent.child(name); n != nil {
			return n
		}
	}
	return nil
}
