//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
	"github.com/virtferry/virtferry/pkg/hypervisor/fake"
)

// TestHypervisorComesBack within seconds when somebody has deleted or edited it.
func TestHypervisorComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g := w.newGuest("web")
	host := newFleet(t).Host(w.node("a"))
	host.AddGuest(fake.Guest{UUID: g.uuid, Name: g.name, Persistent: true})
	w.startManager(clock.RealClock{})
	w.runAgent(w.newAgent("a"), host)
	w.awaitReady("a")
	want := w.hypervisor("a").Status
	for _, c := range []struct {
		name string
		harm func(hv *v1alpha1.Hypervisor) error
	}{
		{"edited", func(hv *v1alpha1.Hypervisor) error {
			hv.Status.Domains, hv.Status.HostUUID = nil, "another"
			return cluster.client.Status().Update(t.Context(), hv)
		}},
		{"without conditions", func(hv *v1alpha1.Hypervisor) error {
			hv.Status.Conditions = nil
			return cluster.client.Status().Update(t.Context(), hv)
		}},
		{"deleted", func(hv *v1alpha1.Hypervisor) error { return cluster.client.Delete(t.Context(), hv) }},
	} {
		begun := time.Now()
		if !poll(t.Context(), func() bool { return c.harm(w.hypervisor("a")) == nil }) {
			t.Fatalf("it cannot be %s", c.name)
		}
		if !poll(t.Context(), func() bool { return w.shows("a", want) }) {
			t.Fatalf("%s, it does not come back: %+v", c.name, w.hypervisor("a").Status)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s, it took %s to come back", c.name, took)
		}
		// The label that shows it to this world's manager is nobody's but the test's.
		label := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, worldLabel, w.name)
		if err := cluster.client.Patch(t.Context(), w.hypervisor("a"), client.RawPatch(types.MergePatchType, label)); err != nil {
			t.Fatal(err)
		}
		w.awaitReady("a")
	}
}

// shows reports whether a node's agent says what it is expected to.
func (w *world) shows(letter string, want v1alpha1.HypervisorStatus) bool {
	w.t.Helper()
	hv := &v1alpha1.Hypervisor{}
	if err := cluster.client.Get(w.t.Context(), client.ObjectKey{Name: w.node(letter)}, hv); err != nil {
		return false
	}
	s := hv.Status
	return meta.IsStatusConditionTrue(s.Conditions, v1alpha1.ConditionLibvirtConnected) &&
		slices.Equal(s.Domains, want.Domains) && s.DomainCount == want.DomainCount && s.HostUUID == want.HostUUID
}

// maxRequest is what etcd takes at a time.
const maxRequest = 3 << 19

// TestHypervisorHoldsAnyGuests whatever they are called, in an object that etcd takes,
// and says how many it does not list.
func TestHypervisorHoldsAnyGuests(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		name string
		n    int
	}{
		"ordinary names":   {"web-", 4096},
		"the longest ones": {strings.Repeat("\U0001F6A2", 251), 4200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			host := newFleet(t).Host(w.node("a"))
			for i := range c.n {
				host.AddGuest(fake.Guest{
					UUID: uuid.NewString(), Name: fmt.Sprintf("%s%05d", c.name, i), State: hypervisor.StateShutoff, Reason: hypervisor.ReasonDestroyed,
				})
			}
			odd := fake.Guest{UUID: uuid.NewString(), Name: strings.Repeat("long", 100)}
			host.AddGuest(odd)
			w.startManager(clock.RealClock{})
			w.runAgent(w.newAgent("a"), host)
			w.awaitReady("a")
			hv := w.hypervisor("a")
			text, err := json.Marshal(hv)
			if err != nil {
				t.Fatal(err)
			}
			managed, err := json.Marshal(hv.ManagedFields)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d of %d guests are listed in %d bytes, %d of them for the owners of fields",
				len(hv.Status.Domains), hv.Status.DomainCount, len(text), len(managed))
			if len(text) > maxRequest*2/3 {
				t.Errorf("it has %d bytes", len(text))
			}
			if int(hv.Status.DomainCount) != c.n+1 || hv.Status.UnlistedDomains() == 0 {
				t.Errorf("of %d guests it lists %d", hv.Status.DomainCount, len(hv.Status.Domains))
			}
			if d := hv.Status.Domains[0]; d.UUID != odd.UUID || d.Name != "" {
				t.Errorf("the active one is not the first: %+v", d)
			}
			ready := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionReady)
			if want := fmt.Sprintf("only %d of its %d guests are listed", len(hv.Status.Domains), c.n+1); !strings.Contains(ready.Message, want) {
				t.Errorf("it says %q", ready.Message)
			}
		})
	}
}

// TestFinalizerOfAnotherOwnerIsRemoved: an object that was restored or replaced has it
// from whoever did that.
func TestFinalizerOfAnotherOwnerIsRemoved(t *testing.T) {
	t.Parallel()
	w, g, a, b := newPair(t)
	lm := w.newMigration(g, "b")
	lm.Finalizers = []string{v1alpha1.FinalizerGuestSafe}
	m := w.follow(lm)
	carryOut(m, successfulMove(m, g, a, b))
	m.await("the end of its finalizer", func(lm *v1alpha1.LiveMigration) bool { return len(lm.Finalizers) == 0 })
	if err := cluster.client.Delete(t.Context(), m.latest()); err != nil {
		t.Fatal(err)
	}
	if !poll(t.Context(), func() bool {
		return apierrors.IsNotFound(cluster.client.Get(t.Context(), m.key(), &v1alpha1.LiveMigration{}))
	}) {
		t.Error("the object stays")
	}
}

// TestRealAgentsForgetWhatIsFinished: the objects of a node's history are neither held
// nor looked at again, and the last version still reaches whoever worked on it.
func TestRealAgentsForgetWhatIsFinished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fleet := newFleet(t)
	g := w.newGuest("web")
	fleet.Host(w.node("a")).AddGuest(fake.Guest{UUID: g.uuid, Name: g.name, Persistent: true})
	w.startManager(clock.RealClock{})
	for _, letter := range []string{"a", "b"} {
		w.runAgent(w.newAgent(letter), fleet.Host(w.node(letter)))
	}
	w.awaitReady("a", "b")
	m := w.migrate(g, "b")
	m.awaitReason(v1alpha1.ReasonMigrated)
	quiet := func() bool {
		before := fleet.Count(fake.MethodLookupDomain, g.uuid) + fleet.Count(fake.MethodJobStats, g.uuid)
		time.Sleep(3 * time.Second)
		return before == fleet.Count(fake.MethodLookupDomain, g.uuid)+fleet.Count(fake.MethodJobStats, g.uuid)
	}
	if !poll(t.Context(), quiet) {
		t.Error("somebody goes on with a migration that is over")
	}
	list := &v1alpha1.LiveMigrationList{}
	err := cluster.client.List(t.Context(), list, &client.ListOptions{Raw: &metav1.ListOptions{
		FieldSelector: "status.sourceNode=" + w.node("a") + ",status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled",
	}})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("the selector finds %d objects: %v", len(list.Items), err)
	}
}
