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

// copyOf returns an element that says what n says.
func (d *document) copyOf(n *node) *elem {
	e := &elem{name: n.name}
	for i := range n.attrs {
		e.attrs = append(e.attrs, elemAttr{n.attrs[i].name, n.attrs[i].value})
	}
	for c := n.first; c != nil; c = c.next {
		e.add(d.copyOf(c))
	}
	if n.first == nil {
		e.text = d.text(n)
	}
	return e
}

// syncChild makes e the only child of its name, or removes all of that name
// where e is nil. A child that says the same stays byte for byte. A new one
// goes behind the first of the given siblings that exists.
func (p *planner) syncChild(parent *node, name string, e *elem, behind ...string) {
	first := parent.child(name)
	switch {
	case e == nil:
		removeAll(first)
		return
	case first == nil:
		parent.insertBehind(firstOf(parent, behind), e)
		return
	case !p.doc.same(first, e):
		first.replace(e)
	}
	removeAll(first.sibling())
}

// removeAll removes an element, if there is one, and its siblings of the same
// name behind it.
func removeAll(n *node) {
	for ; n != nil; n = n.sibling() {
		n.remove()
	}
}

// syncList makes the elements the only children of their name, in order.
func (p *planner) syncList(parent *node, name string, elems []*elem) {
	first := parent.child(name)
	equal, count := true, 0
	var last *node
	for c := first; c != nil; c = c.sibling() {
		equal = equal && count < len(elems) && p.doc.same(c, elems[count])
		last = c
		count++
	}
	if equal && count == len(elems) {
		return
	}
	removeAll(first)
	for _, e := range elems {
		parent.insertBehind(last, e)
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
