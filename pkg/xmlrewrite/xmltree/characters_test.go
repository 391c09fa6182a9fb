package xmltree

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestCharacters: those of XML 1.0 at the ends of their ranges, as they are and as references.
func TestCharacters(t *testing.T) {
	t.Parallel()
	for r, want := range map[rune]bool{
		0: false, 0x8: false, '\t': true, '\n': true, 0xb: false, '\r': true, 0x1f: false, ' ': true, '~': true, 0x7f: true, 0x80: true,
		0xd7ff: true, 0xe000: true, 0xfffd: true, 0xfffe: false, 0xffff: false, 0x10000: true, 0x10ffff: true,
	} {
		for _, text := range []string{
			"<a>" + string(r) + "</a>", "<a b='" + string(r) + "'/>", "<a><!--" + string(r) + "--></a>",
			"<a>&#" + strconv.Itoa(int(r)) + ";</a>", "<a>&#x" + strconv.FormatInt(int64(r), 16) + ";</a>",
		} {
			if _, err := Parse(text); (err == nil) != want {
				t.Errorf("U+%04X in %q: %v", r, text, err)
			}
		}
	}
	if IsCharacter(0xd800) || IsCharacter(0xdfff) || IsCharacter(0x110000) {
		t.Error("half a pair, or what is no character, is one")
	}
}

// TestNoBadCharacterIsOverlooked, wherever it is: each part of a document is checked where it
// is read.
func TestNoBadCharacterIsOverlooked(t *testing.T) {
	t.Parallel()
	const good = "\ufeff<?xml version='1.0' encoding='utf-8'?>\n<!-- é -->\n<?p é?>\n<é-a b='1' c = \"&amp;é\">x é &lt;<![CDATA[ é ]]><!-- y --><?q z?>\n <b/><c d=''></c >\n</é-a>\n<!-- end -->\n"
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\x00", "\x08", "\x1f", "\xff", "\xc3", "\xa9", "\xed\xa0\x80", "\ufffe"} {
		for at := range len(good) + 1 {
			if text := good[:at] + bad + good[at:]; bad[0] < 0x80 || utf8.ValidString(good[:at]) {
				if _, err := Parse(text); err == nil {
					t.Errorf("%q is accepted at %d: %q", bad, at, text)
				}
			}
		}
	}
}

// TestReferences: the five names and numbers are replaced, and nothing behind them is lost.
func TestReferences(t *testing.T) {
	t.Parallel()
	a := parsed(t, "<a b='&amp;1&lt;2&gt;3&apos;4&quot;5&#65;6&#x42;7'>&amp;1&lt;2&gt;3&apos;4&quot;5&#65;6&#x42;7</a>")
	if want := `&1<2>3'4"5A6B7`; a.Value("b") != want || a.Text() != want {
		t.Errorf("read as %q and %q", a.Value("b"), a.Text())
	}
	for _, bad := range []string{
		"&", "&;", "&amp", "&amp ;", "&AMP;", "&nbsp;", "&65;", "&x41;", "&#;", "&#x;", "&#X41;", "&#-1;", "&#xd800;", "&#x110000;", "&#0;", "&#99999999999;",
	} {
		for _, text := range []string{"<a>" + bad + "</a>", "<a b='" + bad + "'/>"} {
			if _, err := Parse(text); err == nil {
				t.Errorf("%q is taken", text)
			}
		}
	}
}

// TestNames of elements and attributes, by their first and their later characters.
func TestNames(t *testing.T) {
	t.Parallel()
	const first, later = true, false
	for r, begins := range map[rune]bool{
		'a': first, 'z': first, 'A': first, 'Z': first, '_': first, ':': first, '0': later, '9': later, '-': later, '.': later,
		0xb7: later, 0xc0: first, 0xd6: first, 0xd8: first, 0xf6: first, 0xf8: first, 0x2ff: first, 0x300: later, 0x36f: later, 0x370: first,
		0x37d: first, 0x37f: first, 0x1fff: first, 0x200c: first, 0x200d: first, 0x203f: later, 0x2040: later, 0x2070: first, 0x218f: first,
		0x2c00: first, 0x2fef: first, 0x3001: first, 0xd7ff: first, 0xf900: first, 0xfdcf: first, 0xfdf0: first, 0xfffd: first,
		0x10000: first, 0xeffff: first,
	} {
		checkName(t, string(r), begins)
		checkName(t, "a"+string(r), true)
		checkName(t, "é"+string(r)+"a", true)
	}
	for _, r := range []rune{
		'/', ';', '@', '[', '`', '{', '!', 0x80, 0xb6, 0xb8, 0xbf, 0xd7, 0xf7, 0x37e, 0x2000, 0x200b, 0x200e, 0x203e, 0x2041, 0x206f, 0x2190,
		0x2bff, 0x2ff0, 0x3000, 0xf8ff, 0xfdd0, 0xfdef, 0xf0000,
	} {
		checkName(t, "a"+string(r)+"a", false)
		checkName(t, "é"+string(r), false)
	}
	checkName(t, "", false)
}

func checkName(t *testing.T, name string, want bool) {
	t.Helper()
	for _, text := range []string{"<" + name + "></" + name + ">", "<" + name + "/>", "<a " + name + "='1'/>", "<?" + name + "?><a/>"} {
		if strings.HasPrefix(text, "<!") || strings.HasPrefix(text, "</") {
			continue // It is something else.
		}
		doc, err := Parse(text)
		if (err == nil) != want {
			t.Errorf("the name %q (%U) in %q: %v", name, []rune(name), text, err)
		}
		if err == nil && text == "<"+name+"/>" && doc.Root.Name != name {
			t.Errorf("the name %q is read as %q", name, doc.Root.Name)
		}
	}
}
