package xmltree

import "slices"

// SyncChild makes e the only child of its name, or removes all of that name
// where e is nil. A child that says the same stays byte for byte. A new one
// goes behind the first of the given siblings that exists.
func (n *Node) SyncChild(name string, e *Elem, behind ...string) {
	first := n.Child(name)
	switch {
	case e == nil:
		first.RemoveAll()
		return
	case first == nil:
		n.InsertBehind(n.FirstOf(behind...), e)
		return
	case !first.Same(e):
		first.Replace(e)
	}
	first.NextSame().RemoveAll()
}

// RemoveAll removes an element and its siblings of the same name behind it. Of nil it
// removes nothing.
func (n *Node) RemoveAll() {
	for ; n != nil; n = n.NextSame() {
		n.Remove()
	}
}

// SyncList makes the elements, which all have this name, the only children of that name,
// in order. Children that say the same stay byte for byte.
func (n *Node) SyncList(name string, elems []*Elem) {
	have := n.Children(name)
	if slices.EqualFunc(have, elems, (*Node).Same) {
		return
	}
	var last *Node
	for _, c := range have {
		c.Remove()
		last = c
	}
	for _, e := range elems {
		n.InsertBehind(last, e)
	}
}

// FirstOf returns the first child of the first of these names that there is a child of;
// nil if there is none.
func (n *Node) FirstOf(names ...string) *Node {
	for _, name := range names {
		if c := n.Child(name); c != nil {
			return c
		}
	}
	return nil
}
