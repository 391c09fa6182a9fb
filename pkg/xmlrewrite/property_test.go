package xmlrewrite

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/beevik/etree"
	"github.com/google/go-cmp/cmp"

	v1alpha1 "github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/guestgen"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/xmltree"
)

// consolePassword is in the guests of this package's tests. It must not show
// up in any problem.
const consolePassword = "hunter2!"

// checkProperties plans and applies, and checks what must hold for any input.
// It returns the result, or nothing if the plan was refused.
func checkProperties(t *testing.T, guest []byte, data *v1alpha1.MigrateData, opts Options) string {
	t.Helper()
	source := bytes.Clone(guest)
	plan, err := NewPlan(guest, data, opts)
	if !bytes.Equal(source, guest) {
		t.Fatal("planning changed its input")
	}
	if err != nil {
		checkProblems(t, err)
		return ""
	}
	for _, w := range plan.Warnings() {
		if strings.Contains(w.String(), consolePassword) {
			t.Fatalf("a warning holds a password: %s", w)
		}
	}
	result := plan.Apply()
	if data == nil || data.PathMappings == nil {
		checkSurvivors(t, guest, result)
	}
	checkFacts(t, guest, result, data)
	if !swaps(data) && !swaps(opts.Offer) {
		if _, err := NewPlan(result, data, opts); err != nil && opts.Inactive && opts.Other == "" {
			return result // Without the other definition, what was mapped may be a device of the source.
		}
		checkAgain(t, result, data, opts)
	}
	return result
}

func checkProblems(t *testing.T, err error) {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("the error is no list of problems: %v", err)
	}
	for _, p := range problems {
		if p.Kind == "" || p.Message == "" || strings.Contains(p.String(), consolePassword) {
			t.Fatalf("a problem is incomplete or holds a password: %#v", p)
		}
		if p.Kind == ProblemABIChanged {
			t.Fatalf("the rewrite would have changed what the guest sees: %s", p)
		}
	}
	if got := strings.Count(err.Error(), "\n") + 1; got != len(problems) {
		t.Fatalf("%d problems in %d lines:\n%v", len(problems), got, err)
	}
}

// checkSurvivors expects what no step owns byte for byte and in order.
func checkSurvivors(t *testing.T, guest []byte, result string) {
	t.Helper()
	doc, err := xmltree.Parse(string(guest))
	if err != nil {
		t.Fatal(err)
	}
	rest := result
	expect := func(text string) {
		i := strings.Index(rest, text)
		if i < 0 {
			t.Fatalf("this did not survive:\n%s\nin:\n%s", text, result)
		}
		rest = rest[i+len(text):]
	}
	owned := []string{"blkiotune", "vcpu", "cputune", "numatune", "memoryBacking", "perf", "devices"}
	ownedDevices := []string{
		"graphics", "serial", "console", "channel", "parallel", "redirdev", "smartcard", "rng", "disk", "interface", "hostdev", "memory",
	}
	before, after, _ := strings.Cut(string(guest), doc.Root.Source())
	expect(before)
	for n := doc.Root.FirstChild; n != nil; n = n.NextSibling {
		switch {
		case n.Foreign || !slices.Contains(owned, n.Name):
			expect(n.Source())
		case n.Name == "devices":
			for d := n.FirstChild; d != nil; d = d.NextSibling {
				if d.Foreign || !slices.Contains(ownedDevices, d.Name) {
					expect(d.Source())
				}
			}
		}
	}
	expect(after)
}

// hostSidePaths are the beginnings of the facts that a rewrite may change.
func hostSidePaths() []string {
	return []string{
		"/domain/vcpu@cpuset", "/domain/cputune/shares", "/domain/cputune/vcpupin", "/domain/cputune/emulatorpin",
		"/domain/cputune/iothreadpin", "/domain/cputune/vcpusched", "/domain/numatune/memnode", "/domain/numatune/memory",
		"/domain/memoryBacking/source", "/domain/memoryBacking/access", "/domain/memoryBacking/allocation",
		"/domain/memoryBacking/discard", "/domain/perf/event",
		"/domain/devices/graphics@listen", "/domain/devices/graphics/listen@address", "/domain/devices/graphics/listen@type",
		"/domain/devices/serial/source@host", "/domain/devices/serial/source@service",
		"/domain/devices/console/source@host", "/domain/devices/console/source@service",
		"/domain/devices/channel/source@host", "/domain/devices/parallel/source@host", "/domain/devices/redirdev/source@host",
		"/domain/devices/smartcard/source@host", "/domain/devices/rng/backend/source@host", "/domain/blkiotune/device",
		"/domain/devices/disk@type", "/domain/devices/disk/source", "/domain/devices/disk/auth",
		"/domain/devices/disk/encryption", "/domain/devices/disk/backingStore",
		"/domain/devices/disk/driver@name", "/domain/devices/disk/driver@type", "/domain/devices/disk/driver@cache",
		"/domain/devices/disk/driver@io", "/domain/devices/disk/driver@discard",
		"/domain/devices/interface@type", "/domain/devices/interface/source", "/domain/devices/interface/target",
		"/domain/devices/interface/virtualport", "/domain/devices/interface/vlan", "/domain/devices/interface/filterref",
		"/domain/devices/interface/bandwidth", "/domain/devices/interface/driver@name", "/domain/devices/interface/port",
		"/domain/devices/graphics@port", "/domain/devices/graphics@tlsPort", "/domain/devices/graphics@websocket", "/domain/devices/graphics@autoport",
		"/domain/cputune/cachetune/cache@id", "/domain/cputune/memorytune/node@id",
		"/domain/devices/hostdev/source/vendor", "/domain/devices/hostdev/source/product", "/domain/devices/hostdev/source/address@", "/domain/devices/memory/source/path", "/domain/devices/memory/source/nodemask",
	}
}

// facts flattens a document with another XML library: each attribute and each
// text with its path, without what belongs to the host, and with paths that are
// mapped all the same.
func facts(t *testing.T, xml string, data *v1alpha1.MigrateData) []string {
	t.Helper()
	doc := etree.NewDocument()
	if err := doc.ReadFromString(xml); err != nil {
		t.Fatalf("another XML library cannot read the document: %v\n%s", err, xml)
	}
	var all []string
	hidden := hostSidePaths()
	note := func(path, value string) {
		if data != nil && slices.ContainsFunc(data.PathMappings, func(m v1alpha1.PathMapping) bool {
			return strings.HasPrefix(value, m.From) || strings.HasPrefix(value, m.To)
		}) {
			value = "(mapped)"
		}
		if !slices.ContainsFunc(hidden, func(h string) bool { return strings.HasPrefix(path, h) }) {
			all = append(all, path+"="+value)
		}
	}
	var walk func(*etree.Element, string)
	walk = func(e *etree.Element, path string) {
		name := e.FullTag()
		if e.SelectAttrValue("xmlns", "") != "" && e.Space == "" {
			name = "foreign-" + name
		}
		path += "/" + name
		for _, a := range e.Attr {
			note(path+"@"+a.FullKey(), a.Value)
		}
		var b strings.Builder
		for _, c := range e.Child {
			if cd, ok := c.(*etree.CharData); ok {
				b.WriteString(cd.Data)
			}
		}
		if text := strings.TrimSpace(b.String()); text != "" {
			note(path, text)
		}
		for _, c := range e.ChildElements() {
			walk(c, path)
		}
	}
	walk(doc.Root(), "")
	return all
}

func checkFacts(t *testing.T, guest []byte, result string, data *v1alpha1.MigrateData) {
	t.Helper()
	if diff := cmp.Diff(facts(t, string(guest), data), facts(t, result, data)); diff != "" {
		t.Fatalf("facts changed that the guest can see (-source +result):\n%s", diff)
	}
}

// swaps reports whether the data hold a map in which addresses swap places:
// repeating it swaps them back.
func swaps(data *v1alpha1.MigrateData) bool {
	if data == nil {
		return false
	}
	sources, targets := map[string]bool{}, map[string]bool{}
	for _, d := range data.MediatedDevices {
		sources[strings.ToLower(string(d.Source))], targets[strings.ToLower(string(d.Target))] = true, true
	}
	for _, d := range data.PCIDevices {
		from, _ := parsePCI(string(d.Source))
		to, _ := parsePCI(string(d.Target))
		if d.GuestAddress == nil {
			sources[from.String()], targets[to.String()] = true, true
		}
	}
	for _, d := range data.USBDevices {
		sources[strings.ToLower(string(d.Source))], targets[strings.ToLower(string(d.Target))] = true, true
	}
	if numa := data.NUMA; numa != nil {
		for i, mappings := range [...][]v1alpha1.NumberMapping{numa.Caches, numa.MemoryBandwidthNodes} {
			for _, m := range mappings {
				sources[itoa(i)+" "+itoa(m.Source)], targets[itoa(i)+" "+itoa(m.Target)] = true, true
			}
		}
	}
	for s := range sources {
		if targets[s] {
			return true
		}
	}
	return false
}

// TestHugeGuest runs the properties over a guest that is larger than any chunk,
// between small ones, so that all use the same room.
func TestHugeGuest(t *testing.T) {
	t.Parallel()
	for _, size := range []guestgen.Size{guestgen.Small(), guestgen.Huge(), guestgen.Small(), guestgen.Huge(), guestgen.Typical()} {
		c := guestgen.Benchmark(size)
		if checkProperties(t, c.XML(), c.MigrateData(), Options{}) == "" {
			t.Errorf("the guest with %d disks is refused", size.Disks)
		}
	}
}
