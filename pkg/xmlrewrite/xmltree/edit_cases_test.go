package xmltree

import "testing"

// TestEditsOfOneElement, of which the last counts, and what others ask about them.
func TestEditsOfOneElement(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		edit func(a *Node)
		want string
	}{
		"two values for one attribute":         {"<a b='1'/>", func(a *Node) { a.SetAttr("b", "2"); a.SetAttr("b", "3") }, "<a b='3'/>"},
		"two attributes":                       {"<a b='1' c='1'/>", func(a *Node) { a.SetAttr("b", "2"); a.SetAttr("c", "3") }, "<a b='2' c='3'/>"},
		"one that comes and one that goes":     {"<a b='1' c='2'>x</a>", func(a *Node) { a.RemoveAttr("b"); a.SetAttr("d", "3") }, "<a c='2' d='3'>x</a>"},
		"one that goes twice":                  {"<a b='1'/>", func(a *Node) { a.RemoveAttr("b"); a.RemoveAttr("b"); a.RemoveAttr("c") }, "<a/>"},
		"both that there are":                  {"<a b='1' c='2' />", func(a *Node) { a.RemoveAttr("b"); a.RemoveAttr("c") }, "<a />"},
		"the same text":                        {"<a>b</a>", func(a *Node) { a.SetText("b") }, "<a>b</a>"},
		"the same text beside an element":      {"<a>b<c/></a>", func(a *Node) { a.SetText("b") }, "<a>b</a>"},
		"no text any more":                     {"<a>b</a>", func(a *Node) { a.SetText("") }, "<a></a>"},
		"a text where there was no room":       {"<a b='1'/>", func(a *Node) { a.SetText("c"); a.SetAttr("b", "2") }, "<a b='2'>c</a>"},
		"an empty one without anything":        {"<a><b/></a>", func(a *Node) { a.Child("b").RemoveIfEmpty() }, "<a></a>"},
		"an empty one with an attribute":       {"<a><b c='1'/></a>", func(a *Node) { a.Child("b").RemoveIfEmpty() }, "<a><b c='1'/></a>"},
		"an empty one with a text":             {"<a><b>c</b></a>", func(a *Node) { a.Child("b").RemoveIfEmpty() }, "<a><b>c</b></a>"},
		"an empty one with a comment":          {"<a><b><!-- c --></b></a>", func(a *Node) { a.Child("b").RemoveIfEmpty() }, "<a><b><!-- c --></b></a>"},
		"an empty one that gets an element":    {"<a><b></b></a>", func(a *Node) { b := a.Child("b"); b.RemoveIfEmpty(); b.Append(NewElem("c")) }, "<a><b><c/></b></a>"},
		"an empty one that is replaced":        {"<a><b/></a>", func(a *Node) { b := a.Child("b"); b.RemoveIfEmpty(); b.Replace(NewElem("c")) }, "<a><c/></a>"},
		"one whose content stays":              {"<a><b><c/></b></a>", func(a *Node) { a.Child("b").RemoveIfEmpty() }, "<a><b><c/></b></a>"},
		"one whose content goes":               {"<a><b><c/><d/></b></a>", func(a *Node) { b := a.Child("b"); b.RemoveIfEmpty(); b.Child("c").Remove(); b.Child("d").Remove() }, "<a></a>"},
		"one of whose content one part goes":   {"<a><b><c/><d/></b></a>", func(a *Node) { b := a.Child("b"); b.RemoveIfEmpty(); b.Child("c").Remove() }, "<a><b><d/></b></a>"},
		"all of one name":                      {"<a><b/><c/><b/></a>", func(a *Node) { a.Child("b").RemoveAll() }, "<a><c/></a>"},
		"none of a name":                       {"<a/>", func(a *Node) { a.Child("b").RemoveAll() }, "<a/>"},
		"two behind one":                       {"<a><b/><c/></a>", func(a *Node) { b := a.Child("b"); a.InsertBehind(b, NewElem("x")); a.InsertBehind(b, NewElem("y")) }, "<a><b/><x/><y/><c/></a>"},
		"one behind each":                      {"<a><b/><c/></a>", func(a *Node) { a.InsertBehind(a.Child("c"), NewElem("y")); a.InsertBehind(a.Child("b"), NewElem("x")) }, "<a><b/><x/><c/><y/></a>"},
		"one behind another and one last":      {"<a><b/><c/></a>", func(a *Node) { a.Append(NewElem("y")); a.InsertBehind(a.Child("b"), NewElem("x")) }, "<a><b/><x/><c/><y/></a>"},
		"one in an element of one line":        {"<a></a>", func(a *Node) { a.Append(NewElem("b")) }, "<a>\n  <b/>\n</a>"},
		"one in the child that there is":       {"<a><b><c/></b></a>", func(a *Node) { a.AppendIn("b", nil, NewElem("d")) }, "<a><b><c/><d/></b></a>"},
		"the only child, made anew":            {"<a><c/></a>", func(a *Node) { a.SyncChild("b", NewElem("b"), "x", "c") }, "<a><c/><b/></a>"},
		"the only child, behind the first":     {"<a><c/><d/></a>", func(a *Node) { a.SyncChild("b", NewElem("b"), "c", "d") }, "<a><c/><b/><d/></a>"},
		"the only child, as there are two":     {"<a><b/><b/></a>", func(a *Node) { a.SyncChild("b", NewElem("b")) }, "<a><b/></a>"},
		"no child any more":                    {"<a><b/><b/></a>", func(a *Node) { a.SyncChild("b", nil) }, "<a></a>"},
		"a list as it is":                      {"<a><b x='1'/><b>2</b></a>", func(a *Node) { a.SyncList("b", []*Elem{NewElem("b", "x", "1"), {Name: "b", Text: "2"}}) }, "<a><b x='1'/><b>2</b></a>"},
		"a list with another attribute":        {"<a><b x='1'/></a>", func(a *Node) { a.SyncList("b", []*Elem{NewElem("b", "x", "2")}) }, "<a><b x='2'/></a>"},
		"a list that was longer":               {"<a><b/><b/></a>", func(a *Node) { a.SyncList("b", []*Elem{NewElem("b")}) }, "<a><b/></a>"},
		"characters that mean something":       {"<a/>", func(a *Node) { a.SetAttr("b", "<&>'\"\t\r\n") }, "<a b='&lt;&amp;&gt;&apos;\"&#9;&#13;&#10;'/>"},
		"characters that do so between tags":   {"<a>b</a>", func(a *Node) { a.SetText("<&>'\"\r") }, "<a>&lt;&amp;&gt;'\"&#13;</a>"},
		"a new element with text in it":        {"<a>\n\t<b/>\n</a>", func(a *Node) { a.Append((&Elem{Name: "c"}).Add(&Elem{Name: "d", Text: "e"})) }, "<a>\n\t<b/>\n\t<c>\n\t  <d>e</d>\n\t</c>\n</a>"},
		"one behind what stands in the middle": {"<a>\n  <b/> <c/>\n</a>", func(a *Node) { a.Child("c").Remove(); a.Append(NewElem("d")) }, "<a>\n  <b/> \n  <d/>\n</a>"},
		"another root":                         {"<!-- x -->\n<a/>\n", func(a *Node) { a.Replace(NewElem("b").Add(NewElem("c"))) }, "<!-- x -->\n<b>\n  <c/>\n</b>\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkEdit(t, test.text, test.edit, test.want)
		})
	}
}

// TestWhatIsAskedOfEdits: whether there are any, of the tag, of an attribute or of the text,
// and whether the element stays.
func TestWhatIsAskedOfEdits(t *testing.T) {
	t.Parallel()
	type answers struct{ edited, tag, attr, text, stays bool }
	for name, c := range map[string]struct {
		edit func(b *Node)
		want answers
	}{
		"none":                    {func(*Node) {}, answers{stays: true}},
		"its attribute":           {func(b *Node) { b.SetAttr("c", "2") }, answers{edited: true, tag: true, attr: true, stays: true}},
		"another attribute":       {func(b *Node) { b.SetAttr("d", "2") }, answers{edited: true, tag: true, stays: true}},
		"its attribute goes":      {func(b *Node) { b.RemoveAttr("c") }, answers{edited: true, tag: true, attr: true, stays: true}},
		"its text":                {func(b *Node) { b.SetText("2") }, answers{edited: true, text: true, stays: true}},
		"it goes":                 {func(b *Node) { b.Remove() }, answers{edited: true}},
		"it is replaced":          {func(b *Node) { b.Replace(NewElem("x")) }, answers{edited: true}},
		"it gets a child":         {func(b *Node) { b.Append(NewElem("x")) }, answers{edited: true, stays: true}},
		"something else is to go": {func(b *Node) { b.NextSibling.Remove() }, answers{stays: true}},
	} {
		a := parsed(t, "<a><b c='1'>1</b><e/></a>")
		b := a.Child("b")
		c.edit(b)
		if got := (answers{b.Edited(), b.EditsTag(), b.EditsAttr("c"), b.EditsText(), b.Stays()}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if a.Edited() != (name != "none") {
			t.Errorf("%s: the element around it says %t", name, a.Edited())
		}
	}
}

// TestSame: an element says what another one says, in whatever order of its attributes.
func TestSame(t *testing.T) {
	t.Parallel()
	elem := func() *Elem { return NewElem("b", "c", "1", "d", "2").Add(NewElem("e"), &Elem{Name: "f", Text: "3"}) }
	for text, want := range map[string]bool{
		"<b c='1' d='2'><e/><f>3</f></b>": true, "<b d='2' c='1'>\n<e></e> <f> 3 </f></b>": true, "<b c='1' d='2'>x<e/><f>3</f></b>": true,
		"<x c='1' d='2'><e/><f>3</f></x>": false, "<b c='1'><e/><f>3</f></b>": false, "<b c='1' d='2' x=''><e/><f>3</f></b>": false,
		"<b c='1' d='3'><e/><f>3</f></b>": false, "<b c='1' x='2'><e/><f>3</f></b>": false, "<b c='1' d='2'><e/></b>": false,
		"<b c='1' d='2'><f>3</f><e/></b>": false, "<b c='1' d='2'><e/><f>4</f></b>": false, "<b c='1' d='2'><e/><f>3</f><g/></b>": false,
		"<b c='1' d='2' xmlns='urn:x'><e/><f>3</f></b>": false, "<b c='1' d='2'/>": false,
	} {
		n := parsed(t, "<a>"+text+"</a>").FirstChild
		if got := n.Same(elem()); got != want {
			t.Errorf("%s: %t", text, got)
		}
		if !n.Foreign && !n.Same(n.Elem()) {
			t.Errorf("%s is not what its own copy says: %+v", text, n.Elem())
		}
	}
	if got := parsed(t, "<a>\n<b/>x</a>").Elem(); got.Text != "" || len(got.Children) != 1 {
		t.Errorf("an element with children has a text: %+v", got)
	}
	if got := NewElem("a", "b", "1", "c"); len(got.Attrs) != 1 {
		t.Errorf("a name without a value counts: %+v", got)
	}
}

// TestPaths: positions are given where siblings share a name.
func TestPaths(t *testing.T) {
	t.Parallel()
	a := parsed(t, "<a><b/><c><d/><d/></c><b><e/></b></a>")
	for n, want := range map[*Node]string{
		a: "/a", a.Child("b"): "/a/b[1]", a.LastChild("b"): "/a/b[2]", a.Child("c"): "/a/c", a.Child("c").LastChild("d"): "/a/c/d[2]",
		a.LastChild("b").Child("e"): "/a/b[2]/e",
	} {
		if got := n.Path(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for name, value := range (*Node)(nil).Attrs() {
		t.Errorf("nothing has the attribute %s=%s", name, value)
	}
	for name := range parsed(t, "<a b='1' c='2'/>").Attrs() {
		if name != "b" {
			t.Errorf("it goes on to %s after the end", name)
		}
		break
	}
}
