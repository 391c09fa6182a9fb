package xmlrewrite

import (
	"strings"
	"testing"

	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

func TestHostRefsCanBeRead(t *testing.T) {
	t.Parallel()
	table, err := parseRefTable(hostRefsText)
	if err != nil {
		t.Fatal(err)
	}
	if table.rows < 300 {
		t.Errorf("the table has only %d lines", table.rows)
	}
}

func TestRefTableRefusesMistakes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"harmles name":                 "no class",
		"mapped devices/disk":          "lacks its field",
		"harmless:volumes name":        "one too many",
		"same name":                    "lacks its field or text",
		"harmless name -- a name":      "one too many",
		"harmless if=tuesday name":     "no such test",
		"harmless":                     "no path",
		"harmless devices/disk(type)":  "",
		"harmless devices/disk[type=a": "in brackets",
		"like devices/disk":            "two paths",
		"# a comment\n\nharmless":      "line 3: there is no path",
	} {
		_, err := parseRefTable(line)
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", line, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

// TestRefTableDecides: what is nearer decides, then what comes first, and
// conditions are those of the element at hand.
func TestRefTableDecides(t *testing.T) {
	t.Parallel()
	table, err := parseRefTable(`
bound    a[kind=x] -- first
same     a[kind!=x][child] -- second
bound    f[child][kind=x] -- both
harmless {a,f}
same     b at -- direct
bound    c at -- liked
bound    c/d = -- below
like     b c
like     b/d b
harmless if=automatic e =
same     e = -- otherwise
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ xml, path, place, want string }{
		{"<r><a kind='x'><child/></a></r>", "a", refElement, "first"},
		{"<r><a kind='y'><child/></a></r>", "a", refElement, "second"},
		{"<r><a/></r>", "a", refElement, ""},
		{"<r><f kind='x'><child/></f></r>", "f", refElement, "both"},
		{"<r><f kind='x'/></r>", "f", refElement, ""},
		{"<r><f><child/></f></r>", "f", refElement, ""},
		{"<r><b/></r>", "b", "at", "direct"},
		{"<r><b><d/></b></r>", "b/d", refText, "below"},
		{"<r><b><d/></b></r>", "b/d", "at", "direct"},
		{"<r><e/></r>", "e", refText, "otherwise"},
	} {
		doc, err := xmltree.Parse(c.xml)
		if err != nil {
			t.Fatal(err)
		}
		n, states := doc.Root, []refState{{node: &table.root}}
		for name := range strings.SplitSeq(c.path, "/") {
			n = n.Child(name)
			states = statesOf(nil, states, name, n)
		}
		if row := refRowOf(states, c.place, "some value"); row == nil || row.what != c.want {
			t.Errorf("%s: %s %q: %+v, want %q", c.xml, c.path, c.place, row, c.want)
		}
	}
	if row := refRowOf([]refState{{node: table.root.edges["e"][0].to}}, refText, "-1"); row.class != refHarmless {
		t.Errorf("a value for which the line does not hold is judged by it: %+v", row)
	}
}

// TestRefTests: what the words behind "if=" ask of a value.
func TestRefTests(t *testing.T) {
	t.Parallel()
	for word, values := range map[string]map[string]bool{
		"installed":        {"/usr/share/OVMF/x": true, "/usr/local/x": false, "/srv/usr/x": false, "usr/x": false},
		"libvirts":         {"/var/lib/libvirt/qemu/nvram/x": true, "/run/libvirt/x": true, "/var/lib/libvirt/images/x": false},
		"usualNode":        {"/dev/urandom": true, "/dev/sda": false},
		"byPath":           {"/dev/dri/by-path/x": true, "/dev/dri/renderD128": false},
		"loopback":         {"127.0.0.1": true, "192.0.2.1": false, "": false},
		"automatic":        {"": true, "0": true, "-1": true, "1": false},
		"defaultPartition": {"/machine": true, "/machine/x": false},
	} {
		test, ok := refTest(word)
		if !ok {
			t.Errorf("there is no %q", word)
			continue
		}
		for value, want := range values {
			if test(value) != want {
				t.Errorf("%q is %s: %t", value, word, !want)
			}
		}
	}
}
