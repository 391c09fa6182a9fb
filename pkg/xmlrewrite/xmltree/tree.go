package xmltree

import (
	"iter"
	"strconv"
	"strings"
)

// Document is a document that was read.
type Document struct {
	// Root is its outermost element.
	Root *Node

	src       string
	attrs     []sourceAttr       // Of all elements, in their order.
	decoded   map[int]string     // By the offset of a value: the value, if it has references.
	edited    int                // How many edits there are, at most.
	positions map[*Node]position // Set by numberChildren.
}

// position is where an element is among its siblings of the same name.
type position struct {
	number int // From 1.
	alone  bool
}

// Node is an element of a document. It remembers which bytes of the source it came
// from. Its fields are for reading only.
type Node struct {
	// Name is the name as it is written, with its prefix if it has one.
	Name string
	// Parent is the element around this one; nil for the root.
	Parent *Node
	// FirstChild is the first element inside this one; nil if there is none.
	FirstChild *Node
	// NextSibling is the next element with the same parent; nil if this is the last.
	NextSibling *Node

	doc   *Document
	edits *edits

	firstAttr, endAttr int // Which of the document's attributes it has.

	start int // Offset of the opening angle bracket.
	open  int // Offset just behind the start tag.
	shut  int // Offset of the end tag.
	end   int // Offset just behind the element.

	// Foreign is set in elements that are in a default namespace that one of them, other
	// than the root, declares.
	Foreign  bool
	closed   bool
	hasOther bool // Holds comments, CDATA or processing instructions.
	touched  bool // This element or one below it has an edit.
}

// sourceAttr is where an attribute is in the source. Offsets are cheaper than strings:
// there are very many.
type sourceAttr struct {
	name    int // Offset of the name.
	nameEnd int // Offset just behind it.
	from    int // Offset of the first byte of the value.
	to      int // Offset of the closing quote.
}

// nameOf returns the name of an attribute.
func (d *Document) nameOf(a *sourceAttr) string { return d.src[a.name:a.nameEnd] }

// valueOf returns the value of an attribute, its references replaced.
func (d *Document) valueOf(a *sourceAttr) string {
	if d.decoded != nil {
		if value, has := d.decoded[a.from]; has {
			return value
		}
	}
	return d.src[a.from:a.to]
}

// sourceAttrs returns the attributes of an element.
func (n *Node) sourceAttrs() []sourceAttr { return n.doc.attrs[n.firstAttr:n.endAttr] }

// nameEnd returns the offset just behind the name in the start tag.
func (n *Node) nameEnd() int { return n.start + 1 + len(n.Name) }

// Source returns the bytes of the element as they were read.
func (n *Node) Source() string { return n.doc.src[n.start:n.end] }

// Child returns the first child element of this name that is not foreign, or nil. So
// does every other method that looks for elements by name. It may be asked of nil.
func (n *Node) Child(name string) *Node {
	if n == nil {
		return nil
	}
	return firstNamed(n.FirstChild, name)
}

// NextSame returns the next sibling of the same name, or nil.
func (n *Node) NextSame() *Node { return firstNamed(n.NextSibling, n.Name) }

// firstNamed returns the first of n and the siblings behind it that has the name.
func firstNamed(n *Node, name string) *Node {
	for ; n != nil; n = n.NextSibling {
		if n.Name == name && !n.Foreign {
			return n
		}
	}
	return nil
}

// LastChild returns the last child element of this name, or nil.
func (n *Node) LastChild(name string) *Node {
	last := n.Child(name)
	for c := last; c != nil; c = c.NextSame() {
		last = c
	}
	return last
}

// Children returns all child elements of this name. It may be asked of nil.
func (n *Node) Children(name string) []*Node {
	var found []*Node
	for c := n.Child(name); c != nil; c = c.NextSame() {
		found = append(found, c)
	}
	return found
}

// Attrs goes through the names and values of the attributes in the order of the source.
// It may be asked of nil.
func (n *Node) Attrs() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		if n == nil {
			return
		}
		for i := n.firstAttr; i < n.endAttr; i++ {
			if a := &n.doc.attrs[i]; !yield(n.doc.nameOf(a), n.doc.valueOf(a)) {
				return
			}
		}
	}
}

// Attr returns the value of an attribute, its references replaced, and whether it is
// there. It may be asked of nil.
func (n *Node) Attr(name string) (string, bool) {
	if n == nil {
		return "", false
	}
	for i := n.firstAttr; i < n.endAttr; i++ {
		if a := &n.doc.attrs[i]; n.doc.nameOf(a) == name {
			return n.doc.valueOf(a), true
		}
	}
	return "", false
}

// HasAttr reports whether there is an attribute of this name. It may be asked of nil.
func (n *Node) HasAttr(name string) bool {
	_, ok := n.Attr(name)
	return ok
}

// Value returns the value of an attribute, its references replaced; empty where it is
// missing. It may be asked of nil.
func (n *Node) Value(name string) string {
	v, _ := n.Attr(name)
	return v
}

// Text returns the character data directly inside the element, without the white space
// around it. It may be asked of nil.
func (n *Node) Text() string { return strings.TrimSpace(n.ExactText()) }

// ExactText returns the character data directly inside the element. It may be asked of nil.
func (n *Node) ExactText() string {
	if n == nil || n.closed {
		return ""
	}
	if n.FirstChild == nil && !n.hasOther {
		return decodeText(n.doc.src[n.open:n.shut])
	}
	var b strings.Builder
	pos := n.open
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		appendCharacterData(&b, n.doc.src[pos:c.start])
		pos = c.end
	}
	appendCharacterData(&b, n.doc.src[pos:n.shut])
	return b.String()
}

// appendCharacterData decodes a stretch that holds text, comments, CDATA and
// processing instructions, but no elements.
func appendCharacterData(b *strings.Builder, s string) {
	for s != "" {
		text, rest, more := strings.Cut(s, "<")
		b.WriteString(decodeText(text))
		if !more {
			return
		}
		s = "<" + rest
		closing := "?>"
		switch {
		case strings.HasPrefix(s, cdataOpen):
			closing = cdataClose
		case strings.HasPrefix(s, commentOpen):
			closing = commentClose
		}
		inside, rest, _ := strings.Cut(s, closing)
		if closing == cdataClose {
			b.WriteString(inside[len(cdataOpen):])
		}
		s = rest
	}
}

// Path returns where the element is, in XPath notation. A position is given where
// siblings share the name. It holds element names only, never content. The path of nil
// is empty.
func (n *Node) Path() string {
	if n == nil {
		return ""
	}
	if n.Parent == nil {
		return "/" + n.Name
	}
	at, numbered := n.doc.positions[n]
	if !numbered {
		n.Parent.numberChildren()
		at = n.doc.positions[n]
	}
	p := n.Parent.Path() + "/" + n.Name
	if !at.alone {
		p += "[" + strconv.Itoa(at.number) + "]"
	}
	return p
}

// numberChildren finds out the positions of the children among those of the same
// name, all at once: there may be very many, and somebody may ask for each.
func (n *Node) numberChildren() {
	if n.doc.positions == nil {
		n.doc.positions = make(map[*Node]position)
	}
	totals := make(map[string]int)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		totals[c.Name]++
		n.doc.positions[c] = position{number: totals[c.Name]}
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		n.doc.positions[c] = position{n.doc.positions[c].number, totals[c.Name] == 1}
	}
}
