package xmltree

import "testing"

func parsed(t *testing.T, text string) *Node {
	t.Helper()
	doc, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return doc.Root
}

// TestEdits: an edit changes its place and nothing else, in the style around it.
func TestEdits(t *testing.T) {
	t.Parallel()
	const text = "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b>one</b>\n  <c/>\n</a>\n"
	for name, test := range map[string]struct {
		edit func(a *Node)
		want string
	}{
		"nothing":                      {func(*Node) {}, text},
		"an attribute in its quotes":   {func(a *Node) { a.SetAttr("x", `"<3>'`) }, "<a x=\"&quot;&lt;3&gt;'\"  y='2'>\n  <!-- kept -->\n  <b>one</b>\n  <c/>\n</a>\n"},
		"an attribute as it is":        {func(a *Node) { a.SetAttr("y", "2") }, text},
		"a new attribute":              {func(a *Node) { a.Child("c").SetAttr("z", "it's\n") }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b>one</b>\n  <c z='it&apos;s&#10;'/>\n</a>\n"},
		"an attribute that goes":       {func(a *Node) { a.RemoveAttr("x") }, "<a  y='2'>\n  <!-- kept -->\n  <b>one</b>\n  <c/>\n</a>\n"},
		"another text":                 {func(a *Node) { a.Child("b").SetText("1 & 2") }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b>1 &amp; 2</b>\n  <c/>\n</a>\n"},
		"an element that goes":         {func(a *Node) { a.Child("b").Remove() }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <c/>\n</a>\n"},
		"what is not empty stays":      {func(a *Node) { a.Child("b").RemoveIfEmpty() }, text},
		"an element last":              {func(a *Node) { a.Append(NewElem("d", "e", "1", "f", "")) }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b>one</b>\n  <c/>\n  <d e='1'/>\n</a>\n"},
		"an element behind another":    {func(a *Node) { a.InsertBehind(a.Child("b"), NewElem("d").Add(NewElem("e"))) }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b>one</b>\n  <d>\n    <e/>\n  </d>\n  <c/>\n</a>\n"},
		"an element in a new one":      {func(a *Node) { a.AppendIn("d", a.Child("b"), NewElem("e")); a.AppendIn("d", nil, NewElem("f")) }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b>one</b>\n  <d>\n    <e/>\n    <f/>\n  </d>\n  <c/>\n</a>\n"},
		"an element in an empty one":   {func(a *Node) { a.Child("c").Append(NewElem("d")) }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b>one</b>\n  <c>\n    <d/>\n  </c>\n</a>\n"},
		"the only one, and it is":      {func(a *Node) { a.SyncChild("b", &Elem{Name: "b", Text: "one"}) }, text},
		"the only one, another":        {func(a *Node) { a.SyncChild("b", NewElem("b", "c", "1")) }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b c='1'/>\n  <c/>\n</a>\n"},
		"a list in the place of one":   {func(a *Node) { a.SyncList("b", []*Elem{NewElem("b"), NewElem("b")}) }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <b/>\n  <b/>\n  <c/>\n</a>\n"},
		"replaced, whatever was in it": {func(a *Node) { a.Child("b").SetText("two"); a.Child("b").Replace(NewElem("d")) }, "<a x=\"1\"  y='2'>\n  <!-- kept -->\n  <d/>\n  <c/>\n</a>\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkEdit(t, text, test.edit, test.want)
		})
	}
}

// checkEdit edits a document and compares what is written, all of which has to be accounted
// for.
func checkEdit(t *testing.T, text string, edit func(root *Node), want string) {
	t.Helper()
	root := parsed(t, text)
	edit(root)
	result := root.doc.Render()
	if result.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", result, want)
	}
	if _, broken := result.Replacements(); broken != nil {
		t.Errorf("not all is accounted for: %s", broken.Path())
	}
}

// TestReplacementsMissNothing alters the result behind the writer's back, byte by byte,
// wherever it is a copy: that must be seen.
func TestReplacementsMissNothing(t *testing.T) {
	t.Parallel()
	a := parsed(t, "<a>\n  <b c='1'/>\n  <d/>\n  <e>text</e>\n</a>\n")
	a.Child("b").SetAttr("c", "2")
	a.Child("d").Remove()
	a.Append(NewElem("f"))
	good := a.doc.Render()
	if replaced, broken := good.Replacements(); broken != nil || len(replaced) != 3 {
		t.Fatalf("there are %d replacements; broken: %v", len(replaced), broken.Path())
	}
	inFragment := func(i int) bool {
		for _, f := range good.written {
			if i >= f.from && i < f.to {
				return true
			}
		}
		return false
	}
	check := func(what string, bad Result) {
		t.Helper()
		if _, broken := bad.Replacements(); broken == nil {
			t.Errorf("this is not seen: %s:\n%s", what, bad.text)
		}
	}
	for i := range good.text {
		if !inFragment(i) {
			check("another byte", Result{good.text[:i] + "~" + good.text[i+1:], good.doc, good.written})
		}
	}
	for i := range good.written {
		for _, shift := range []int{-1, 1} {
			bad := Result{good.text, good.doc, append([]fragment{}, good.written...)}
			bad.written[i].end += shift
			check("another place", bad)
		}
	}
	b := parsed(t, "<a><b/></a>")
	b.Child("b").Append(NewElem("c d"))
	check("a name that is none", *b.doc.Render())
}

// TestTreeReads covers what the tree tells of a document.
func TestTreeReads(t *testing.T) {
	t.Parallel()
	a := parsed(t, "<a><b>&lt;1<!-- x --> <![CDATA[<2]]></b><c/><b y='&amp;'/><d xmlns='urn:x'><b/></d></a>")
	if got := a.Child("b").Text(); got != "<1 <2" {
		t.Errorf("the text is %q", got)
	}
	if got := a.LastChild("b").Value("y"); got != "&" {
		t.Errorf("the value is %q", got)
	}
	if got := a.LastChild("b").Path(); got != "/a/b[2]" {
		t.Errorf("the path is %s", got)
	}
	if a.Child("d") != nil || len(a.Children("b")) != 2 || !a.Child("c").NextSibling.NextSibling.FirstChild.Foreign {
		t.Error("what is in another namespace is not told apart")
	}
	var none *Node
	if none.Child("b").Child("c").Text() != "" || none.Path() != "" || none.HasAttr("x") || none.Children("b") != nil {
		t.Error("nothing has something in it")
	}
	if a.Child("c").Source() != "<c/>" || !a.Child("c").Same(NewElem("c")) || a.Child("c").Elem().Name != "c" {
		t.Error("an element is not what its source says")
	}
}

// TestParseRefuses: what is not well-formed is refused with its place, and without a word
// of what is in it.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"<a>\n  <b></c>\n</a>":      "line 2, column 6: this end tag does not match the start tag before it",
		"<a é=\"1\" é='2'/>":        "line 1, column 10: an attribute appears twice",
		"<a b='1'c='2'/>":           "line 1, column 9: white space is missing before an attribute",
		"<a b='<'/>":                "line 1, column 4: an attribute value must not contain a less-than sign",
		"<a b='1/>":                 "line 1, column 4: an attribute value is not closed",
		"<a>\x01</a>":               "line 1, column 4: a control character is not allowed here",
		"<a>\xff</a>":               "line 1, column 4: the document is not UTF-8",
		"<a>\ufffe</a>":             "line 1, column 4: this character is not allowed in XML",
		"<a/><b/>":                  "line 1, column 5: there must be only one root element",
		"<!DOCTYPE a><a/>":          "line 1, column 1: a document type declaration is not accepted; remove it",
		"<a>&secret;</a>":           "line 1, column 4: this entity or character reference is not known",
		"<?xml version='1.1'?><a/>": "line 1, column 1: the XML version must be 1.0",
		"<a>":                       "line 1, column 4: the document ends inside an element",
		"":                          "line 1, column 1: the document holds no element",
	} {
		_, err := Parse(text)
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
