package xmlrewrite

import (
	"strings"
	"testing"
)

// kindsOfClaims are all that differ in what they let others use: by the migrate data or kept,
// shared or not, and all of an image or one of three parts, of which two overlap.
func kindsOfClaims() []claim {
	var out []claim
	for _, field := range []*place{nil, placeOf(volumesField)} {
		for _, shared := range []bool{false, true} {
			for _, one := range []*part{nil, {0, 10}, {10, 10}, {15, 10}} {
				out = append(out, claim{field: field, shared: shared, part: one})
			}
		}
	}
	return out
}

// TestClaimsAreComparedWithAll: not each is compared with each, and yet two that exclude one
// another are found in whatever order they and others come; and of many alike that the migrate
// data give, one is remembered.
func TestClaimsAreComparedWithAll(t *testing.T) {
	t.Parallel()
	doc, err := parseGuest("<domain/>")
	if err != nil {
		t.Fatal(err)
	}
	kinds := kindsOfClaims()
	total := len(kinds) * len(kinds) * len(kinds)
	for n := range total {
		var order []claim
		for rest := n; len(order) < 3; rest /= len(kinds) {
			order = append(order, kinds[rest%len(kinds)])
		}
		p := &planner{}
		excluded := false
		for i, c := range order {
			c.at = doc.Root
			for _, other := range order[:i] {
				excluded = excluded || c.excludes(&other)
			}
			p.claims("x", c)
		}
		if (len(p.problems) > 0) != excluded {
			t.Fatalf("%+v: %v", order, p.problems)
		}
		different, remembered := map[bool]bool{}, 0
		for _, c := range order {
			if c.part != nil {
				different = nil // Each of them is remembered.
				break
			}
			if c.field != nil {
				different[c.shared] = true
			}
		}
		for c := p.claimed["x"]; c != nil && c.field != nil; c = c.next {
			remembered++
		}
		if different != nil && remembered > len(different) {
			t.Fatalf("of %+v, %d are remembered", order, remembered)
		}
	}
}

func TestPartsThatMeet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b *part
		meet bool
	}{
		{nil, nil, true},
		{nil, &part{0, 10}, true},
		{&part{0, 10}, &part{0, 10}, true},
		{&part{0, 10}, &part{9, 1}, true},
		{&part{0, 10}, &part{10, 10}, false},
		{&part{0, 10}, &part{11, 10}, false},
		{&part{5, 10}, &part{0, 6}, true},
		{&part{0, 100}, &part{50, 1}, true},
		{&part{1 << 63, 10}, &part{0, 10}, false},
	} {
		if c.a.meets(c.b) != c.meet || c.b.meets(c.a) != c.meet {
			t.Errorf("%v and %v: %t, %t", c.a, c.b, c.a.meets(c.b), c.b.meets(c.a))
		}
	}
}

// TestAPartThatIsNotUnderstoodIsAll of the image.
func TestAPartThatIsNotUnderstoodIsAll(t *testing.T) {
	t.Parallel()
	for slice, want := range map[string]*part{
		"": nil, "<slice offset='5' size='7'/>": {5, 7}, "<slice offset='x' size='7'/>": nil, "<slice offset='5' size='-7'/>": nil, "<slice/>": nil,
	} {
		doc, err := parseGuest("<domain><devices><disk><source><slices>" + slice + "</slices></source></disk></devices></domain>")
		if err != nil {
			t.Fatal(err)
		}
		if got := partOf(doc.devices("disk")[0]); (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%q: %v", slice, got)
		}
	}
}

// TestWhatAnInterfaceKeeps that no other can have: the device that it is put on, or the socket
// that it serves.
func TestWhatAnInterfaceKeeps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, source, want string }{
		{"direct", "<source dev='eth0' mode='bridge'/>", "direct eth0"},
		{"direct", "<source network='a'/>", ""},
		{"bridge", "<source dev='eth0'/>", ""},
		{"vhostuser", "<source type='unix' path='/a' mode='server'/>", "path /a"},
		{"vhostuser", "<source type='unix' path='/a' mode='client'/>", ""},
		{"user", "<source path='/a' mode='server'/>", ""},
	} {
		doc, err := parseGuest("<domain><devices><interface>" + c.source + "</interface></devices></domain>")
		if err != nil {
			t.Fatal(err)
		}
		p := &planner{}
		p.claimKept(c.kind, doc.devices("interface")[0].Child("source"))
		got := ""
		for key := range p.claimed {
			got = key
		}
		if got != c.want {
			t.Errorf("%s, %s: it keeps %q", c.kind, c.source, got)
		}
	}
}

// TestWhatAnEntryHasMappedBeforeIsKept: two devices that both have what the first entry leads
// to have had it before.
func TestWhatAnEntryHasMappedBeforeIsKept(t *testing.T) {
	t.Parallel()
	const devices = "<serial type='file'><source path='/new/log'/><target port='0'/></serial><serial type='file'><source path='/new/log'/><target port='1'/></serial>"
	o := planSmall(t, smallGuest(oneVCPU, devices), "pathMappings: [{from: /old/log, to: /new/log}]", Options{})
	if o.problems != "" || !strings.Contains(o.warnings, "pathMappings[0]") {
		t.Errorf("the problems are %q, the warnings %q", o.problems, o.warnings)
	}
	limits := smallGuest("<blkiotune>"+limitOf("/dev/new")+limitOf("/dev/new")+"</blkiotune>"+oneVCPU, "")
	if o := planSmall(t, limits, "pathMappings: [{from: /dev/old, to: /dev/new}]", Options{}); o.problems != "" {
		t.Errorf("of two limits, the problems are %q", o.problems)
	}
}

// TestEachEntryOfAnInterfaceIsJudged, whatever is wrong with those before it.
func TestEachEntryOfAnInterfaceIsJudged(t *testing.T) {
	t.Parallel()
	const twice = "{macAddress: '52:54:00:00:00:01', targetDevice: a}"
	for _, wrong := range []string{"{macAddress: 'x'}", "{macAddress: '52:54:00:00:00:01', guestAddress: 'x'}", "{macAddress: '52:54:00:00:00:01', alias: net0}", twice} {
		o := planSmall(t, smallGuest(oneVCPU, nicOfKind("01", "bridge", "<source bridge='a'/>")), "interfaces: ["+twice+","+wrong+", {macAddress: 'y'}]", Options{})
		if !strings.Contains(o.problems, "interfaces[1]") || !strings.Contains(o.problems, "interfaces[2]") {
			t.Errorf("%s: %q", wrong, o.problems)
		}
	}
}
