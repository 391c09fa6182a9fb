package xmltree

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// isOrdinary reports whether a document may hold this byte wherever it is. Others take a
// closer look.
func isOrdinary(c byte) bool { return c-' ' < utf8.RuneSelf-' ' }

// checkCharacters refuses bytes that no XML 1.0 document may hold. Each part of a document
// that takes more than names and white space is checked where it is read.
func (s *scanner) checkCharacters(from, to int) error {
	src := s.src[:to]
	for at := from; at < to; {
		if isOrdinary(src[at]) {
			at++
			continue
		}
		r, size := utf8.DecodeRuneInString(src[at:])
		switch {
		case r == utf8.RuneError && size == 1:
			return s.fail(at, "the document is not UTF-8")
		case IsCharacter(r):
			at += size
		case r < ' ':
			return s.fail(at, "a control character is not allowed here")
		default:
			return s.fail(at, "this character is not allowed in XML")
		}
	}
	return nil
}

// decodeReference decodes the reference at the start of s; size 0 means there
// is none.
func decodeReference(s string) (rune, int) {
	stop := strings.IndexByte(s[:min(len(s), 12)], ';')
	if stop < 0 {
		return 0, 0
	}
	name := s[1:stop]
	switch name {
	case "amp":
		return '&', stop + 1
	case "lt":
		return '<', stop + 1
	case "gt":
		return '>', stop + 1
	case "apos":
		return '\'', stop + 1
	case "quot":
		return '"', stop + 1
	}
	r, ok := characterNumber(name)
	if !ok {
		return 0, 0
	}
	return r, stop + 1
}

// characterNumber decodes what stands between the ampersand and the semicolon
// of a reference by number.
func characterNumber(name string) (rune, bool) {
	digits, isNumber := strings.CutPrefix(name, "#")
	digits, isHex := strings.CutPrefix(digits, "x")
	base := 10
	if isHex {
		base = 16
	}
	v, err := strconv.ParseUint(digits, base, 32)
	if !isNumber || err != nil || v > utf8.MaxRune || !IsCharacter(rune(v)) {
		return 0, false
	}
	return rune(v), true
}

// decodeText replaces references in text whose references are known to be good.
func decodeText(s string) string {
	i := strings.IndexByte(s, '&')
	if i < 0 {
		return s
	}
	var b strings.Builder
	for i >= 0 {
		b.WriteString(s[:i])
		r, size := decodeReference(s[i:])
		if size == 0 {
			break
		}
		b.WriteRune(r)
		s = s[i+size:]
		i = strings.IndexByte(s, '&')
	}
	b.WriteString(s)
	return b.String()
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// IsCharacter reports whether a document may hold this character.
func IsCharacter(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xd800:
		return true
	}
	return (r >= 0xe000 && r <= 0xfffd) || (r >= 0x10000 && r <= utf8.MaxRune)
}

// scanName returns the length of the XML name that s starts with. Names are
// ASCII in all but the strangest documents.
func scanName(s string) int {
	i := 0
	for i < len(s) && isNameByte(s[i]) {
		i++
	}
	if i > 0 && (s[0] == '-' || s[0] == '.' || (s[0] >= '0' && s[0] <= '9')) {
		return 0
	}
	if i < len(s) && s[i] >= utf8.RuneSelf {
		return scanWideName(s, i)
	}
	return i
}

// scanWideName goes on from i, where a character beyond ASCII is.
func scanWideName(s string, i int) int {
	for i < len(s) {
		r, size := utf8.DecodeRuneInString(s[i:])
		if (size > 1 && !isNameRune(r, i == 0)) || (size == 1 && !isNameByte(s[i])) {
			break
		}
		i += size
	}
	return i
}

// isNameByte reports whether a name may hold this byte; what is beyond ASCII is judged
// by isNameRune.
func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == ':' || c == '_'
}

// isNameRune judges the characters beyond ASCII.
func isNameRune(r rune, first bool) bool {
	if !first && (r == 0xb7 || (r >= 0x300 && r <= 0x36f) || r == 0x203f || r == 0x2040) {
		return true
	}
	for _, span := range [...][2]rune{
		{0xc0, 0xd6}, {0xd8, 0xf6}, {0xf8, 0x2ff}, {0x370, 0x37d}, {0x37f, 0x1fff}, {0x200c, 0x200d},
		{0x2070, 0x218f}, {0x2c00, 0x2fef}, {0x3001, 0xd7ff}, {0xf900, 0xfdcf}, {0xfdf0, 0xfffd}, {0x10000, 0xeffff},
	} {
		if r >= span[0] && r <= span[1] {
			return true
		}
	}
	return false
}
