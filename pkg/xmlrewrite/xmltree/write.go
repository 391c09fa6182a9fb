package xmltree

import (
	"slices"
	"strings"
)

// Result is a document as it was written with its edits.
type Result struct {
	text    string
	doc     *Document
	written []fragment
}

// String returns the text.
func (r *Result) String() string { return r.text }

// Render writes the document with all edits. It cannot fail.
func (d *Document) Render() *Result {
	w := &writer{doc: d, written: make([]fragment, 0, d.edited)}
	w.Grow(len(d.src) + len(d.src)/8)
	w.element(d.Root)
	w.copyTo(len(d.src))
	return &Result{text: w.String(), doc: d, written: w.written}
}

// writer writes a document with its edits: copies of the source, and between
// them fragments, which it notes.
type writer struct {
	strings.Builder
	doc     *Document
	copied  int // How far the source has been copied or replaced.
	written []fragment
}

// fragment is a stretch of the result that is not a copy of the source, and
// what it stands for there.
type fragment struct {
	kind     ReplacementKind
	at       *Node // The element; the parent, if it is a new one.
	behind   *Node // The child that a new element follows; nil if it is the last.
	src, end int   // What it takes the place of in the source.
	from, to int   // Where it is in the result.
}

// copyTo copies the source up to an offset.
func (w *writer) copyTo(at int) {
	w.WriteString(w.doc.src[w.copied:at])
	w.copied = at
}

// begin opens a fragment that takes the place of the source from there on.
func (w *writer) begin(kind ReplacementKind, at *Node, src int) {
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
func (w *writer) element(n *Node) {
	e := n.edits
	if e != nil && (e.replacement != nil || e.hasText || (n.closed && len(e.insertions) > 0)) {
		w.begin(ReplacedElement, n, n.start)
		w.anew(n, e)
		w.finish(n.end)
		return
	}
	if e != nil && len(e.attrs) > 0 {
		w.begin(ReplacedTag, n, n.start)
		w.startTag(n, e)
		w.copyTo(n.open)
		w.finish(n.open)
	}
	if !n.closed {
		w.content(n, e)
	}
}

// anew writes an element that gets other content, or is replaced altogether.
func (w *writer) anew(n *Node, e *edits) {
	indent, pretty := n.indent()
	if e.replacement != nil {
		w.elem(e.replacement, indent, pretty)
		return
	}
	w.startTag(n, e)
	if n.closed {
		w.WriteString(">")
	} else {
		w.copyTo(n.open)
	}
	if e.hasText {
		w.WriteString(inText.Replace(e.text))
	} else {
		for _, in := range e.insertions {
			w.lineBreak(indent+"  ", pretty)
			w.elem(in.elem, indent+"  ", pretty)
		}
		w.lineBreak(indent, pretty)
	}
	w.WriteString("</")
	w.WriteString(n.Name)
	w.WriteString(">")
}

// startTag writes the start tag with its changed attributes, up to behind the
// last one. Quotes and white space stay as they were.
func (w *writer) startTag(n *Node, e *edits) {
	last := n.nameEnd()
	for _, a := range n.sourceAttrs() {
		before := last
		last = a.to + 1
		j := slices.IndexFunc(e.attrs, func(ac attrEdit) bool { return ac.Name == n.doc.nameOf(&a) })
		switch {
		case j < 0:
		case e.attrs[j].removed:
			w.copyTo(max(before, w.copied))
			w.copied = last
		default:
			w.copyTo(a.from)
			w.WriteString(escape(e.attrs[j].Value, w.doc.src[a.to]))
			w.copied = a.to
		}
	}
	w.copyTo(max(last, w.copied))
	for i := range e.attrs {
		if ac := &e.attrs[i]; !ac.removed && !n.HasAttr(ac.Name) {
			w.attr(ac.Attr)
		}
	}
}

// content writes what changes in the content of an element.
func (w *writer) content(n *Node, e *edits) {
	inserts := e != nil && len(e.insertions) > 0
	for child := n.FirstChild; child != nil; child = child.NextSibling {
		if child.touched {
			if child.gone() {
				w.gone(child)
			} else {
				w.element(child)
			}
		}
		if inserts && e.insertsBehind(child) {
			w.copyTo(child.end)
			w.insertions(n, child)
		}
	}
	if !inserts || !e.insertsBehind(nil) {
		return
	}
	start := max(w.copied, n.open)
	kept := strings.TrimRight(w.doc.src[start:n.shut], " \t\r\n")
	w.copyTo(start + len(kept))
	w.insertions(n, nil)
	if w.copied == n.shut && n.FirstChild == nil {
		indent, pretty := n.indent()
		w.lineBreak(indent, pretty)
		w.finish(w.copied) // The white space belongs to the last insertion.
	}
}

// gone leaves out an element, and its line if it had one of its own.
func (w *writer) gone(n *Node) {
	gap := w.doc.src[w.copied:n.start]
	w.begin(RemovedElement, n, w.copied+len(cutLine(gap)))
	w.finish(n.end)
}

// insertsBehind reports whether something is to be put behind this child.
func (e *edits) insertsBehind(child *Node) bool {
	return slices.ContainsFunc(e.insertions, func(in insertion) bool { return in.behind == child })
}

func (w *writer) insertions(n, behind *Node) {
	indent, pretty := n.childIndent()
	for _, in := range n.edits.insertions {
		if in.behind != behind {
			continue
		}
		w.begin(AddedElement, n, w.copied)
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

func (w *writer) elem(e *Elem, indent string, pretty bool) {
	w.WriteString("<")
	w.WriteString(e.Name)
	for _, a := range e.Attrs {
		w.attr(a)
	}
	if e.Text == "" && len(e.Children) == 0 {
		w.WriteString("/>")
		return
	}
	w.WriteString(">")
	w.WriteString(inText.Replace(e.Text))
	inner := indent + "  "
	for _, c := range e.Children {
		w.lineBreak(inner, pretty)
		w.elem(c, inner, pretty)
	}
	if len(e.Children) > 0 {
		w.lineBreak(indent, pretty)
	}
	w.WriteString("</")
	w.WriteString(e.Name)
	w.WriteString(">")
}

func (w *writer) attr(a Attr) {
	w.WriteString(" ")
	w.WriteString(a.Name)
	w.WriteString("='")
	w.WriteString(escape(a.Value, '\''))
	w.WriteString("'")
}

// indent returns the white space before the element on its line, and whether
// the element starts its line.
func (n *Node) indent() (string, bool) {
	i := n.start
	for i > 0 && (n.doc.src[i-1] == ' ' || n.doc.src[i-1] == '\t') {
		i--
	}
	if i > 0 && n.doc.src[i-1] != '\n' {
		return "", n.Parent == nil
	}
	return n.doc.src[i:n.start], true
}

func (n *Node) childIndent() (string, bool) {
	if n.FirstChild != nil {
		return n.FirstChild.indent()
	}
	indent, pretty := n.indent()
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

// What has to be written in another way: between tags, and in both kinds of quotes.
var (
	inText   = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;")
	inSingle = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;", "\n", "&#10;", "\t", "&#9;", "'", "&apos;")
	inDouble = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;", "\n", "&#10;", "\t", "&#9;", `"`, "&quot;")
)

// escape writes the value of an attribute for use between the given quotes.
func escape(value string, quote byte) string {
	if quote == '"' {
		return inDouble.Replace(value)
	}
	return inSingle.Replace(value)
}
