//go:build integration

package integration

import (
	"context"
	"slices"
	"testing"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/upgradecheck"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestUpgradeCheck asks two hosts about the guests of a third: one cannot run any of them.
func TestUpgradeCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	guests, _ := w.newGuests(3)
	for _, g := range guests {
		fleet.Host(w.node("a")).AddGuest(fake.Guest{UUID: g.uuid, Name: g.name, Persistent: true})
	}
	fleet.Host(w.node("b")).SetEmulatorFit(hypervisor.EmulatorFit{Unsupported: "the machine 'pc-i440fx-2.0' is not supported"})
	w.startManager(clock.RealClock{})
	for _, letter := range []string{"a", "b", "c"} {
		w.runAgent(w.newAgent(letter), fleet.Host(w.node(letter)))
	}
	w.awaitReady("a", "b", "c")
	for _, c := range []struct {
		name    string
		targets []string
		verdict upgradecheck.Verdict
		asked   int
	}{
		{"one that does not take them", []string{"b"}, upgradecheck.Refused, 1},
		{"one that does as well", []string{"b", "c"}, upgradecheck.Moves, 2},
		{"one that does at first", []string{"c", "b"}, upgradecheck.Moves, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			runner := upgradecheck.Runner{Client: cluster.client, Namespace: w.name, Node: w.node("a"), Parallel: 2, Timeout: time.Minute}
			for _, letter := range c.targets {
				runner.Targets = append(runner.Targets, w.node(letter))
			}
			var results []upgradecheck.Result
			ask := upgradecheck.Guests(w.in(t).hypervisor("a"))
			if len(ask) != len(guests) {
				t.Fatalf("the guests are %v", ask)
			}
			if err := runner.Run(t.Context(), ask, func(r upgradecheck.Result) { results = append(results, r) }); err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Verdict() != c.verdict || len(r.Answers) != c.asked {
					t.Errorf("%s: %+v, want %s", r.Guest, r.Answers, c.verdict)
				}
				i := slices.IndexFunc(r.Answers, func(a upgradecheck.Answer) bool { return a.Target == w.node("b") })
				if i >= 0 && !slices.Contains(r.Answers[i].Blockers, v1alpha1.BlockerEmulatorUnsupported) {
					t.Errorf("%s: it says %+v", r.Guest, r.Answers[i])
				}
			}
			if len(results) != len(guests) {
				t.Errorf("there are %d results", len(results))
			}
			var left v1alpha1.LiveMigrationList
			if err := cluster.client.List(t.Context(), &left, client.InNamespace(w.name)); err != nil || len(left.Items) > 0 {
				t.Errorf("%d dry runs are left: %v", len(left.Items), err)
			}
			if n := len(fleet.RunningOn(guests[0].uuid)); n != 1 {
				t.Errorf("the guest runs on %d hosts", n)
			}
		})
	}
}

// TestUpgradeCheckInterrupted leaves no dry run behind, though nobody has answered yet.
func TestUpgradeCheckInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	left := func() int {
		var all v1alpha1.LiveMigrationList
		if err := cluster.client.List(t.Context(), &all, client.InNamespace(w.name)); err != nil {
			t.Fatal(err)
		}
		return len(all.Items)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	runner := upgradecheck.Runner{
		Client: cluster.client, Namespace: w.name, Node: w.node("a"), Targets: []string{w.node("b")}, Parallel: 1, Timeout: time.Minute,
	}
	ended := make(chan error, 1)
	go func() {
		ended <- runner.Run(ctx, []upgradecheck.Guest{{UUID: g.uuid, Name: g.name}}, func(upgradecheck.Result) {})
	}()
	if !poll(t.Context(), func() bool { return left() == 1 }) {
		t.Fatal("there is no dry run")
	}
	interrupt()
	if err := <-ended; err == nil {
		t.Error("it says nothing")
	}
	if n := left(); n != 0 {
		t.Errorf("%d dry runs are left", n)
	}
}
