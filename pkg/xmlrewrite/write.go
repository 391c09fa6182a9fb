package xmlrewrite

import (
	"slices"
	"strings"
)

// render writes the document with all changes. It cannot fail. Its fragments go
// where there is room for them.
func (d *document) render(room []fragment) *writer {
	w := &writer{doc: d, written: room}
	w.Grow(len(d.src) + len(d.src)/8)
	w.element(d.root)
	w.copyTo(len(d.src))
	return w
}

// writer writes a document with its changes: copies of the source, and between
// them fragments, which it notes.
type writer struct {
	strings.Builder
	doc     *document
	copied  int // How far the source has been copied or replaced.
	written []fragment
}

// fragment is a stretch of the result that is not a copy of the source, and
// what it stands for there.
type fragment struct {
	kind     fragmentKind
	at       *node // The element; the parent, if it is a new one.
	behind   *node // The child that a new element follows; nil if it is the last.
	src, end int   // What it takes the place of in the source.
	from, to int   // Where it is in the result.
}

type fragmentKind int

const (
	fragmentTag     fragmentKind = iota // A start tag.
	fragmentElement                     // A whole element.
	fragmentNew                         // A new element, with white space.
	fragmentGone                        // No element any more, and less white space.
)

// copyTo copies the source up to an offset.
func (w *writer) copyTo(at int) {
	w.WriteString(w.doc.src[w.copied:at])
	w.copied = at
}

// begin opens a fragment that takes the place of the source from there on.
func (w *writer) begin(kind fragmentKind, at *node, src int) {
	w.copyTo(src)
	w.written = append(w.written, fragment{kind: kind, at: at, src: src, from: w.Len()})
}

// finish closes the fragment: the source goes on from there.
func (w *writer) finish(end int) {
	w.copied = end
	f := &w.written[len(w.written)-1]
	f.end, f.to = end, w.Len()
}

// element writes what changes in an element; the rest is copied later.
func (w *writer) element(n *node) {
	c := n.change
	if c != nil && (c.replacement != nil || c.hasText || (n.closed && len(c.after) > 0)) {
		w.begin(fragmentElement, n, int(n.start))
		w.anew(n, c)
		w.finish(int(n.end))
		return
	}
	if c != nil && len(c.attrs) > 0 {
		w.begin(fragmentTag, n, int(n.start))
		w.startTag(n, c)
		w.copyTo(int(n.open))
		w.finish(int(n.open))
	}
	if !n.closed {
		w.content(n, c)
	}
}

// anew writes an element that gets other content, or is replaced altogether.
func (w *writer) anew(n *node, c *change) {
	indent, pretty := w.doc.indent(n)
	if c.replacement != nil {
		w.elem(c.replacement, indent, pretty)
		return
	}
	w.startTag(n, c)
	if n.closed {
		w.WriteString(">")
	} else {
		w.copyTo(int(n.open))
	}
	if c.hasText {
		w.WriteString(escape(c.text, 0))
	} else {
		for _, in := range c.after {
			w.lineBreak(indent+"  ", pretty)
			w.elem(in.elem, indent+"  ", pretty)
		}
		w.lineBreak(indent, pretty)
	}
	w.WriteString("</")
	w.WriteString(n.name)
	w.WriteString(">")
}

// startTag writes the start tag with its changed attributes, up to behind the
// last one. Quotes and white space stay as they were.
func (w *writer) startTag(n *node, c *change) {
	last := int(n.nameEnd())
	for i := range n.attrs {
		a := &n.attrs[i]
		before := last
		last = int(a.to) + 1
		j := slices.IndexFunc(c.attrs, func(ac attrChange) bool { return ac.name == a.name })
		switch {
		case j < 0:
		case c.attrs[j].removed:
			w.copyTo(max(before, w.copied))
			w.copied = last
		default:
			w.copyTo(int(a.from))
			w.WriteString(escape(c.attrs[j].value, w.doc.src[a.to]))
			w.copied = int(a.to)
		}
	}
	w.copyTo(max(last, w.copied))
	for i := range c.attrs {
		if ac := &c.attrs[i]; !ac.removed && !n.hasAttr(ac.name) {
			w.attr(ac.name, ac.value)
		}
	}
}

// content writes what changes in the content of an element.
func (w *writer) content(n *node, c *change) {
	inserts := c != nil && len(c.after) > 0
	for child := n.first; child != nil; child = child.next {
		if child.touched {
			if w.doc.gone(child) {
				w.gone(child)
			} else {
				w.element(child)
			}
		}
		if inserts && c.insertsBehind(child) {
			w.copyTo(int(child.end))
			w.insertions(n, child)
		}
	}
	if !inserts || !c.insertsBehind(nil) {
		return
	}
	start := max(w.copied, int(n.open))
	kept := strings.TrimRight(w.doc.src[start:n.shut], " \t\r\n")
	w.copyTo(start + len(kept))
	w.insertions(n, nil)
	if w.copied == int(n.shut) && n.first == nil {
		indent, pretty := w.doc.indent(n)
		w.lineBreak(indent, pretty)
		w.finish(w.copied) // The white space belongs to the last insertion.
	}
}

// gone leaves out an element, and its line if it had one of its own.
func (w *writer) gone(n *node) {
	gap := w.doc.src[w.copied:n.start]
	w.begin(fragmentGone, n, w.copied+len(cutLine(gap)))
	w.finish(int(n.end))
}

// insertsBehind reports whether something is to be put behind this child.
func (c *change) insertsBehind(child *node) bool {
	for i := range c.after {
		if c.after[i].behind == child {
			return true
		}
	}
	return false
}

func (w *writer) insertions(n, behind *node) {
	indent, pretty := w.doc.childIndent(n)
	for _, in := range n.change.after {
		if in.behind != behind {
			continue
		}
		w.begin(fragmentNew, n, w.copied)
		w.written[len(w.written)-1].behind = behind
		w.lineBreak(indent, pretty)
		w.elem(in.elem, indent, pretty)
		w.finish(w.copied)
	}
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
	for i := range e.attrs {
		w.attr(e.attrs[i].name, e.attrs[i].value)
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
	i := 0
	for i < len(s) && byteClasses[s[i]]&classSpecial == 0 {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
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
