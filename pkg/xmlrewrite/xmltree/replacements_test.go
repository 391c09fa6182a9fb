package xmltree

import (
	"strings"
	"testing"
)

// TestReplacementsTakeNothingElseAlong: a fragment that stands for more, for less or for
// something else than it says is seen, although each byte is accounted for and it can be read.
func TestReplacementsTakeNothingElseAlong(t *testing.T) {
	t.Parallel()
	const source = "<a>x<b>1</b>\n <c/>y<d></d></a>"
	at := func(part string) int { return strings.Index(source, part) }
	for name, c := range map[string]struct {
		kind     ReplacementKind
		at       string // The child; the root where it is empty.
		behind   string
		src, end int
		text     string
		right    bool
	}{
		"a tag":                                {kind: ReplacedTag, at: "b", src: at("<b>"), end: at("1"), text: "<b e='1'>", right: true},
		"a tag and what is before it":          {kind: ReplacedTag, at: "b", src: at("x"), end: at("1"), text: "<b>"},
		"a tag and what is in it":              {kind: ReplacedTag, at: "b", src: at("<b>"), end: at("</b>"), text: "<b>"},
		"a tag of another name":                {kind: ReplacedTag, at: "b", src: at("<b>"), end: at("1"), text: "<e>"},
		"a tag that is closed":                 {kind: ReplacedTag, at: "b", src: at("<b>"), end: at("1"), text: "<b/>"},
		"a tag and another":                    {kind: ReplacedTag, at: "b", src: at("<b>"), end: at("1"), text: "<b><e>"},
		"a tag that is none":                   {kind: ReplacedTag, at: "b", src: at("<b>"), end: at("1"), text: "b"},
		"a tag that is gone":                   {kind: ReplacedTag, at: "b", src: at("<b>"), end: at("1"), text: ""},
		"an element":                           {kind: ReplacedElement, at: "b", src: at("<b>"), end: at("\n"), text: "<e/>", right: true},
		"an element and what is before it":     {kind: ReplacedElement, at: "b", src: at("x"), end: at("\n"), text: "<e/>"},
		"an element and what is behind it":     {kind: ReplacedElement, at: "b", src: at("<b>"), end: at(" <c"), text: "<e/>"},
		"an element that becomes two":          {kind: ReplacedElement, at: "b", src: at("<b>"), end: at("\n"), text: "<e/><f/>"},
		"one that goes":                        {kind: RemovedElement, at: "c", src: at("<c/>"), end: at("y"), right: true},
		"one that goes with its line":          {kind: RemovedElement, at: "c", src: at("\n"), end: at("y"), right: true},
		"one that goes with what is before it": {kind: RemovedElement, at: "b", src: at("x"), end: at("\n")},
		"one that goes with what is behind it": {kind: RemovedElement, at: "c", src: at("<c/>"), end: at("<d>")},
		"one that goes in part":                {kind: RemovedElement, at: "c", src: at("c/>"), end: at("y")},
		"one that goes, and something comes":   {kind: RemovedElement, at: "c", src: at("<c/>"), end: at("y"), text: "<e/>"},
		"one that comes":                       {kind: AddedElement, behind: "b", src: at("\n"), end: at("\n"), text: "<e/>", right: true},
		"one that comes last":                  {kind: AddedElement, src: at("</a>"), end: at("</a>"), text: "<e/>", right: true},
		"one that comes in an empty one":       {kind: AddedElement, at: "d", src: at("</d>"), end: at("</d>"), text: "<e/>", right: true},
		"one that comes instead of another":    {kind: AddedElement, behind: "b", src: at("\n"), end: at("y"), text: "<e/>"},
		"one that comes behind another":        {kind: AddedElement, behind: "c", src: at("\n"), end: at("\n"), text: "<e/>"},
		"one that comes before the last":       {kind: AddedElement, src: at("\n"), end: at("\n"), text: "<e/>"},
		"one that comes behind the end":        {kind: AddedElement, at: "d", src: at("</a>"), end: at("</a>"), text: "<e/>"},
		"one that comes in a closed one":       {kind: AddedElement, at: "c", src: at("y"), end: at("y"), text: "<e/>"},
		"one behind that of another":           {kind: AddedElement, at: "d", behind: "b", src: at("\n"), end: at("\n"), text: "<e/>"},
		"what comes and is none":               {kind: AddedElement, behind: "b", src: at("\n"), end: at("\n"), text: "e"},
		"what has no kind":                     {kind: 7, at: "b", src: at("<b>"), end: at("\n"), text: "<e/>"},
		"what ends before it begins":           {kind: RemovedElement, at: "c", src: at("y"), end: at("<c/>")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := parsed(t, source)
			f := fragment{kind: c.kind, at: a, src: c.src, end: c.end, from: c.src, to: c.src + len(c.text)}
			if c.at != "" {
				f.at = a.Child(c.at)
			}
			if c.behind != "" {
				f.behind = a.Child(c.behind)
			}
			r := Result{text: source[:c.src] + c.text + source[c.end:], doc: a.doc, written: []fragment{f}}
			replaced, broken := r.Replacements()
			if (broken == nil) != c.right {
				t.Errorf("broken is %s", broken.Path())
			}
			if c.right && (len(replaced) != 1 || (replaced[0].After == nil) != (c.kind == RemovedElement)) {
				t.Errorf("it is replaced by %+v", replaced)
			}
		})
	}
}
