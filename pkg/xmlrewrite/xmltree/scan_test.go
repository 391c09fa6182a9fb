package xmltree

import (
	"fmt"
	"strings"
	"testing"
)

// TestParseAccepts what is well-formed, however unusual.
func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"\ufeff<a/>", " <a/> ", "<?xml version='1.0'?><a/>", "<?xml version=\"1.0\" encoding='UTF-8'?>\n<a/>", "<?xml encoding='us-ascii'?><a/>",
		"<?xml\tversion='1.0'?><a/>", "<?xmlish?><a/>", "<?b?><a/>", "<?b c?><a><?d?></a><?e?>", "<!-- b --><a/><!--c-->", "<a><!----></a>",
		"<a ></a >", "<a\n/>", "<a b = '1'\n\tc=\"2\" />", "<a b='\"' c=\"'\"/>", "<a b='>'/>", "<a>></a>", "<a>]]</a>", "<a>]></a>",
		"<a><![CDATA[]]></a>", "<a><![CDATA[<&]]]]></a>", "<a><b/>c</a>", "<a>b<c/></a>",
	} {
		doc, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := doc.Render().String(); got != text || doc.Root.Name != "a" {
			t.Errorf("%q is written as %q", text, got)
		}
	}
}

// TestParseRefusesMore than TestParseRefuses, of which the place does not matter.
func TestParseRefusesMore(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"<", "a", "<a", "<a ", "<a/", "<a b", "<a b=", "<a b=1/>", "<a b='", "<a b='1", "<a b='1'", "<a b='1'/", "<a b/>", "<a ='1'/>", "<a/ >",
		"<a b='1\"/>", "< a/>", "<a><", "<a></", "<a></a", "<a></a b>", "<a></ a>", "<a></b>", "</a>", "<a/></a>", "<a></a></a>", "<a>b", "b<a/>", "<a/>b",
		"<a/>&amp;", "<a>]]></a>", "<a><!-- --", "<a><!-- -- --></a>", "<a><!-- ---></a>", "<!--", "<a><![CDATA[</a>", "<![CDATA[]]><a/>", "<a/><![CDATA[]]>",
		"<a><!b></a>", "<?", "<??><a/>", "<?b<a/>", "<?1?><a/>", "<?b/?><a/>", "<a><?xml?></a>", "<a><?XML version='1.0'?></a>", " <?xml version='1.0'?><a/>",
		"<?xml version='1.0'", "<?xml version='2.0'?><a/>", "<?xml version='1.0' encoding='latin1'?><a/>", "\ufeff", " ", "<a/><!DOCTYPE a>", "<a><b></a></b>",
	} {
		if doc, err := Parse(text); err == nil {
			t.Errorf("%q is taken for %q", text, doc.Root.Source())
		}
	}
}

// TestParseLimits are those of the library that libvirt reads XML with.
func TestParseLimits(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	beside := func(n int) string { return "<a>" + strings.Repeat("<b></b>", n) + "</a>" }
	attributes := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " a%d='%d'", i, i)
		}
		return "<a" + b.String() + "/>"
	}
	padded := func(n int) string { return "<a/>" + strings.Repeat(" ", n-len("<a/>")) }
	for name, c := range map[string]struct{ good, bad string }{
		"depth":      {nested(maxDepth), nested(maxDepth + 1)},
		"attributes": {attributes(maxAttributes), attributes(maxAttributes + 1)},
		"bytes":      {padded(maxDocumentBytes), padded(maxDocumentBytes + 1)},
		"siblings":   {beside(2 * maxDepth), ""},
	} {
		if _, err := Parse(c.good); err != nil {
			t.Errorf("%s: what is just short enough is refused: %v", name, err)
		}
		if _, err := Parse(c.bad); err == nil {
			t.Errorf("%s: what is just too much is taken", name)
		}
	}
}

// TestParseKeepsAttributesApart: elements with none, few and many have their own, whatever
// memory they come from.
func TestParseKeepsAttributesApart(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 3, 7, 8, 9, 40} {
		var b strings.Builder
		b.WriteString("<r>")
		for i := range 300 {
			fmt.Fprintf(&b, "<e%d", i)
			for j := range i % (most + 1) {
				fmt.Fprintf(&b, " a%d='%d.%d'", j, i, j)
			}
			b.WriteString("/>")
		}
		b.WriteString("</r>")
		n := parsed(t, b.String()).FirstChild
		for i := range 300 {
			j := 0
			for name, value := range n.Attrs() {
				if want := fmt.Sprintf("%d.%d", i, j); name != fmt.Sprintf("a%d", j) || value != want {
					t.Fatalf("with up to %d attributes, number %d of element %d is %s=%q", most, j, i, name, value)
				}
				j++
			}
			if j != i%(most+1) {
				t.Fatalf("element %d has %d attributes", i, j)
			}
			n = n.NextSibling
		}
	}
}

// TestDepthIsNotTheNumberOfElements: a document may have more of them than it may be deep.
func TestDepthIsNotTheNumberOfElements(t *testing.T) {
	t.Parallel()
	if _, err := Parse("<a>" + strings.Repeat("<b></b><c/>", 2*maxDepth) + "</a>"); err != nil {
		t.Error(err)
	}
}

// TestBytesThatBeginNothing are no UTF-8, from the first of them on.
func TestBytesThatBeginNothing(t *testing.T) {
	t.Parallel()
	for text, good := range map[string]bool{"\x7f": true, "\u0080": true, "\x80": false, "\xbf": false, " ": true, "\x1f": false} {
		if _, err := Parse("<a>" + text + "</a>"); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := Parse("<a b='" + text + "'/>"); (err == nil) != good {
			t.Errorf("%q in an attribute: %v", text, err)
		}
	}
}
