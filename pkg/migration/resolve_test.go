package migration

import (
	"strings"
	"testing"
	"time"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// node returns a ready node with domains given as "name=State/Reason"; a name
// that begins with "other" is another guest.
func node(name string, domains ...string) Node {
	n := Node{Name: name, Ready: true}
	for _, d := range domains {
		domain, state, _ := strings.Cut(d, "=")
		o := observed(state)
		id := guestUUID
		if strings.HasPrefix(domain, "other") {
			id, domain = otherUUID, strings.TrimPrefix(domain, "other-")
		}
		n.Domains = append(n.Domains, v1alpha1.HypervisorDomain{UUID: id, Name: domain, State: o.State, Reason: o.Reason})
	}
	return n
}

func lost(n Node) Node {
	n.Ready, n.Message = false, "gone fishing"
	return n
}

func partial(n Node) Node {
	n.Unlisted = 7
	return n
}

func TestResolve(t *testing.T) {
	const running = "web=Running/Booted"
	for _, c := range []struct {
		name    string
		spec    v1alpha1.LiveMigrationSpec
		nodes   []Node
		arrival string // Where the guest arrived an hour ago.
		reason  string
		passing bool
		message string
	}{
		{name: "by name", nodes: []Node{node("node-a", running), node("node-b")}},
		{name: "by UUID", spec: v1alpha1.LiveMigrationSpec{Domain: guestUUID}, nodes: []Node{node("node-a", running), node("node-b")}},
		{name: "by UUID in capitals", spec: v1alpha1.LiveMigrationSpec{Domain: strings.ToUpper("abcdef00-1111-4111-8111-111111111111")},
			nodes:  []Node{node("node-a", running), node("node-b")},
			reason: v1alpha1.ReasonDomainNotFound, passing: true},
		{name: "paused", nodes: []Node{node("node-a", "web=Paused/User"), node("node-b")}},
		{name: "with an old definition elsewhere", nodes: []Node{node("node-a", running), node("node-b", "web=Shutoff/Migrated")}},
		{name: "with a shell on the target", nodes: []Node{node("node-a", running), node("node-b", "web=Paused/Migration")}},
		{name: "from the named source", spec: v1alpha1.LiveMigrationSpec{SourceNode: "node-a"}, nodes: []Node{node("node-a", running), node("node-b")}},
		{name: "unknown target", nodes: []Node{node("node-a", running)},
			reason: v1alpha1.ReasonNodeNotFound, passing: true, message: `"node-b", so the guest was not touched. Nodes with an agent: node-a`},
		{name: "unknown source", spec: v1alpha1.LiveMigrationSpec{SourceNode: "node-x"}, nodes: []Node{node("node-a", running), node("node-b")},
			reason: v1alpha1.ReasonNodeNotFound, passing: true, message: `"node-x"`},
		{name: "unknown guest", nodes: []Node{node("node-a"), lost(node("node-b"))},
			reason: v1alpha1.ReasonDomainNotFound, passing: true, message: "not ready: node-b"},
		{name: "two guests of one name", nodes: []Node{node("node-a", running), node("node-b", "other-web=Running/Booted")},
			reason: v1alpha1.ReasonDomainAmbiguous, message: guestUUID + " on node-a, " + otherUUID + " on node-b. Nothing was touched. Create another LiveMigration"},
		{name: "shut off", nodes: []Node{node("node-a", "web=Shutoff/Shutdown"), node("node-b")},
			reason: v1alpha1.ReasonDomainNotRunning, passing: true, message: "Shutoff on node-a"},
		{name: "only a shell", nodes: []Node{node("node-a"), node("node-b", "web=Paused/Migration")},
			reason: v1alpha1.ReasonDomainNotRunning, passing: true},
		{name: "running twice", nodes: []Node{node("node-a", running), node("node-c", running), node("node-b")},
			reason: v1alpha1.ReasonDomainOnSeveralNodes, passing: true, message: "node-a and node-c"},
		{name: "running on a node that it has left, which is switched off",
			nodes: []Node{lost(node("node-c", running)), node("node-a", running), node("node-b")}, arrival: "node-a"},
		{name: "running on a node that is switched off, and nobody knows that it has left",
			nodes:  []Node{lost(node("node-c", running)), node("node-a", running), node("node-b")},
			reason: v1alpha1.ReasonDomainOnSeveralNodes, passing: true, message: "node-c may be out of date, because that node is not ready: gone fishing"},
		{name: "running on a node that is ready, though it has arrived elsewhere",
			nodes:   []Node{node("node-c", running), node("node-a", running), node("node-b")},
			arrival: "node-a", reason: v1alpha1.ReasonDomainOnSeveralNodes, passing: true},
		{name: "running on a node that is switched off, having arrived where it is not listed",
			nodes:   []Node{lost(node("node-c", running)), node("node-a"), node("node-b")},
			arrival: "node-a", reason: v1alpha1.ReasonNodeNotReady, passing: true},
		{name: "two guests of one name, one of them on the named source", spec: v1alpha1.LiveMigrationSpec{SourceNode: "node-a"},
			nodes: []Node{node("node-a", running), node("node-b"), node("node-c", "other-web=Running/Booted")}},
		{name: "two guests of one name, none of them on the named source", spec: v1alpha1.LiveMigrationSpec{SourceNode: "node-d"},
			nodes:  []Node{node("node-a", running), node("node-b"), node("node-c", "other-web=Running/Booted"), node("node-d")},
			reason: v1alpha1.ReasonDomainAmbiguous, message: "2 guests are named \"web\": " + guestUUID + " on node-a, "},
		{name: "among the guests that are too many for a list", nodes: []Node{partial(node("node-a")), node("node-b")},
			reason: v1alpha1.ReasonDomainNotFound, passing: true, message: "did not fit into a node's list (node-a): if so, create another LiveMigration with its UUID"},
		{name: "among them, by its UUID and its node", spec: v1alpha1.LiveMigrationSpec{Domain: guestUUID, SourceNode: "node-a"},
			nodes: []Node{partial(node("node-a")), node("node-b")}},
		{name: "running on the target and elsewhere", nodes: []Node{node("node-a", running), node("node-b", running)},
			reason: v1alpha1.ReasonDomainOnSeveralNodes, passing: true},
		{name: "in post-copy", nodes: []Node{node("node-a", "web=Paused/Postcopy"), node("node-b", "web=Running/Postcopy")},
			reason: v1alpha1.ReasonDomainOnSeveralNodes, passing: true, message: "post-copy migration between node-a and node-b: each node has a part of its memory. Stop neither part"},
		{name: "elsewhere than said", spec: v1alpha1.LiveMigrationSpec{SourceNode: "node-c"},
			nodes:  []Node{node("node-a", running), node("node-c"), node("node-b")},
			reason: v1alpha1.ReasonDomainNotOnSource, passing: true, message: "runs on node-a, not on node-c"},
		{name: "source away", nodes: []Node{lost(node("node-a", running)), node("node-b")},
			reason: v1alpha1.ReasonNodeNotReady, passing: true, message: "stays on the source node node-a, which is not ready: gone fishing"},
		{name: "target away", nodes: []Node{node("node-a", running), lost(node("node-b"))},
			reason: v1alpha1.ReasonNodeNotReady, passing: true, message: "target node node-b is not ready: gone fishing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := c.spec
			if spec.Domain == "" {
				spec.Domain = "web"
			}
			spec.TargetNode = "node-b"
			got := Resolve(&spec, "", NewInventory(c.nodes...), arrivedAt(c.arrival, epoch.Add(-time.Hour)), epoch)
			if c.reason == "" {
				if got.Problem != nil || got.AlreadyOnTarget || got.DomainUUID != guestUUID || got.SourceNode != "node-a" || got.TargetNode != "node-b" {
					t.Errorf("Resolve() = %+v, %+v", got, got.Problem)
				}
				return
			}
			if got.Problem == nil || got.Problem.Reason != c.reason || got.Transient != c.passing || !strings.Contains(got.Problem.Message, c.message) {
				t.Errorf("Resolve() = %+v, %+v; want %s with %q", got, got.Problem, c.reason, c.message)
			}
		})
	}
}

// arrivedAt returns the record of an arrival of the guest on a node; "" is none.
func arrivedAt(node string, when time.Time) Arrivals {
	return func(id string) (Arrival, bool) {
		return Arrival{Node: node, Time: when}, node != "" && id == guestUUID
	}
}

func TestResolveAlreadyOnTarget(t *testing.T) {
	here := []Node{node("node-a", "web=Shutoff/Migrated"), node("node-b", "web=Running/Migrated")}
	for _, c := range []struct {
		name, source string
		nodes        []Node
		reason       string
	}{
		{name: "on the target", nodes: here},
		{name: "on the target, but said to come from elsewhere", source: "node-a", nodes: here, reason: v1alpha1.ReasonDomainNotOnSource},
		{name: "on a target that is not heard from: its word may be old",
			nodes: []Node{here[0], lost(here[1])}, reason: v1alpha1.ReasonNodeNotReady},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := v1alpha1.LiveMigrationSpec{Domain: "web", TargetNode: "node-b", SourceNode: c.source}
			got := Resolve(&spec, "", NewInventory(c.nodes...), arrivedAt("", epoch), epoch)
			reason := ""
			if got.Problem != nil {
				reason = got.Problem.Reason
			}
			if reason != c.reason || got.AlreadyOnTarget != (c.reason == "") {
				t.Errorf("Resolve() = %+v, %+v", got, got.Problem)
			}
		})
	}
}

// TestAllThatIsWrongWithTheNodesIsTold, so that nobody has to try again for each.
func TestAllThatIsWrongWithTheNodesIsTold(t *testing.T) {
	t.Parallel()
	web := []v1alpha1.HypervisorDomain{{UUID: guestUUID, Name: "web", State: "Running"}}
	nobody := func(string) (Arrival, bool) { return Arrival{}, false }
	for name, c := range map[string]struct {
		inv  *Inventory
		spec v1alpha1.LiveMigrationSpec
		says []string
	}{
		"both are unknown": {NewInventory(Node{Name: "other", Ready: true}), v1alpha1.LiveMigrationSpec{Domain: "web", SourceNode: "node-a", TargetNode: "node-b"}, []string{"right targetNode and sourceNode"}},
		"neither is ready": {
			NewInventory(Node{Name: "node-a", Message: "lost", Domains: web}, Node{Name: "node-b", Message: "away"}),
			v1alpha1.LiveMigrationSpec{Domain: "web", TargetNode: "node-b"}, []string{"lost", "away", "both are ready"},
		},
		"the source is another and the target is not ready": {
			NewInventory(Node{Name: "node-a", Ready: true}, Node{Name: "node-b", Message: "away"}, Node{Name: "node-c", Ready: true, Domains: web}),
			v1alpha1.LiveMigrationSpec{Domain: "web", SourceNode: "node-a", TargetNode: "node-b"}, []string{"right sourceNode", "away"},
		},
	} {
		res := Resolve(&c.spec, "", c.inv, nobody, epoch)
		if res.Problem == nil {
			t.Fatalf("%s: no problem", name)
		}
		for _, words := range append(c.says, "node-a", "node-b") {
			if !strings.Contains(res.Problem.Message, words) {
				t.Errorf("%s: it does not say %q: %s", name, words, res.Problem.Message)
			}
		}
	}
}

// TestAGuestIsItsUUID: a node that lists a guest under another name, or writes its UUID in
// another way, does not make it another guest.
func TestAGuestIsItsUUID(t *testing.T) {
	nobody := func(string) (Arrival, bool) { return Arrival{}, false }
	listed := func(name, id, as string) Node {
		return Node{Name: name, Ready: true, Domains: []v1alpha1.HypervisorDomain{{UUID: id, Name: as, State: "Running"}}}
	}
	bare := strings.ReplaceAll(guestUUID, "-", "") + "    "
	for _, c := range []struct{ name, id, domain, reason string }{
		{"under another name", guestUUID, "ours", v1alpha1.ReasonDomainOnSeveralNodes},
		{"under another name, and asked for by its own", guestUUID, "web", v1alpha1.ReasonDomainOnSeveralNodes},
		{"in capitals", strings.ToUpper(guestUUID), "ours", v1alpha1.ReasonDomainOnSeveralNodes},
		{"in a way that is none", bare, "ours", v1alpha1.ReasonDomainNotFound},
		{"in a way that is none, and asked for by its own name", bare, "web", ""},
	} {
		inv := NewInventory(listed("node-a", guestUUID, "web"), node("node-b"), listed("node-c", c.id, "ours"))
		got := Resolve(&v1alpha1.LiveMigrationSpec{Domain: c.domain, TargetNode: "node-b"}, "", inv, nobody, epoch)
		switch {
		case c.reason == "" && (got.Problem != nil || got.DomainUUID != guestUUID):
			t.Errorf("%s: the guest is %q, with %+v", c.name, got.DomainUUID, got.Problem)
		case c.reason != "" && (got.Problem == nil || got.Problem.Reason != c.reason):
			t.Errorf("%s: the problem is %+v", c.name, got.Problem)
		}
	}
}

// TestNodesThatAreNotReady are named once each, behind another problem.
func TestNodesThatAreNotReady(t *testing.T) {
	const running = "web=Running/Booted"
	a, b, c := node("node-a", running), node("node-b"), node("node-c")
	said := func(name string) string { return ". " + name + " is not ready, either: gone fishing" }
	for _, x := range []struct {
		name  string
		nodes []Node
		want  string
	}{
		{"both are", []Node{a, b, c}, ""},
		{"the guest's is not", []Node{lost(a), b, c}, said("node-a")},
		{"the target is not", []Node{a, lost(b), c}, said("node-b")},
		{"neither is", []Node{lost(a), lost(b), c}, said("node-a") + said("node-b")},
		{"they are one, which is not", []Node{node("node-a"), lost(node("node-b", running)), c}, said("node-b")},
	} {
		spec := v1alpha1.LiveMigrationSpec{Domain: "web", SourceNode: "node-c", TargetNode: "node-b"}
		got := Resolve(&spec, "", NewInventory(x.nodes...), arrivedAt("", epoch), epoch).Problem
		if got.Reason != v1alpha1.ReasonDomainNotOnSource || !strings.HasSuffix(got.Message, "or without one"+x.want) {
			t.Errorf("%s: %s", x.name, got.Message)
		}
	}
}

// TestArrivalOf: only a migration that has succeeded says where its guest is.
func TestArrivalOf(t *testing.T) {
	moved := func() builder {
		return makeMigration("m").ended(v1alpha1.CallSucceeded, "", "Absent").onTarget("Running/Migrated", true).finished("True", v1alpha1.PhaseSucceeded)
	}
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.LiveMigrationStatus)
		want   bool
	}{
		{"it has succeeded", func(*v1alpha1.LiveMigrationStatus) {}, true},
		{"it has failed", func(st *v1alpha1.LiveMigrationStatus) { st.Phase = v1alpha1.PhaseFailed }, false},
		{"it goes on", func(st *v1alpha1.LiveMigrationStatus) { st.Phase, st.CompletionTime = v1alpha1.PhaseMigrating, nil }, false},
		{"it does not say when", func(st *v1alpha1.LiveMigrationStatus) { st.CompletionTime = nil }, false},
		{"there was nothing to do", func(st *v1alpha1.LiveMigrationStatus) { st.SourceNode = "" }, false},
		{"it was never let go ahead", func(st *v1alpha1.LiveMigrationStatus) { st.Attempt = nil }, false},
	} {
		b := moved()
		c.change(&b.lm.Status)
		a, ok := ArrivalOf(b.obj())
		if ok != c.want || ok && (a.Node != "node-b" || !a.Time.Equal(epoch)) {
			t.Errorf("%s: %+v, %t", c.name, a, ok)
		}
	}
}
