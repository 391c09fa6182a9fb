package agent

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
	"github.com/virtferry/virtferry/pkg/xmlrewrite"
)

// TestPortsArePromisedOnce: no two guests that are on their way get the same port, nor one
// that a guest here has.
func TestPortsArePromisedOnce(t *testing.T) {
	t.Parallel()
	r := PortRange{First: 10000, Last: 10003}
	for _, c := range []struct {
		name string
		// kept are the promises that there are.
		kept map[types.UID][]int32
		used []int32
		n    int
		want []int32
		says string
	}{
		{name: "the first ports", n: 2, want: []int32{10000, 10001}},
		{name: "the last ports", used: []int32{10000, 10001}, n: 2, want: []int32{10002, 10003}},
		{name: "between others", used: []int32{10001}, kept: map[types.UID][]int32{"b": {10002}}, n: 2, want: []int32{10000, 10003}},
		{name: "another's promise", kept: map[types.UID][]int32{"b": {10000, 10001}}, n: 1, want: []int32{10002}},
		{name: "one's own promise", kept: map[types.UID][]int32{"a": {10000}}, n: 1, want: []int32{10000}},
		{name: "one's own, which a guest has", kept: map[types.UID][]int32{"a": {10000}}, used: []int32{10000}, n: 1, want: []int32{10001}},
		{name: "one too many", used: []int32{10000}, n: 4, says: "only 3 of the 4 TCP ports"},
	} {
		var p portPool
		for uid, ports := range c.kept {
			p.keep(uid, ports)
		}
		used := map[int32]bool{}
		for _, port := range c.used {
			used[port] = true
		}
		done := p.survey()
		got, err := p.promise("a", c.n, r, used)
		done()
		if !slices.Equal(got, c.want) || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v and %v, want %v and %q", c.name, got, err, c.want, c.says)
		}
	}
	// What was released before anybody looks is free.
	var p portPool
	p.keep("b", []int32{10000})
	p.release("b")
	defer p.survey()()
	if got, err := p.promise("a", 1, r, map[int32]bool{}); err != nil || got[0] != 10000 {
		t.Errorf("a port that was released before the look: got %v and %v", got, err)
	}
}

// TestPortsAreFreeOnTheHost: a port on which something else of the host listens is passed
// over, and where too few are left, none stays promised.
func TestPortsAreFreeOnTheHost(t *testing.T) {
	t.Parallel()
	r := PortRange{First: 10000, Last: 10003}
	for _, c := range []struct {
		name  string
		taken []int32
		used  map[int32]bool
		n     int
		want  []int32
		says  string
	}{
		{name: "nothing listens", n: 2, want: []int32{10000, 10001}},
		{name: "something does", taken: []int32{10000}, n: 2, want: []int32{10001, 10002}},
		{name: "on those that come next, too", taken: []int32{10000, 10002}, n: 2, want: []int32{10001, 10003}},
		{name: "beside guests", taken: []int32{10001}, used: map[int32]bool{10000: true}, n: 2, want: []int32{10002, 10003}},
		{name: "on too many", taken: []int32{10001, 10002}, n: 3, says: "only 2 of the 3 TCP ports"},
	} {
		used := map[int32]bool{}
		maps.Copy(used, c.used)
		var p portPool
		got, err := p.promiseFree("a", c.n, r, used, func(ports []int32) []int32 {
			return slices.DeleteFunc(slices.Clone(ports), func(port int32) bool { return !slices.Contains(c.taken, port) })
		})
		if !slices.Equal(got, c.want) || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v and %v, want %v and %q", c.name, got, err, c.want, c.says)
		}
		if !slices.Equal(p.promised["a"], c.want) {
			t.Errorf("%s: these are promised: %v", c.name, p.promised["a"])
		}
	}
}

// TestPortsOfGuestsThatAreGoneAreForgotten, of those that are there they are not.
func TestPortsOfGuestsThatAreGoneAreForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		const console = `<domain type='qemu'><name>web</name><uuid>` + guestUUID + `</uuid><devices>
  <serial type='tcp'><source mode='bind' host='192.0.2.9' service='2002'/><target port='0'/></serial></devices></domain>`
		const staying = "22222222-2222-4222-8222-222222222222"
		w.fleet.Host("node-a").AddGuest(fake.Guest{UUID: guestUUID, Name: "web", LiveXML: console})
		w.fleet.Host("node-b").AddGuest(fake.Guest{UUID: staying, Name: "db", LiveXML: hypervisor.DomainXML(strings.ReplaceAll(console, guestUUID, staying))})
		w.b.node.uses.note("a guest that is gone", xmlrewrite.HostUse{Ports: []int32{10000}})
		w.settle(w.migrate(guestUUID))
		if got, known := w.b.node.uses.lastOf("a guest that is gone"); known {
			t.Errorf("its ports are still known: %v", got)
		}
		if got, known := w.b.node.uses.lastOf(staying); !known || !slices.Equal(got.Ports, []int32{2002}) {
			t.Errorf("of a guest that is there, the ports are %v", got)
		}
	})
}

// TestAPortOfTheHostsOwnIsPassedOver where the agent can see it.
func TestAPortOfTheHostsOwnIsPassedOver(t *testing.T) {
	for _, sees := range []bool{false, true} {
		inWorld(t, func(w *world) {
			if sees {
				w.b.node.Listens = func(_ context.Context, at netip.AddrPort) bool {
					return at == netip.MustParseAddrPort("192.0.2.1:10000")
				}
			}
			s := &targetSession{node: w.b.node, hv: w.fleet.Host("node-b"), log: w.b.node.Log, lm: objectNamed("a")}
			ports, err := s.reservePorts(t.Context(), 1, nil)
			if want := map[bool]int32{false: 10000, true: 10001}[sees]; err != nil || len(ports) != 1 || ports[0] != want {
				t.Errorf("the agent sees it: %t, and promises %v, %v", sees, ports, err)
			}
		})
	}
}
