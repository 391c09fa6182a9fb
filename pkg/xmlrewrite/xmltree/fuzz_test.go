package xmltree

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse compares with the standard library: what is accepted here, the library reads,
// too, and finds the same in it.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../testdata/golden/*.guest.xml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds found: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, s := range []string{
		"<a/>", "<a>&#x41;&lt;</a>", "<a b='1' c=\"2\"/>", "\ufeff<a/>", "<?xml version='1.0'?><a/>", "<a><![CDATA[]]]]></a>",
		"<!DOCTYPE a><a/>", "<a b='1' b='2'/>", "<a>]]></a>", "<a>&x;</a>", "<a></b>", "<a", "", "<é/>", "<a b='<'/>", "<!-- -- --><a/>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := Parse(string(text))
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Line < 1 || syntax.Column < 1 {
				t.Fatalf("the error is not a syntax error with a position: %v", err)
			}
			return
		}
		if got := doc.Render().String(); got != string(text) {
			t.Fatalf("a document without edits changed: %q became %q", text, got)
		}
		compareTokens(t, doc, text)
	})
}

func compareTokens(t *testing.T, doc *Document, text []byte) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(string(text), "\ufeff")))
	n := doc.Root
	depth := 0
	for {
		token, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if odd(string(text)) {
				return
			}
			t.Fatalf("the standard library refuses %q: %v", text, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			if n == nil || len(token.Attr) != len(n.sourceAttrs()) {
				t.Fatalf("elements or attributes differ in %q", text)
			}
			if !odd(n.Name) && qualified(token.Name) != n.Name {
				t.Fatalf("names differ: %q and %q", qualified(token.Name), n.Name)
			}
			for i, a := range token.Attr {
				if want := n.doc.valueOf(&n.sourceAttrs()[i]); a.Value != want && !strings.Contains(want, "\r") {
					t.Fatalf("values differ: %q and %q", a.Value, want)
				}
			}
			n = following(n)
			depth++
		case xml.EndElement:
			depth--
		}
	}
	if n != nil || depth != 0 {
		t.Fatalf("the number of elements differs in %q", text)
	}
}

// odd is set for names that the standard library splits or judges in its own way.
func odd(s string) bool {
	return strings.ContainsRune(s, ':') || strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f })
}

func qualified(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// following returns the next element in the order of the document.
func following(n *Node) *Node {
	if n.FirstChild != nil {
		return n.FirstChild
	}
	for ; n != nil; n = n.Parent {
		if n.NextSibling != nil {
			return n.NextSibling
		}
	}
	return nil
}
