package xmltree

// Elem is an element to be written.
type Elem struct {
	Name  string
	Attrs []Attr
	// Children are written in their order. An element with children has no text.
	Children []*Elem
	// Text is the character data; it is escaped when it is written.
	Text string
}

// Attr is an attribute. Its value is escaped when it is written.
type Attr struct{ Name, Value string }

// NewElem makes an element from its name and pairs of attribute name and
// value. A pair with an empty value is left out: an empty address or list of
// processors must never reach libvirt.
func NewElem(name string, pairs ...string) *Elem {
	e := &Elem{Name: name, Attrs: make([]Attr, 0, len(pairs)/2)}
	for i := 0; i+1 < len(pairs); i += 2 {
		e.AddAttr(pairs[i], pairs[i+1])
	}
	return e
}

// AddAttr appends an attribute, unless its value is empty.
func (e *Elem) AddAttr(name, value string) {
	if value != "" {
		e.Attrs = append(e.Attrs, Attr{name, value})
	}
}

// Add appends children that are not nil, and returns the element itself.
func (e *Elem) Add(children ...*Elem) *Elem {
	for _, c := range children {
		if c != nil {
			e.Children = append(e.Children, c)
		}
	}
	return e
}

// Elem returns an element that says what n says, without its comments.
func (n *Node) Elem() *Elem {
	e := &Elem{Name: n.Name}
	for name, value := range n.Attrs() {
		e.Attrs = append(e.Attrs, Attr{name, value})
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		e.Add(c.Elem())
	}
	if n.FirstChild == nil {
		e.Text = n.Text()
	}
	return e
}

// Same reports whether an element already says what e says: attributes in any
// order, children in the same order.
func (n *Node) Same(e *Elem) bool {
	if n.Name != e.Name || n.Foreign || n.endAttr-n.firstAttr != len(e.Attrs) {
		return false
	}
	for _, a := range e.Attrs {
		if v, ok := n.Attr(a.Name); !ok || v != a.Value {
			return false
		}
	}
	c := n.FirstChild
	for _, child := range e.Children {
		if c == nil || !c.Same(child) {
			return false
		}
		c = c.NextSibling
	}
	return c == nil && (len(e.Children) > 0 || n.Text() == e.Text)
}
