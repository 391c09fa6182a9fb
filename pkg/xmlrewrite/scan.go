package xmlrewrite

import (
	"fmt"
	"strconv"
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

// syntaxError says where the document is not well-formed. It never quotes the
// document, which may hold console passwords.
type syntaxError struct {
	line, column int
	what         string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.line, e.column, e.what)
}

// scanner turns the source into a tree in one pass. It accepts XML 1.0 in
// UTF-8 without a document type, which is what libvirt writes and reads.
type scanner struct {
	src   string
	pos   int
	open  *node
	root  *node
	depth int
	amp   int // Offset of the first ampersand from some place on.
	doc   document

	nodes   arena[node]
	attrs   arena[attr]
	changes arena[change]
}

// parse reads a document.
func parse(src string) (*document, error) { return new(scanner).document(src) }

// begin turns to another text. What was read before is good until then.
func (s *scanner) begin(src string) error {
	s.src, s.pos, s.open, s.root, s.depth, s.amp = src, 0, nil, nil, 0, -1
	s.doc = document{src: src, changes: &s.changes}
	if len(src) > maxDocumentBytes {
		return &syntaxError{line: 1, column: 1, what: "the document is larger than 10 MiB"}
	}
	return s.checkCharacters()
}

// tag reads a start tag that stands alone.
func (s *scanner) tag(src string) (*node, error) {
	if err := s.begin(src); err != nil {
		return nil, err
	}
	if src == "" || src[0] != '<' {
		return nil, s.fail(0, "there is no start tag")
	}
	if err := s.startTag(); err != nil {
		return nil, err
	}
	if s.pos != len(src) {
		return nil, s.fail(s.pos, "there is something behind the start tag")
	}
	return s.root, nil
}

// document reads one document.
func (s *scanner) document(src string) (*document, error) {
	if err := s.begin(src); err != nil {
		return nil, err
	}
	if strings.HasPrefix(s.src, "\ufeff") {
		s.pos = len("\ufeff")
	}
	if err := s.declaration(); err != nil {
		return nil, err
	}
	for s.pos < len(s.src) {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	switch {
	case s.open != nil:
		return nil, s.fail(len(s.src), "the document ends inside an element")
	case s.root == nil:
		return nil, s.fail(len(s.src), "the document holds no element")
	}
	s.doc.root, s.root.doc = s.root, &s.doc
	return &s.doc, nil
}

func (s *scanner) fail(at int, what string) error {
	before := s.src[:min(at, len(s.src))]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return &syntaxError{line: line, column: column, what: what}
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
	s.pos += stop + len("?>")
	return nil
}

// next handles the text up to the next piece of markup, and that piece.
func (s *scanner) next() error {
	at := s.skipIndent(s.pos)
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
	if s.refersIn(from, to) {
		return s.checkReferences(from, to)
	}
	return nil
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
	return nil
}

func (s *scanner) endTag() error {
	from := s.pos + len("</")
	if s.open == nil || !strings.HasPrefix(s.src[from:], s.open.name) {
		return s.fail(s.pos, "this end tag does not match the start tag before it")
	}
	at := from + len(s.open.name)
	for at < len(s.src) && isSpace(s.src[at]) {
		at++
	}
	if at == len(s.src) || s.src[at] != '>' {
		return s.fail(s.pos, "an end tag is not closed")
	}
	s.open.shut, s.open.end = offset(s.pos), offset(at+1)
	s.pos = at + 1
	s.open = s.open.parent
	s.depth--
	return nil
}

func (s *scanner) startTag() error {
	from := s.pos + 1
	end := from + scanName(s.src[from:])
	if end == from {
		return s.fail(s.pos, "an element name is missing or malformed")
	}
	if s.open == nil && s.root != nil {
		return s.fail(s.pos, "there must be only one root element")
	}
	if s.depth == maxDepth {
		return s.fail(s.pos, "elements are nested too deeply")
	}
	n := s.nodes.take()
	n.name, n.start, n.parent = s.src[from:end], offset(s.pos), s.open
	if err := s.attributes(n, end); err != nil {
		return err
	}
	s.link(n)
	s.pos = int(n.open)
	if n.closed {
		n.shut, n.end = n.open, n.open
		return nil
	}
	s.open = n
	s.depth++
	return nil
}

// link puts a new element into the tree. An element that declares a default
// namespace of its own is not libvirt's, and neither is what it holds.
func (s *scanner) link(n *node) {
	if p := n.parent; p == nil {
		s.root = n
		return
	} else if p.last == nil {
		p.first, p.last = n, n
	} else {
		p.last.next, p.last = n, n
	}
	n.foreign = n.parent.foreign
	for i := range n.attrs {
		if n.attrs[i].name == "xmlns" {
			n.foreign = n.attrs[i].value != ""
		}
	}
}

// attributes reads from behind the element's name to the end of the start tag.
func (s *scanner) attributes(n *node, at int) error {
	src, first, seen := s.src, len(s.attrs.chunk), uint64(0)
	for {
		from := at
		at = s.skipSpace(at)
		if at == len(src) || !isNameByte(src[at]) {
			if done, err := s.tagEnd(n, at); done || err != nil {
				n.attrs = s.attrs.chunk[first:len(s.attrs.chunk):len(s.attrs.chunk)]
				return err
			}
		}
		switch {
		case at == from:
			return s.fail(at, "white space is missing before an attribute")
		case len(s.attrs.chunk)-first == maxAttributes:
			return s.fail(at, "an element has too many attributes")
		}
		if len(s.attrs.chunk) == cap(s.attrs.chunk) {
			first = s.attrs.move(first)
		}
		a := s.attrs.take()
		if err := s.attribute(a, at); err != nil {
			return err
		}
		// Two attributes of one name have the same mark; others seldom do.
		mark := uint64(1) << ((uint(len(a.name))*8 + uint(a.name[0])) % 64)
		if seen&mark != 0 && repeats(s.attrs.chunk[first:]) {
			return s.fail(at, "an attribute appears twice")
		}
		seen |= mark
		at = int(a.to) + 1
	}
}

// repeats reports whether the last attribute has the name of another.
func repeats(attrs []attr) bool {
	last := len(attrs) - 1
	for i := range last {
		if attrs[i].name == attrs[last].name {
			return true
		}
	}
	return false
}

func (s *scanner) skipSpace(at int) int {
	src := s.src
	for at < len(src) && isSpace(src[at]) {
		at++
	}
	return at
}

// skipIndent passes over white space, mostly a line feed and blanks.
func (s *scanner) skipIndent(at int) int {
	src := s.src
	if at < len(src) && src[at] == '\n' {
		at++
	}
	for len(src)-at >= 8 {
		n := leading(wordAt(src, at) ^ blanks)
		at += n
		if n < 8 {
			break
		}
	}
	if at < len(src) && isSpace(src[at]) {
		return s.skipSpace(at)
	}
	return at
}

// tagEnd reports whether the start tag ends here.
func (s *scanner) tagEnd(n *node, at int) (bool, error) {
	switch {
	case at == len(s.src):
		return false, s.fail(int(n.start), "a start tag is not closed")
	case s.src[at] == '>':
		n.open = offset(at + 1)
		return true, nil
	case s.src[at] != '/':
		return false, nil
	case at+1 == len(s.src) || s.src[at+1] != '>':
		return false, s.fail(at, "a start tag is not closed")
	}
	n.open, n.closed = offset(at+2), true
	return true, nil
}

// attribute reads one attribute.
func (s *scanner) attribute(a *attr, at int) error {
	src := s.src
	end := at + scanName(src[at:])
	if end == at {
		return s.fail(at, "an attribute name is missing or malformed")
	}
	from := end + 2
	if from > len(src) || src[end] != '=' || (src[end+1] != '\'' && src[end+1] != '"') {
		var err error
		if from, err = s.valueStart(at, end); err != nil {
			return err
		}
	}
	to := valueEnd(src, from, src[from-1])
	switch {
	case to == len(src):
		return s.fail(at, "an attribute value is not closed")
	case src[to] == '<':
		return s.fail(at, "an attribute value must not contain a less-than sign")
	}
	a.name, a.value, a.from, a.to = src[at:end], src[from:to], offset(from), offset(to)
	if s.refersIn(from, to) {
		a.value = decodeText(a.value)
		return s.checkReferences(from, to)
	}
	return nil
}

// refersIn reports whether there is an ampersand in a stretch of the source. It
// must be asked in the order of the source.
func (s *scanner) refersIn(from, to int) bool {
	if s.amp < from {
		s.amp = s.find('&', from)
	}
	return s.amp < to
}

// valueStart returns the offset behind the quote that opens the value of an
// attribute, whose name begins and ends there. There may be white space between.
func (s *scanner) valueStart(at, end int) (int, error) {
	src := s.src
	end = s.skipSpace(end)
	if end == len(src) || src[end] != '=' {
		return 0, s.fail(at, "an attribute has no value")
	}
	from := s.skipSpace(end+1) + 1
	if from > len(src) || (src[from-1] != '\'' && src[from-1] != '"') {
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

// offset narrows an offset, of which documents have at most maxDocumentBytes.
func offset(at int) int32 { return int32(at) } //nolint:gosec // See above.

// reuse gives up all documents read so far: the next one takes their room.
func (s *scanner) reuse() {
	s.nodes.reset()
	s.attrs.reset()
	s.changes.reset()
}

// release gives up all documents and all that leads to them.
func (s *scanner) release() {
	s.reuse()
	*s = scanner{nodes: s.nodes, attrs: s.attrs, changes: s.changes}
}

func itoa[T ~int | ~int32 | ~int64 | ~uint32](v T) string { return strconv.FormatInt(int64(v), 10) }
