package xmlrewrite

import "strings"

// node is one element of the source document. It remembers which bytes of the
// source it came from, so that everything nobody edits is copied as it was.
// The tree always shows the original document: an edit is kept beside the node
// (see change) and becomes visible only in what render writes. That is why one
// step never sees the work of another, and why swapped or chained maps come
// out right.
type node struct {
	name   string
	attrs  []attr
	parent *node
	first  *node
	last   *node
	next   *node

	start    int32 // Offset of the opening angle bracket.
	open     int32 // Offset just behind the start tag.
	shut     int32 // Offset of the end tag.
	end      int32 // Offset just behind the element.
	closed   bool
	foreign  bool
	hasOther bool // Holds comments, CDATA or processing instructions.
	touched  bool // This element or one below it has a change.

	position int32 // Among the siblings of its name, from 1; set by numberChildren.
	alone    bool  // There is no other; set by numberChildren.

	change *change
	doc    *document // Set in the root only.
}

// document returns the document that the element is part of.
func (n *node) document() *document {
	for n.parent != nil {
		n = n.parent
	}
	return n.doc
}

// attr is one attribute; value is decoded.
type attr struct {
	name  string
	value string
	from  int32 // Offset of the first byte of the value.
	to    int32 // Offset of the closing quote.
}

// nameEnd returns the offset just behind the name in the start tag.
func (n *node) nameEnd() int32 { return n.start + 1 + int32(len(n.name)) } //nolint:gosec // Documents are at most 10 MiB.

// document is a parsed source.
type document struct {
	src    string
	root   *node
	sorted []deviceList // Filled by devices.
	cells  []int        // Filled by guestCells.

	changes *arena[change]
}

// deviceList holds the devices of one element name, in document order.
type deviceList struct {
	name    string
	count   int
	devices []*node
}

// child returns the first child element of this name, or nil.
func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	for c := n.first; c != nil; c = c.next {
		if c.name == name && !c.foreign {
			return c
		}
	}
	return nil
}

// sibling returns the next sibling of the same name, or nil.
func (n *node) sibling() *node {
	for c := n.next; c != nil; c = c.next {
		if c.name == n.name && !c.foreign {
			return c
		}
	}
	return nil
}

// lastChild returns the last child element of this name, or nil.
func (n *node) lastChild(name string) *node {
	last := n.child(name)
	for c := last; c != nil; c = c.sibling() {
		last = c
	}
	return last
}

// children returns all child elements of this name.
func (n *node) children(name string) []*node {
	if n == nil {
		return nil
	}
	var found []*node
	for c := n.first; c != nil; c = c.next {
		if c.name == name && !c.foreign {
			found = append(found, c)
		}
	}
	return found
}

// attr returns the decoded value of an attribute and whether it is there.
func (n *node) attr(name string) (string, bool) {
	if n == nil {
		return "", false
	}
	for i := range n.attrs {
		if n.attrs[i].name == name {
			return n.attrs[i].value, true
		}
	}
	return "", false
}

// hasAttr reports whether there is an attribute of this name.
func (n *node) hasAttr(name string) bool {
	_, ok := n.attr(name)
	return ok
}

// value returns the decoded value of an attribute, empty where it is missing.
func (n *node) value(name string) string {
	v, _ := n.attr(name)
	return v
}

// text returns the character data directly inside the element, without the
// white space around it.
func (d *document) text(n *node) string {
	if n == nil || n.closed {
		return ""
	}
	if n.first == nil && !n.hasOther {
		return strings.TrimSpace(decodeText(d.src[n.open:n.shut]))
	}
	var b strings.Builder
	pos := n.open
	for c := n.first; ; c = c.next {
		stop := n.shut
		if c != nil {
			stop = c.start
		}
		appendCharacterData(&b, d.src[pos:stop])
		if c == nil {
			break
		}
		pos = c.end
	}
	return strings.TrimSpace(b.String())
}

// appendCharacterData decodes a stretch that holds text, comments, CDATA and
// processing instructions, but no elements.
func appendCharacterData(b *strings.Builder, s string) {
	for s != "" {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			b.WriteString(decodeText(s))
			return
		}
		b.WriteString(decodeText(s[:i]))
		s = s[i:]
		closing := "?>"
		switch {
		case strings.HasPrefix(s, cdataOpen):
			closing = cdataClose
		case strings.HasPrefix(s, commentOpen):
			closing = commentClose
		}
		j := strings.Index(s, closing)
		if j < 0 {
			return
		}
		if closing == cdataClose {
			b.WriteString(s[len(cdataOpen):j])
		}
		s = s[j+len(closing):]
	}
}

// path returns where the element is, in XPath notation. A position is given
// where siblings share the name. It holds element names only, never content.
func (n *node) path() string {
	if n == nil {
		return ""
	}
	if n.parent == nil {
		return "/" + n.name
	}
	if n.position == 0 {
		n.parent.numberChildren()
	}
	p := n.parent.path() + "/" + n.name
	if !n.alone {
		p += "[" + itoa(n.position) + "]"
	}
	return p
}

// numberChildren gives the children their positions among those of the same
// name, all at once: a guest may have very many, each with a problem.
func (n *node) numberChildren() {
	totals := make(map[string]int32)
	for c := n.first; c != nil; c = c.next {
		totals[c.name]++
		c.position = totals[c.name]
	}
	for c := n.first; c != nil; c = c.next {
		c.alone = totals[c.name] == 1
	}
}
