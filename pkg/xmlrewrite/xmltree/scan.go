package xmltree

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	cdataOpen    = "<![CDATA["
	cdataClose   = "]]>"
	commentOpen  = "<!--"
	commentClose = "-->"

	// Limits as in the library that libvirt parses with, so that what is
	// accepted here is not refused there for its shape.
	maxDepth         = 256
	maxDocumentBytes = 10 << 20
	maxAttributes    = 256
)

// SyntaxError says where a document is not well-formed. It never quotes the document.
type SyntaxError struct {
	Line   int // From 1.
	Column int // In characters, from 1.
	What   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.What)
}

// Parse reads a document. The error is a [*SyntaxError].
func Parse(src string) (*Document, error) {
	s := newScanner(src, len(src))
	if err := s.document(); err != nil {
		return nil, err
	}
	return s.doc, nil
}

// scanner turns the source into a tree in one pass.
type scanner struct {
	src   string // Up to where it is read.
	pos   int
	open  *Node // The innermost element that is open, and the last child in it so far.
	last  *Node
	depth int
	doc   *Document
	nodes []Node // Not used yet: one allocation serves many.
	chunk int    // How many are made at a time.
}

// newScanner returns a scanner of a text, of which that many bytes are to be read.
func newScanner(src string, size int) *scanner {
	return &scanner{
		src: src,
		// An element of libvirt's takes some 50 bytes, and an attribute half of that. More than
		// 200 elements at a time would be a large object to Go's allocator, which costs more.
		doc: &Document{src: src, attrs: make([]sourceAttr, 0, 1+size/24)}, chunk: min(1+size/48, 200),
	}
}

func (s *scanner) node() *Node {
	if len(s.nodes) == 0 {
		s.nodes = make([]Node, s.chunk)
	}
	n := &s.nodes[0]
	s.nodes = s.nodes[1:]
	return n
}

// begin has the scanner read what is between two offsets.
func (s *scanner) begin(from, to int) {
	s.src, s.pos, s.open, s.last, s.depth, s.doc.Root = s.doc.src[:to], from, nil, nil, 0, nil
}

// readElement reads the element that is all there is between two offsets, but for space.
func (s *scanner) readElement(from, to int) (*Node, error) {
	s.begin(from, to)
	err := s.elements()
	return s.doc.Root, err
}

// readTag reads the start tag that is all there is between two offsets.
func (s *scanner) readTag(from, to int) (*Node, error) {
	s.begin(from, to)
	if from == to || s.src[from] != '<' {
		return nil, s.fail(from, "there is no start tag")
	}
	if err := s.startTag(); err != nil {
		return nil, err
	}
	if s.pos != to {
		return nil, s.fail(s.pos, "there is something behind the start tag")
	}
	return s.doc.Root, nil
}

func (s *scanner) document() error {
	if len(s.src) > maxDocumentBytes {
		return s.fail(0, "the document is larger than 10 MiB")
	}
	if strings.HasPrefix(s.src, "\ufeff") {
		s.pos = len("\ufeff")
	}
	if err := s.declaration(); err != nil {
		return err
	}
	return s.elements()
}

// elements reads the root element and what is around it.
func (s *scanner) elements() error {
	for s.pos < len(s.src) {
		if err := s.next(); err != nil {
			return err
		}
	}
	switch {
	case s.open != nil:
		return s.fail(len(s.src), "the document ends inside an element")
	case s.doc.Root == nil:
		return s.fail(len(s.src), "the document holds no element")
	}
	return nil
}

func (s *scanner) fail(at int, what string) error {
	before := s.src[:min(at, len(s.src))]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return &SyntaxError{Line: line, Column: column, What: what}
}

// declaration checks the XML declaration, if there is one.
func (s *scanner) declaration() error {
	rest := s.src[s.pos:]
	if !strings.HasPrefix(rest, "<?xml") || len(rest) < 6 || !isSpace(rest[5]) {
		return nil
	}
	stop := strings.Index(rest, "?>")
	if stop < 0 {
		return s.fail(s.pos, "the XML declaration is not closed")
	}
	head := strings.ToLower(rest[:stop])
	if i := strings.Index(head, "encoding"); i >= 0 && !strings.Contains(head[i:], "utf-8") && !strings.Contains(head[i:], "ascii") {
		return s.fail(s.pos, "the encoding must be UTF-8")
	}
	if i := strings.Index(head, "version"); i >= 0 && !strings.Contains(head[i:], "1.0") {
		return s.fail(s.pos, "the XML version must be 1.0")
	}
	from := s.pos
	s.pos += stop + len("?>")
	return s.checkCharacters(from, s.pos)
}

// next handles the text up to the next piece of markup, and that piece.
func (s *scanner) next() error {
	at := s.skipSpace(s.pos)
	if at < len(s.src) && s.src[at] != '<' {
		from := at
		at = s.find('<', from)
		if err := s.characterData(from, at); err != nil {
			return err
		}
	}
	s.pos = at
	rest := s.src[s.pos:]
	if len(rest) < 2 {
		if rest != "" {
			return s.fail(s.pos, "a start tag is not closed")
		}
		return nil
	}
	switch rest[1] {
	case '/':
		return s.endTag()
	case '?':
		return s.skip("<?", "?>", "a processing instruction is not closed")
	case '!':
		return s.declarationLike(rest)
	}
	return s.startTag()
}

// declarationLike handles what starts with an exclamation mark.
func (s *scanner) declarationLike(rest string) error {
	switch {
	case strings.HasPrefix(rest, commentOpen):
		return s.comment()
	case !strings.HasPrefix(rest, cdataOpen):
		return s.fail(s.pos, "a document type declaration is not accepted; remove it")
	case s.open == nil:
		return s.fail(s.pos, "text is not allowed outside the root element")
	}
	return s.skip(cdataOpen, cdataClose, "a CDATA section is not closed")
}

// characterData checks text that is not just white space.
func (s *scanner) characterData(from, to int) error {
	if s.open == nil {
		return s.fail(from, "text is not allowed outside the root element")
	}
	if strings.Contains(s.src[from:to], cdataClose) {
		return s.fail(from, "the sequence ]]> is not allowed in text")
	}
	if err := s.checkCharacters(from, to); err != nil {
		return err
	}
	return s.checkReferences(from, to)
}

func (s *scanner) comment() error {
	body := s.src[s.pos+len(commentOpen):]
	i := strings.Index(body, "--")
	if i < 0 {
		return s.fail(s.pos, "a comment is not closed")
	}
	if !strings.HasPrefix(body[i:], commentClose) {
		return s.fail(s.pos, "a comment must not contain two hyphens in a row")
	}
	return s.skip(commentOpen, commentClose, "a comment is not closed")
}

func (s *scanner) skip(open, shut, what string) error {
	body := s.pos + len(open)
	i := strings.Index(s.src[body:], shut)
	if i < 0 {
		return s.fail(s.pos, what)
	}
	if open == "<?" {
		target := s.src[body : body+i]
		end := scanName(target)
		if end == 0 || (end < len(target) && !isSpace(target[end])) || strings.EqualFold(target[:end], "xml") {
			return s.fail(s.pos, "a processing instruction needs a name other than xml")
		}
	}
	if s.open != nil {
		s.open.hasOther = true
	}
	s.pos = body + i + len(shut)
	return s.checkCharacters(body, body+i)
}

func (s *scanner) endTag() error {
	from := s.pos + len("</")
	if s.open == nil || !strings.HasPrefix(s.src[from:], s.open.Name) {
		return s.fail(s.pos, "this end tag does not match the start tag before it")
	}
	at := s.skipSpace(from + len(s.open.Name))
	if at == len(s.src) || s.src[at] != '>' {
		return s.fail(s.pos, "an end tag is not closed")
	}
	s.open.shut, s.open.end = s.pos, at+1
	s.pos = at + 1
	s.open, s.last = s.open.Parent, s.open
	s.depth--
	return nil
}

func (s *scanner) startTag() error {
	from := s.pos + 1
	end := from + scanName(s.src[from:])
	if end == from {
		return s.fail(s.pos, "an element name is missing or malformed")
	}
	if s.open == nil && s.doc.Root != nil {
		return s.fail(s.pos, "there must be only one root element")
	}
	if s.depth == maxDepth {
		return s.fail(s.pos, "elements are nested too deeply")
	}
	n := s.node()
	n.Name, n.Parent, n.doc, n.start = s.src[from:end], s.open, s.doc, s.pos
	if err := s.attributes(n, end); err != nil {
		return err
	}
	s.link(n)
	s.pos = n.open
	if n.closed {
		n.shut, n.end, s.last = n.open, n.open, n
		return nil
	}
	s.open, s.last = n, nil
	s.depth++
	return nil
}

// link puts a new element into the tree.
func (s *scanner) link(n *Node) {
	switch p := n.Parent; {
	case p == nil:
		s.doc.Root = n
		return
	case s.last == nil:
		p.FirstChild = n
	default:
		s.last.NextSibling = n
	}
	n.Foreign = n.Parent.Foreign
	if namespace, declares := n.Attr("xmlns"); declares {
		n.Foreign = namespace != ""
	}
}

// attributes reads from behind the element's name to the end of the start tag.
func (s *scanner) attributes(n *Node, at int) error {
	n.firstAttr = len(s.doc.attrs)
	n.endAttr = n.firstAttr
	for {
		from := at
		at = s.skipSpace(at)
		if done, err := s.tagEnd(n, at); done || err != nil {
			return err
		}
		switch {
		case at == from:
			return s.fail(at, "white space is missing before an attribute")
		case n.endAttr-n.firstAttr == maxAttributes:
			return s.fail(at, "an element has too many attributes")
		}
		a, err := s.attribute(at)
		if err != nil {
			return err
		}
		if n.HasAttr(s.doc.nameOf(&a)) {
			return s.fail(at, "an attribute appears twice")
		}
		s.doc.attrs = append(s.doc.attrs, a)
		n.endAttr++
		at = a.to + 1
	}
}

func (s *scanner) skipSpace(at int) int {
	src := s.src
	for at < len(src) && isSpace(src[at]) {
		at++
	}
	return at
}

// tagEnd reports whether the start tag ends here.
func (s *scanner) tagEnd(n *Node, at int) (bool, error) {
	switch {
	case at == len(s.src):
		return false, s.fail(n.start, "a start tag is not closed")
	case s.src[at] == '>':
		n.open = at + 1
		return true, nil
	case s.src[at] != '/':
		return false, nil
	case at+1 == len(s.src) || s.src[at+1] != '>':
		return false, s.fail(at, "a start tag is not closed")
	}
	n.open, n.closed = at+2, true
	return true, nil
}

// attribute reads one attribute.
func (s *scanner) attribute(at int) (sourceAttr, error) {
	var none sourceAttr
	end := at + scanName(s.src[at:])
	if end == at {
		return none, s.fail(at, "an attribute name is missing or malformed")
	}
	from, err := s.valueStart(at, end)
	if err != nil {
		return none, err
	}
	to, err := s.value(at, from)
	return sourceAttr{at, end, from, to}, err
}

// value reads the value, behind its opening quote, of the attribute that begins there, and
// returns the offset of the closing quote.
func (s *scanner) value(at, from int) (int, error) {
	src, quote := s.src, s.src[from-1]
	to, odd, references := from, false, false
	for to < len(src) && src[to] != quote {
		switch c := src[to]; {
		case c == '<':
			return 0, s.fail(at, "an attribute value must not contain a less-than sign")
		case c == '&':
			references = true
		case !isOrdinary(c):
			odd = true
		}
		to++
	}
	if to == len(src) {
		return 0, s.fail(at, "an attribute value is not closed")
	}
	if odd {
		if err := s.checkCharacters(from, to); err != nil {
			return 0, err
		}
	}
	if references {
		return to, s.decode(from, to)
	}
	return to, nil
}

// decode notes the value that is between two offsets, its references replaced.
func (s *scanner) decode(from, to int) error {
	if err := s.checkReferences(from, to); err != nil {
		return err
	}
	if s.doc.decoded == nil {
		s.doc.decoded = make(map[int]string)
	}
	s.doc.decoded[from] = decodeText(s.src[from:to])
	return nil
}

// valueStart returns the offset behind the quote that opens the value of an
// attribute, whose name begins and ends there. There may be white space between.
func (s *scanner) valueStart(at, end int) (int, error) {
	end = s.skipSpace(end)
	if end == len(s.src) || s.src[end] != '=' {
		return 0, s.fail(at, "an attribute has no value")
	}
	from := s.skipSpace(end+1) + 1
	if from > len(s.src) || (s.src[from-1] != '\'' && s.src[from-1] != '"') {
		return 0, s.fail(at, "an attribute value is not quoted")
	}
	return from, nil
}

// find returns the offset of the first such byte from there on, or that of the
// end.
func (s *scanner) find(c byte, from int) int {
	if i := strings.IndexByte(s.src[from:], c); i >= 0 {
		return from + i
	}
	return len(s.src)
}

// checkReferences accepts the five predefined entities and character references.
func (s *scanner) checkReferences(from, to int) error {
	text := s.src[from:to]
	for {
		i := strings.IndexByte(text, '&')
		if i < 0 {
			return nil
		}
		text = text[i:]
		if _, size := decodeReference(text); size > 0 {
			text = text[size:]
			continue
		}
		return s.fail(to-len(text), "this entity or character reference is not known")
	}
}
