package xmltree

import "slices"

// store is the memory for elements and their attributes: one allocation serves many.
type store struct {
	nodes []Node
	attrs []sourceAttr // Empty; what it has room for is not used yet.
	chunk int          // How many of both are made at a time.
}

// newStore returns memory for a text of that many bytes.
func newStore(size int) *store {
	// An element of libvirt's takes some 50 bytes. More than 200 at a time would be a large
	// object to Go's allocator, which costs more.
	return &store{chunk: min(1+size/48, 200)}
}

func (s *store) node() *Node {
	if len(s.nodes) == 0 {
		s.nodes = make([]Node, s.chunk)
	}
	n := &s.nodes[0]
	s.nodes = s.nodes[1:]
	return n
}

// room returns an empty list to which attributes are appended. It is handed back with
// them by keep.
func (s *store) room() []sourceAttr {
	const usual = 8 // Hardly any element has more.
	if cap(s.attrs) < usual {
		s.attrs = make([]sourceAttr, 0, max(s.chunk, usual))
	}
	return s.attrs
}

// keep returns the list without the room behind it, which the next element gets.
func (s *store) keep(attrs []sourceAttr) []sourceAttr {
	s.attrs = attrs[len(attrs):]
	return slices.Clip(attrs)
}
