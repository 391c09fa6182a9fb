package xmltree

import "slices"

// edits is what is to become of one element.
type edits struct {
	removed     bool
	dropIfEmpty bool
	hasText     bool
	text        string
	replacement *Elem
	attrs       []attrEdit
	insertions  []insertion
}

type attrEdit struct {
	Attr
	removed bool
}

// insertion puts a new element behind an existing child, or last where that
// child is nil.
type insertion struct {
	behind *Node
	elem   *Elem
}

// edit returns the element's edits, and marks the way to it.
func (n *Node) edit() *edits {
	n.doc.edited++
	if n.edits == nil {
		n.edits = &edits{}
	}
	for m := n; m != nil && !m.touched; m = m.Parent {
		m.touched = true
	}
	return n.edits
}

// SetAttr gives an attribute a value; nothing happens if it has it already, so
// that a second rewrite finds nothing to do.
func (n *Node) SetAttr(name, value string) {
	if old, ok := n.Attr(name); !ok || old != value {
		n.editAttr(attrEdit{Attr: Attr{name, value}})
	}
}

// RemoveAttr removes an attribute, if it is there.
func (n *Node) RemoveAttr(name string) {
	if n.HasAttr(name) {
		n.editAttr(attrEdit{Attr: Attr{Name: name}, removed: true})
	}
}

func (n *Node) editAttr(edit attrEdit) {
	e := n.edit()
	if i := slices.IndexFunc(e.attrs, func(a attrEdit) bool { return a.Name == edit.Name }); i >= 0 {
		e.attrs[i] = edit
		return
	}
	if e.attrs == nil {
		e.attrs = make([]attrEdit, 0, 4) // As many as a PCI address has.
	}
	e.attrs = append(e.attrs, edit)
}

// SetText gives an element this text and nothing else; nothing happens if it has it
// already.
func (n *Node) SetText(text string) {
	if n.Text() == text && n.FirstChild == nil {
		return
	}
	e := n.edit()
	e.text, e.hasText = text, true
}

// Remove removes the element, and its line if it has one of its own.
func (n *Node) Remove() { n.edit().removed = true }

// RemoveIfEmpty removes the element if other edits leave nothing in it.
func (n *Node) RemoveIfEmpty() { n.edit().dropIfEmpty = true }

// Replace writes another element instead.
func (n *Node) Replace(e *Elem) { n.edit().replacement = e }

// Append adds a child behind all others.
func (n *Node) Append(e *Elem) { n.InsertBehind(nil, e) }

// InsertBehind adds a child behind another one, or behind all where that is nil. Several
// behind the same one come in the order in which they were added.
func (n *Node) InsertBehind(child *Node, e *Elem) {
	edit := n.edit()
	edit.insertions = append(edit.insertions, insertion{behind: child, elem: e})
}

// AppendIn adds an element to the child of this name. Where neither the source nor
// another edit has that child, it is made, and placed behind the sibling given if there
// is one.
func (n *Node) AppendIn(child string, behind *Node, e *Elem) {
	if c := n.Child(child); c != nil {
		c.Append(e)
		return
	}
	if n.edits != nil {
		for _, in := range n.edits.insertions {
			if in.elem.Name == child {
				in.elem.Add(e)
				return
			}
		}
	}
	n.InsertBehind(behind, NewElem(child).Add(e))
}

// Edited reports whether the element, or one below it, has an edit.
func (n *Node) Edited() bool { return n.touched }

// EditsTag reports whether an attribute of the element gets another value, or goes.
func (n *Node) EditsTag() bool { return n.edits != nil && len(n.edits.attrs) > 0 }

// EditsAttr reports whether this attribute gets another value, or goes.
func (n *Node) EditsAttr(name string) bool {
	return n.edits != nil && slices.ContainsFunc(n.edits.attrs, func(a attrEdit) bool { return a.Name == name })
}

// EditsText reports whether the element gets another text.
func (n *Node) EditsText() bool { return n.edits != nil && n.edits.hasText }

// Stays reports whether the element is neither removed nor replaced as a whole.
func (n *Node) Stays() bool { return n.edits == nil || !n.edits.removed && n.edits.replacement == nil }

// gone reports whether the element is left out of the result.
func (n *Node) gone() bool {
	e := n.edits
	if e == nil {
		return false
	}
	if e.removed {
		return true
	}
	if !e.dropIfEmpty || e.replacement != nil || len(e.insertions) > 0 || n.endAttr > n.firstAttr || n.hasOther {
		return false
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if !c.gone() {
			return false
		}
	}
	return n.Text() == ""
}
