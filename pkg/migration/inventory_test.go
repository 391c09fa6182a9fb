package migration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

func TestInventoryTellsWhatChanges(t *testing.T) {
	inv := NewInventory()
	for _, c := range []struct {
		name string
		do   func() Change
		want string
	}{
		{"a new node", func() Change { return inv.Put(node("node-a", "web=Running/Booted")) }, "node " + guestUUID + " web"},
		{"the same again", func() Change { return inv.Put(node("node-a", "web=Running/Booted")) }, ""},
		{"a guest changes", func() Change { return inv.Put(node("node-a", "web=Paused/User")) }, guestUUID + " web"},
		{"a guest is renamed", func() Change { return inv.Put(node("node-a", "db=Paused/User")) }, guestUUID + " db web"},
		{"another comes", func() Change { return inv.Put(node("node-a", "db=Paused/User", "other-web=Running/Booted")) }, otherUUID + " web"},
		{"the node is lost", func() Change { return inv.Put(lost(node("node-a", "db=Paused/User", "other-web=Running/Booted"))) }, "node"},
		{"a guest goes", func() Change { return inv.Put(lost(node("node-a", "other-web=Running/Booted"))) }, guestUUID + " db"},
		{"the node goes", func() Change { return inv.Remove("node-a") }, "node " + otherUUID + " web"},
		{"it goes again", func() Change { return inv.Remove("node-a") }, ""},
	} {
		change := c.do()
		words := slices.Clone(change.Guests)
		slices.Sort(words)
		words = slices.Compact(words)
		if change.Node {
			words = append([]string{"node"}, words...)
		}
		if got := strings.Join(words, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if change := inv.Put(Node{Name: "node-x"}); !change.Node {
		t.Error("a new node that is not ready, and does not say why, is no news")
	}
	inv.Remove("node-x")
	if len(inv.byName)+len(inv.byUUID)+len(inv.nodes)+inv.Ready() != 0 {
		t.Errorf("something is left: %+v", inv)
	}
}

func TestInventoryFindsGuests(t *testing.T) {
	inv := NewInventory(node("node-b", "web=Running/Booted"), node("node-a", "other-web=Running/Booted", "db=Shutoff/Shutdown"))
	where := func(domain string) string {
		var out []string
		for _, p := range inv.places(domain) {
			out = append(out, p.node.Name+":"+p.domain.Name)
		}
		return strings.Join(out, " ")
	}
	for domain, want := range map[string]string{
		"web": "node-a:web node-b:web", "db": "node-a:db", "nobody": "",
		guestUUID: "node-a:db node-b:web", strings.ToUpper(otherUUID): "node-a:web",
	} {
		if got := where(domain); got != want {
			t.Errorf("%s is at %q, want %q", domain, got, want)
		}
	}
	for _, name := range []string{"a name that is as long as that of id", "11111111111141118111111111111111"} {
		inv.Put(node("node-c", name+"=Running/Booted"))
		if got := where(name); got != "node-c:"+name {
			t.Errorf("%s is at %q", name, got)
		}
	}
	inv.Remove("node-c")
	inv.Put(lost(node("node-a")))
	if got := inv.Ready(); got != 1 {
		t.Errorf("%d nodes are ready, want 1", got)
	}
}

// TestMessagesStayShort whatever there is of guests and nodes: a status that is too long
// can never be written.
func TestMessagesStayShort(t *testing.T) {
	inv := NewInventory()
	for i := range 2000 {
		n := node(fmt.Sprintf("%s-%04d", strings.Repeat("n", 240), i))
		n.Domains = []v1alpha1.HypervisorDomain{{UUID: fmt.Sprintf("%08d-1111-4111-8111-111111111111", i), Name: "web", State: "Running"}}
		n.Ready = i%2 == 0
		inv.Put(n)
	}
	for _, spec := range []v1alpha1.LiveMigrationSpec{
		{Domain: "web", TargetNode: strings.Repeat("n", 240) + "-0000"},
		{Domain: "web", TargetNode: "node-x"},
		{Domain: "nobody", TargetNode: strings.Repeat("n", 240) + "-0000"},
	} {
		got := Resolve(&spec, "", inv, arrivedAt("", epoch), epoch)
		if got.Problem == nil || len(got.Problem.Message) > 8000 {
			t.Errorf("the problem of %s to %.10s is %+v", spec.Domain, spec.TargetNode, got.Problem)
		}
	}
}

// TestTenThingsAreListed, and no more of them.
func TestTenThingsAreListed(t *testing.T) {
	const ten = "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9"
	inv := NewInventory()
	for i, want := range []string{"n0", "n0, n1", "", "", "", "", "", "", "", ten, ten + " and 1 more", ten + " and 2 more"} {
		inv.Put(Node{Name: "n" + strconv.Itoa(min(i, 9)) + strings.Repeat("x", max(0, i-9))})
		got := Resolve(&v1alpha1.LiveMigrationSpec{Domain: "web", TargetNode: "node-x"}, "", inv, arrivedAt("", epoch), epoch).Problem.Message
		if want != "" && !strings.Contains(got, "Nodes with an agent: "+want+". Create") {
			t.Errorf("with %d nodes: %s", i+1, got)
		}
	}
}
