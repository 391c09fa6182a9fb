//go:build integration

package integration

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/hypervisor"
)

// worldLabel marks the Hypervisors of a world with its name.
const worldLabel = "test.virtferry.dev/world"

// world is a part of the cluster that one test has for itself: a namespace,
// nodes, and managers that see nothing else. So tests can run side by side.
type world struct {
	t    *testing.T
	name string
	// writes counts what its managers have written.
	writes atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "world-"}}
	if err := cluster.client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, name: namespace.Name}
	// In the world's namespace the manager may do what it may in the system's.
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: managerAccount, Namespace: w.name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: managerAccount, Namespace: systemNamespace}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: managerAccount},
	})
	role := &rbacv1.Role{}
	if err := cluster.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: managerAccount}, role); err != nil {
		t.Fatal(err)
	}
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: managerAccount, Namespace: w.name}, Rules: role.Rules})
	return w
}

// in is the world as part of a subtest.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	return &world{t: t, name: w.name}
}

// node returns the name of one of the world's nodes.
func (w *world) node(letter string) string { return w.name + "-" + letter }

// guest is a libvirt guest.
type guest struct{ name, uuid string }

// newGuest returns a guest that is not anywhere yet. Its name is unique in the
// cluster: managers look for migrations of the same guest in all namespaces.
func (w *world) newGuest(name string) guest {
	return guest{name: w.name + "-" + name, uuid: uuid.NewString()}
}

// newGuests returns some guests, and them as a hypervisor lists them.
func (w *world) newGuests(n int) (guests []guest, domains []v1alpha1.HypervisorDomain) {
	for i := range n {
		g := w.newGuest(strconv.Itoa(i))
		guests, domains = append(guests, g), append(domains, g.running())
	}
	return guests, domains
}

// running is the guest as a hypervisor lists it.
func (g guest) running() v1alpha1.HypervisorDomain {
	return v1alpha1.HypervisorDomain{UUID: g.uuid, Name: g.name, State: string(hypervisor.StateRunning)}
}

// off is the guest as a hypervisor lists it that has only its definition.
func (g guest) off() v1alpha1.HypervisorDomain {
	return v1alpha1.HypervisorDomain{UUID: g.uuid, Name: g.name, State: string(hypervisor.StateShutoff)}
}

// newMigration returns a LiveMigration that has not been created yet.
func (w *world) newMigration(g guest, target string) *v1alpha1.LiveMigration {
	return &v1alpha1.LiveMigration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "move-", Namespace: w.name},
		Spec:       v1alpha1.LiveMigrationSpec{Domain: g.name, TargetNode: w.node(target)},
	}
}

// create creates an object and fails the test where that fails.
func (w *world) create(object client.Object) {
	w.t.Helper()
	if err := cluster.client.Create(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

// hypervisor reads the Hypervisor of one of the world's nodes.
func (w *world) hypervisor(letter string) *v1alpha1.Hypervisor {
	w.t.Helper()
	hv := &v1alpha1.Hypervisor{}
	if err := cluster.client.Get(w.t.Context(), client.ObjectKey{Name: w.node(letter)}, hv); err != nil {
		w.t.Fatal(err)
	}
	return hv
}

// awaitReady waits until the manager takes nodes for ready.
func (w *world) awaitReady(letters ...string) {
	w.t.Helper()
	for _, letter := range letters {
		w.awaitCondition(letter, metav1.ConditionTrue)
	}
}

// awaitCondition waits until a node's Ready condition has a status.
func (w *world) awaitCondition(letter string, status metav1.ConditionStatus) *metav1.Condition {
	w.t.Helper()
	var c *metav1.Condition
	if !poll(w.t.Context(), func() bool {
		c = meta.FindStatusCondition(w.hypervisor(letter).Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Status == status
	}) {
		w.t.Fatalf("the node %s never became Ready=%s: %v", letter, status, c)
	}
	return c
}
