package migration

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

func TestResolve(t *testing.T) {
	const running = "web=Running/Booted"
	for _, c := range []struct {
		name    string
		spec    v1alpha1.LiveMigrationSpec
		nodes   []Node
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
			reason: v1alpha1.ReasonNodeNotFound, passing: true, message: `"node-b"; the nodes with one are: node-a`},
		{name: "unknown source", spec: v1alpha1.LiveMigrationSpec{SourceNode: "node-x"}, nodes: []Node{node("node-a", running), node("node-b")},
			reason: v1alpha1.ReasonNodeNotFound, passing: true, message: `"node-x"`},
		{name: "unknown guest", nodes: []Node{node("node-a"), lost(node("node-b"))},
			reason: v1alpha1.ReasonDomainNotFound, passing: true, message: "not ready: node-b"},
		{name: "two guests of one name", nodes: []Node{node("node-a", running), node("node-b", "other-web=Running/Booted")},
			reason: v1alpha1.ReasonDomainAmbiguous, message: guestUUID + ", " + otherUUID},
		{name: "shut off", nodes: []Node{node("node-a", "web=Shutoff/Shutdown"), node("node-b")},
			reason: v1alpha1.ReasonDomainNotRunning, passing: true, message: "Shutoff on node-a"},
		{name: "only a shell", nodes: []Node{node("node-a"), node("node-b", "web=Paused/Migration")},
			reason: v1alpha1.ReasonDomainNotRunning, passing: true},
		{name: "running twice", nodes: []Node{node("node-a", running), node("node-c", running), node("node-b")},
			reason: v1alpha1.ReasonDomainOnSeveralNodes, passing: true, message: "node-a and node-c"},
		{name: "running on the target and elsewhere", nodes: []Node{node("node-a", running), node("node-b", running)},
			reason: v1alpha1.ReasonDomainOnSeveralNodes, passing: true},
		{name: "in post-copy", nodes: []Node{node("node-a", "web=Paused/Postcopy"), node("node-b", "web=Running/Postcopy")},
			reason: v1alpha1.ReasonDomainOnSeveralNodes, passing: true},
		{name: "elsewhere than said", spec: v1alpha1.LiveMigrationSpec{SourceNode: "node-c"},
			nodes:  []Node{node("node-a", running), node("node-c"), node("node-b")},
			reason: v1alpha1.ReasonDomainNotOnSource, passing: true, message: "runs on node-a, not on node-c"},
		{name: "source away", nodes: []Node{lost(node("node-a", running)), node("node-b")},
			reason: v1alpha1.ReasonNodeNotReady, passing: true, message: "source node node-a is not ready: gone fishing"},
		{name: "target away", nodes: []Node{node("node-a", running), lost(node("node-b"))},
			reason: v1alpha1.ReasonNodeNotReady, passing: true, message: "target node node-b is not ready: gone fishing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := c.spec
			if spec.Domain == "" {
				spec.Domain = "web"
			}
			spec.TargetNode = "node-b"
			got := Resolve(&spec, c.nodes)
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

func TestResolveAlreadyOnTarget(t *testing.T) {
	for _, source := range []string{"", "node-a"} {
		spec := v1alpha1.LiveMigrationSpec{Domain: "web", TargetNode: "node-b", SourceNode: source}
		got := Resolve(&spec, []Node{node("node-a", "web=Shutoff/Migrated"), node("node-b", "web=Running/Migrated")})
		if !got.AlreadyOnTarget || got.Problem != nil {
			t.Errorf("source %q: Resolve() = %+v, %+v", source, got, got.Problem)
		}
		// The word of a node that is not heard from may be old.
		got = Resolve(&spec, []Node{node("node-a", "web=Shutoff/Migrated"), lost(node("node-b", "web=Running/Migrated"))})
		if got.AlreadyOnTarget || got.Problem == nil || got.Problem.Reason != v1alpha1.ReasonNodeNotReady {
			t.Errorf("source %q: Resolve() = %+v, %+v", source, got, got.Problem)
		}
	}
}

func TestGoesBefore(t *testing.T) {
	mine := makeMigration("mine").created(time.Minute).obj()
	byUUID := makeMigration("by-uuid").obj()
	byUUID.Spec.Domain = strings.ToUpper(guestUUID)
	stranger := makeMigration("stranger").obj()
	stranger.Spec.Domain = "db"
	for _, c := range []struct {
		name string
		all  []*v1alpha1.LiveMigration
		want string
	}{
		{"alone", nil, ""},
		{"itself", []*v1alpha1.LiveMigration{mine}, ""},
		{"an earlier one", []*v1alpha1.LiveMigration{makeMigration("early").obj()}, "early"},
		{"a later one", []*v1alpha1.LiveMigration{makeMigration("late").created(time.Hour).obj()}, ""},
		{"a later one that goes ahead", []*v1alpha1.LiveMigration{makeMigration("late").created(time.Hour).admitted().obj()}, "late"},
		{"one that goes ahead, and an earlier one",
			[]*v1alpha1.LiveMigration{makeMigration("early").obj(), makeMigration("late").created(time.Hour).admitted().obj()}, "late"},
		{"the first of two earlier ones",
			[]*v1alpha1.LiveMigration{makeMigration("second").created(time.Second).obj(), makeMigration("first").obj()}, "first"},
		{"one that has ended", []*v1alpha1.LiveMigration{makeMigration("old").admitted().finished(metav1.ConditionTrue, v1alpha1.PhaseSucceeded).obj()}, ""},
		{"one whose outcome is unknown",
			[]*v1alpha1.LiveMigration{makeMigration("unknown").admitted().finished(metav1.ConditionUnknown, v1alpha1.PhaseUnknown).obj()}, "unknown"},
		{"an earlier one that is being deleted", []*v1alpha1.LiveMigration{makeMigration("early").deleted().obj()}, ""},
		{"a running one that is being deleted", []*v1alpha1.LiveMigration{makeMigration("early").admitted().deleted().obj()}, "early"},
		{"an earlier one by UUID", []*v1alpha1.LiveMigration{byUUID}, "by-uuid"},
		{"one of another guest", []*v1alpha1.LiveMigration{stranger}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []v1alpha1.LiveMigration
			for _, lm := range c.all {
				all = append(all, *lm)
			}
			got := ""
			if other := GoesBefore(mine, guestUUID, "web", all); other != nil {
				got = other.Name
			}
			if got != c.want {
				t.Errorf("GoesBefore() = %q, want %q", got, c.want)
			}
		})
	}
}
