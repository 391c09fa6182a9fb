package xmlrewrite

import (
	"slices"
)

// change is what is to become of one element. It is recorded while planning
// and carried out by render.
type change struct {
	removed     bool
	dropIfEmpty bool
	hasText     bool
	text        string
	replacement *elem
	attrs       []attrChange
	after       []insertion

	room [2]attrChange // Where attrs starts.
}

type attrChange struct {
	name    string
	value   string
	removed bool
}

// insertion puts a new element behind an existing child, or last where that
// child is nil.
type insertion struct {
	behind *node
	elem   *elem
}

// elem is an element to be written.
type elem struct {
	name     string
	attrs    []elemAttr
	children []*elem
	text     string

	room [2]elemAttr // Where attrs starts.
}

type elemAttr struct{ name, value string }

// newElem makes an element from its name and pairs of attribute name and
// value. A pair with an empty value is left out: an empty address or cpuset
// must never reach libvirt.
func newElem(name string, pairs ...string) *elem {
	e := &elem{name: name}
	e.attrs = e.room[:0]
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			e.attrs = append(e.attrs, elemAttr{pairs[i], pairs[i+1]})
		}
	}
	return e
}

func (e *elem) add(children ...*elem) *elem {
	for _, c := range children {
		if c != nil {
			e.children = append(e.children, c)
		}
	}
	return e
}

// edit returns the element's change, and marks the way to it.
func (n *node) edit() *change {
	if n.change == nil {
		n.change = n.document().changes.take()
		n.change.attrs = n.change.room[:0]
	}
	for m := n; m != nil && !m.touched; m = m.parent {
		m.touched = true
	}
	return n.change
}

// setAttr gives an attribute a value; nothing happens if it has it already, so
// that a second rewrite finds nothing to do.
func (n *node) setAttr(name, value string) {
	if old, ok := n.attr(name); ok && old == value {
		return
	}
	n.changeAttr(attrChange{name: name, value: value})
}

func (n *node) removeAttr(name string) {
	if _, ok := n.attr(name); ok {
		n.changeAttr(attrChange{name: name, removed: true})
	}
}

func (n *node) changeAttr(ac attrChange) {
	c := n.edit()
	i := slices.IndexFunc(c.attrs, func(a attrChange) bool { return a.name == ac.name })
	if i >= 0 {
		c.attrs[i] = ac
		return
	}
	c.attrs = append(c.attrs, ac)
}

// changes reports whether an attribute gets another value, or goes.
func (n *node) changes(name string) bool {
	return n.change != nil && slices.ContainsFunc(n.change.attrs, func(a attrChange) bool { return a.name == name })
}

func (n *node) remove()             { n.edit().removed = true }
func (n *node) removeIfEmpty()      { n.edit().dropIfEmpty = true }
func (n *node) replace(e *elem)     { n.edit().replacement = e }
func (n *node) appendChild(e *elem) { n.insertBehind(nil, e) }

func (n *node) insertBehind(child *node, e *elem) {
	c := n.edit()
	c.after = append(c.after, insertion{behind: child, elem: e})
}

func (n *node) setText(d *document, text string) {
	if d.text(n) == text && n.first == nil {
		return
	}
	c := n.edit()
	c.text, c.hasText = text, true
}

// appendIn appends to a child container of the parent, and creates the
// container where neither the guest nor an earlier step has it. It is placed
// behind the sibling given, if there is one.
func appendIn(parent *node, container string, behind *node, e *elem) {
	if c := parent.child(container); c != nil {
		c.appendChild(e)
		return
	}
	if parent.change != nil {
		for _, in := range parent.change.after {
			if in.elem.name == container {
				in.elem.add(e)
				return
			}
		}
	}
	parent.insertBehind(behind, newElem(container).add(e))
}

// gone reports whether render leaves the element out.
func (d *document) gone(n *node) bool {
	c := n.change
	if c == nil {
		return false
	}
	if c.removed {
		return true
	}
	if !c.dropIfEmpty || c.replacement != nil || len(c.after) > 0 || len(n.attrs) > 0 || n.hasOther {
		return false
	}
	for child := n.first; child != nil; child = child.next {
		if !d.gone(child) {
			return false
		}
	}
	return d.text(n) == ""
}
