package xmltree

import "strings"

// ReplacementKind says what stands in the result instead of what.
type ReplacementKind int

const (
	// ReplacedTag is another start tag of an element.
	ReplacedTag ReplacementKind = iota
	// ReplacedElement is another element, or one with other content.
	ReplacedElement
	// AddedElement is an element that the source does not have.
	AddedElement
	// RemovedElement is an element that the result does not have.
	RemovedElement
)

// Replacement is a place where the result is not a copy of the source.
type Replacement struct {
	Kind ReplacementKind
	// At is the element of the source; of an added one, the parent.
	At *Node
	// After is what the result has there, read anew: the element, of which a start tag
	// has attributes only. It is nil if the element was removed.
	After *Node
}

// Replacements reads the result back and returns every place where it differs from the
// source. Every byte of the result is accounted for: it is either the copy of a byte of
// the source, in order and without a gap, or part of a replacement, which can be read and
// takes the place of exactly what it stands for. If that does not hold, the element where
// it does not is returned.
func (r *Result) Replacements() (replaced []Replacement, broken *Node) {
	source := r.doc.src
	copied, at := 0, 0
	if len(r.written) > 0 {
		replaced = make([]Replacement, 0, len(r.written))
	}
	anew := newScanner(r.text, r.fresh())
	for i := range r.written {
		f := &r.written[i]
		if f.src < copied || f.end < f.src || source[copied:f.src] != r.text[at:f.from] || !f.inPlace(source) {
			return nil, f.at
		}
		after, ok := f.read(anew)
		if !ok {
			return nil, f.at
		}
		replaced = append(replaced, Replacement{Kind: f.kind, At: f.at, After: after})
		copied, at = f.end, f.to
	}
	if source[copied:] != r.text[at:] {
		return nil, r.doc.Root
	}
	return replaced, nil
}

// fresh returns how many bytes of the result are no copies.
func (r *Result) fresh() int {
	size := 0
	for i := range r.written {
		size += r.written[i].to - r.written[i].from
	}
	return size
}

// read reads what was written.
func (f *fragment) read(s *scanner) (after *Node, ok bool) {
	switch f.kind {
	case RemovedElement:
		return nil, true
	case ReplacedTag:
		after, err := s.readTag(f.from, f.to)
		return after, err == nil && after.Name == f.at.Name && after.closed == f.at.closed
	case ReplacedElement, AddedElement:
	}
	after, err := s.readElement(f.from, f.to)
	return after, err == nil
}

// inPlace reports whether the fragment takes the place of exactly what it stands
// for in the source.
func (f *fragment) inPlace(source string) bool {
	n := f.at
	switch f.kind {
	case ReplacedTag:
		return f.src == n.start && f.end == n.open
	case ReplacedElement:
		return f.src == n.start && f.end == n.end
	case RemovedElement:
		return f.src <= n.start && f.end == n.end && f.from == f.to && strings.Trim(source[f.src:n.start], " \t\r\n") == ""
	case AddedElement:
		return f.src == f.end && !n.closed && f.isBehind()
	}
	return false
}

// isBehind reports whether a new element is where it should be.
func (f *fragment) isBehind() bool {
	if f.behind != nil {
		return f.behind.Parent == f.at && f.src == f.behind.end
	}
	last := f.at.open // Where the last child ends or, without one, the start tag.
	for c := f.at.FirstChild; c != nil; c = c.NextSibling {
		last = c.end
	}
	return f.src >= last && f.src <= f.at.shut
}
