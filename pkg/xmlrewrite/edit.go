package xmlrewrite

import (
	"slices"
	"strings"
)

// change is what is to become of one element. It is recorded while planning
// and carried out by render.
type change struct {
	removed     bool
	dropIfEmpty bool
	replacement *elem
	text        *string
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
		n.change = n.document().newChange()
		n.change.attrs = n.change.room[:0]
	}
	for m := n; m != nil && !m.touched; m = m.parent {
		m.touched = true
	}
	return n.change
}

// newChange takes a change from a chunk: one allocation serves many.
func (d *document) newChange() *change {
	const chunk = 32
	if len(d.changes) == 0 {
		d.changes = make([]change, chunk)
	}
	c := &d.changes[0]
	d.changes = d.changes[1:]
	return c
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
	n.edit().text = &text
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

// render writes the document with all changes. It cannot fail.
func (d *document) render() *writer {
	w := &writer{doc: d, written: make([]fragment, 0, 32)}
	w.Grow(len(d.src) + len(d.src)/4)
	w.WriteString(d.src[:d.root.start])
	w.node(d.root)
	w.WriteString(d.src[d.root.end:])
	return w
}

// writer writes a document with its changes and notes where they are.
type writer struct {
	strings.Builder
	doc     *document
	written []fragment
	inside  bool // What is being written belongs to a fragment.
}

// fragment is a stretch of the result that is not a copy of the source: what
// became of an element, or an element that is new.
type fragment struct {
	was      *node // Nil if it is new.
	parent   *node
	from, to int // Empty if the element is left out.
}

// node writes an element, and notes it as a fragment if it is changed and no
// part of another fragment.
func (w *writer) node(n *node) {
	if n.change == nil || w.inside || n.holdsUnits() {
		w.element(n)
		return
	}
	from := w.Len()
	w.inside = true
	w.element(n)
	w.inside = false
	w.written = append(w.written, fragment{n, n.parent, from, w.Len()})
}

func (w *writer) element(n *node) {
	c := n.change
	switch {
	case !n.touched:
		w.WriteString(w.doc.src[n.start:n.end])
		return
	case c == nil:
		w.WriteString(w.doc.src[n.start:n.open])
	case c.replacement != nil:
		indent, pretty := w.doc.indent(n)
		w.elem(c.replacement, indent, pretty)
		return
	default:
		w.startTag(n, c)
	}
	if n.closed {
		w.filled(n, c)
		return
	}
	if c != nil && c.text != nil {
		w.WriteString(escape(*c.text, 0))
	} else {
		w.content(n, c)
	}
	w.WriteString(w.doc.src[n.shut:n.end])
}

// startTag writes the start tag with its changed attributes. Quotes and white
// space stay as they were.
func (w *writer) startTag(n *node, c *change) {
	pos := n.start
	src := w.doc.src
	for i := range n.attrs {
		a := &n.attrs[i]
		j := slices.IndexFunc(c.attrs, func(ac attrChange) bool { return ac.name == a.name })
		if j < 0 {
			continue
		}
		if c.attrs[j].removed {
			before := n.nameEnd()
			if i > 0 {
				before = n.attrs[i-1].to + 1
			}
			w.WriteString(src[pos:max(before, pos)])
			pos = a.to + 1
			continue
		}
		w.WriteString(src[pos:a.from()])
		w.WriteString(escape(c.attrs[j].value, src[a.to]))
		pos = a.to
	}
	last := n.nameEnd()
	if len(n.attrs) > 0 {
		last = n.attrs[len(n.attrs)-1].to + 1
	}
	w.WriteString(src[pos:max(last, pos)])
	for _, ac := range c.attrs {
		if _, ok := n.attr(ac.name); !ok && !ac.removed {
			w.attr(ac.name, ac.value)
		}
	}
	if n.closed && (c.text != nil || len(c.after) > 0) {
		w.WriteString(">")
		return
	}
	w.WriteString(src[max(last, pos):n.open])
}

// filled gives content to an element that was written as an empty tag.
func (w *writer) filled(n *node, c *change) {
	if c == nil || (c.text == nil && len(c.after) == 0) {
		return
	}
	if c.text != nil {
		w.WriteString(escape(*c.text, 0))
	} else {
		indent, pretty := w.doc.indent(n)
		for _, in := range c.after {
			w.lineBreak(indent+"  ", pretty)
			w.insert(n, in.elem, indent+"  ", pretty)
		}
		w.lineBreak(indent, pretty)
	}
	w.WriteString("</" + n.name + ">")
}

func (w *writer) content(n *node, c *change) {
	src := w.doc.src
	indent, pretty := w.doc.childIndent(n)
	pos := n.open
	for child := n.first; child != nil; child = child.next {
		if !child.touched && !c.insertsBehind(child) {
			continue // It is copied with what comes next.
		}
		gap := src[pos:child.start]
		pos = child.end
		if w.doc.gone(child) {
			w.WriteString(cutLine(gap))
			if !w.inside {
				w.written = append(w.written, fragment{child, n, w.Len(), w.Len()})
			}
		} else {
			w.WriteString(gap)
			w.node(child)
		}
		w.insertions(n, child, indent, pretty)
	}
	tail := src[pos:n.shut]
	if !c.insertsBehind(nil) {
		w.WriteString(tail)
		return
	}
	kept := strings.TrimRight(tail, " \t\r\n")
	w.WriteString(kept)
	w.insertions(n, nil, indent, pretty)
	if rest := tail[len(kept):]; rest != "" || n.first != nil {
		w.WriteString(rest)
		return
	}
	own, pretty := w.doc.indent(n)
	w.lineBreak(own, pretty)
}

// insertsBehind reports whether something is to be put behind this child.
func (c *change) insertsBehind(child *node) bool {
	if c == nil {
		return false
	}
	for i := range c.after {
		if c.after[i].behind == child {
			return true
		}
	}
	return false
}

func (w *writer) insertions(n, behind *node, indent string, pretty bool) {
	if n.change == nil {
		return
	}
	for _, in := range n.change.after {
		if in.behind == behind {
			w.lineBreak(indent, pretty)
			w.insert(n, in.elem, indent, pretty)
		}
	}
}

func (w *writer) insert(n *node, e *elem, indent string, pretty bool) {
	from := w.Len()
	w.elem(e, indent, pretty)
	if !w.inside {
		w.written = append(w.written, fragment{nil, n, from, w.Len()})
	}
}

// holdsUnits reports whether the element is one of the two that are never noted
// as a whole: the domain and its list of devices.
func (n *node) holdsUnits() bool {
	return n.parent == nil || (n.parent.parent == nil && n.name == "devices" && !n.foreign)
}

func (w *writer) lineBreak(indent string, pretty bool) {
	if pretty {
		w.WriteString("\n")
		w.WriteString(indent)
	}
}

func (w *writer) elem(e *elem, indent string, pretty bool) {
	w.WriteString("<")
	w.WriteString(e.name)
	for _, a := range e.attrs {
		w.attr(a.name, a.value)
	}
	if e.text == "" && len(e.children) == 0 {
		w.WriteString("/>")
		return
	}
	w.WriteString(">")
	w.WriteString(escape(e.text, 0))
	inner := indent + "  "
	for _, c := range e.children {
		w.lineBreak(inner, pretty)
		w.elem(c, inner, pretty)
	}
	if len(e.children) > 0 {
		w.lineBreak(indent, pretty)
	}
	w.WriteString("</")
	w.WriteString(e.name)
	w.WriteString(">")
}

func (w *writer) attr(name, value string) {
	w.WriteString(" ")
	w.WriteString(name)
	w.WriteString("='")
	w.WriteString(escape(value, '\''))
	w.WriteString("'")
}

// indent returns the white space before the element on its line, and whether
// the element starts its line.
func (d *document) indent(n *node) (string, bool) {
	i := int(n.start)
	for i > 0 && (d.src[i-1] == ' ' || d.src[i-1] == '\t') {
		i--
	}
	if i > 0 && d.src[i-1] != '\n' {
		return "", n.parent == nil
	}
	return d.src[i:n.start], true
}

func (d *document) childIndent(n *node) (string, bool) {
	if n.first != nil {
		return d.indent(n.first)
	}
	indent, pretty := d.indent(n)
	return indent + "  ", pretty
}

// cutLine removes the white space that led to an element on a line of its own.
func cutLine(gap string) string {
	kept := strings.TrimRight(gap, " \t")
	if !strings.HasSuffix(kept, "\n") {
		return gap
	}
	return strings.TrimSuffix(strings.TrimSuffix(kept, "\n"), "\r")
}

// escape writes text for use between the given quotes, or between tags where
// quote is zero.
func escape(s string, quote byte) string {
	if !strings.ContainsAny(s, "&<>'\"\n\r\t") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if e := entity(s[i], quote); e != "" {
			b.WriteString(e)
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// entity returns how a character has to be written; empty is as it is.
func entity(c, quote byte) string {
	inAttribute := quote != 0
	switch c {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	case '\'':
		return only(c == quote, "&apos;")
	case '"':
		return only(c == quote, "&quot;")
	case '\r':
		return "&#13;"
	case '\n':
		return only(inAttribute, "&#10;")
	case '\t':
		return only(inAttribute, "&#9;")
	}
	return ""
}

func only(is bool, text string) string {
	if is {
		return text
	}
	return ""
}
