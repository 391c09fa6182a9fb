//go:build integration

package integration

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
)

// What the manager and the agents need, all other tests show: they run with these
// rights. The tests here show that they have no others.

// ownRights returns what someone may do in a namespace and a service account
// without any roles may not.
func ownRights(t *testing.T, who *rest.Config, namespace string) []string {
	t.Helper()
	common := rightsIn(t, asServiceAccount("nobody"), namespace)
	return slices.DeleteFunc(rightsIn(t, who, namespace), func(right string) bool { return slices.Contains(common, right) })
}

// rightsIn returns what someone may do in a namespace, as "verb resource".
func rightsIn(t *testing.T, who *rest.Config, namespace string) []string {
	t.Helper()
	api, err := kubernetes.NewForConfig(who)
	if err != nil {
		t.Fatal(err)
	}
	review, err := api.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace},
	}, metav1.CreateOptions{})
	if err != nil || review.Status.Incomplete {
		t.Fatal("the rights are not told in full", err, review.Status.EvaluationError)
	}
	var rights []string
	for _, rule := range review.Status.ResourceRules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, verb+" "+resource+"."+group)
				}
			}
		}
	}
	slices.Sort(rights)
	return slices.Compact(rights)
}

func TestRightsOfTheManager(t *testing.T) {
	t.Parallel()
	everywhere := []string{
		"create events.", "create events.events.k8s.io", "create subjectaccessreviews.authorization.k8s.io",
		"create tokenreviews.authentication.k8s.io", "delete livemigrations.migration.virtferry.dev",
		"get hypervisors.migration.virtferry.dev", "get livemigrations.migration.virtferry.dev",
		"list hypervisors.migration.virtferry.dev", "list livemigrations.migration.virtferry.dev",
		"patch events.", "patch events.events.k8s.io", "patch hypervisors/status.migration.virtferry.dev",
		"patch livemigrations.migration.virtferry.dev", "patch livemigrations/status.migration.virtferry.dev",
		"update livemigrations/finalizers.migration.virtferry.dev",
		"watch hypervisors.migration.virtferry.dev", "watch livemigrations.migration.virtferry.dev",
	}
	inSystem := []string{
		"create configmaps.", "get configmaps.", "patch configmaps.",
		"create leases.coordination.k8s.io", "get leases.coordination.k8s.io", "list leases.coordination.k8s.io",
		"patch leases.coordination.k8s.io", "update leases.coordination.k8s.io", "watch leases.coordination.k8s.io",
	}
	requireRights(t, asServiceAccount(managerAccount), everywhere, inSystem)
}

func TestRightsOfAgents(t *testing.T) {
	t.Parallel()
	everywhere := []string{
		"create hypervisors.migration.virtferry.dev", "create subjectaccessreviews.authorization.k8s.io",
		"create tokenreviews.authentication.k8s.io",
		"get hypervisors.migration.virtferry.dev", "get livemigrations.migration.virtferry.dev",
		"list hypervisors.migration.virtferry.dev", "list livemigrations.migration.virtferry.dev",
		"patch hypervisors.migration.virtferry.dev", "patch hypervisors/status.migration.virtferry.dev",
		"patch livemigrations/status.migration.virtferry.dev",
		"watch hypervisors.migration.virtferry.dev", "watch livemigrations.migration.virtferry.dev",
	}
	requireRights(t, asServiceAccount(agentAccount), everywhere,
		[]string{"create leases.coordination.k8s.io", "patch leases.coordination.k8s.io"})
}

// requireRights fails unless someone has just these rights in all namespaces, and
// these others in the system's.
func requireRights(t *testing.T, who *rest.Config, everywhere, inSystem []string) {
	t.Helper()
	if diff := cmp.Diff(everywhere, ownRights(t, who, "default")); diff != "" {
		t.Errorf("the rights everywhere differ (-want +got):\n%s", diff)
	}
	all := slices.Concat(everywhere, inSystem)
	slices.Sort(all)
	if diff := cmp.Diff(all, ownRights(t, who, systemNamespace)); diff != "" {
		t.Errorf("the rights in %s differ (-want +got):\n%s", systemNamespace, diff)
	}
}

// TestWhatIsRefused tries some of what must not work.
func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.startAgent("a")
	manager, err := client.New(asServiceAccount(managerAccount), client.Options{Scheme: cluster.scheme})
	if err != nil {
		t.Fatal(err)
	}
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	owner := client.FieldOwner(v1alpha1.OwnerSourceAgent)
	spec := ac.LiveMigration(lm.Name, lm.Namespace).WithSpec(ac.LiveMigrationSpec().WithTTLSecondsAfterFinished(0))
	for name, err := range map[string]error{
		"an agent deletes a migration":        a.client.Delete(t.Context(), lm.DeepCopy()),
		"an agent writes a spec":              a.client.Apply(t.Context(), spec, owner),
		"an agent creates a migration":        a.client.Create(t.Context(), w.newMigration(w.newGuest("db"), "b")),
		"an agent deletes its hypervisor":     a.client.Delete(t.Context(), w.hypervisor("a")),
		"an agent reads secrets":              a.client.List(t.Context(), &corev1.SecretList{}, client.InNamespace(systemNamespace)),
		"the manager reads secrets":           manager.List(t.Context(), &corev1.SecretList{}, client.InNamespace(systemNamespace)),
		"the manager reads pods":              manager.List(t.Context(), &corev1.PodList{}, client.InNamespace(systemNamespace)),
		"the manager creates a migration":     manager.Create(t.Context(), w.newMigration(w.newGuest("db"), "b")),
		"the manager deletes a hypervisor":    manager.Delete(t.Context(), w.hypervisor("a")),
		"the manager gives itself more to do": manager.Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "more"}}),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: the answer is %v", name, err)
		}
	}
}

// TestRolesForUsers: those who may edit in a namespace may migrate there, those who
// may view may look. Neither writes the status.
func TestRolesForUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const migrations, hypervisors = "livemigrations.migration.virtferry.dev", "hypervisors.migration.virtferry.dev"
	for role, want := range map[string][]string{
		"virtferry-edit": {
			"create " + migrations, "delete " + migrations, "deletecollection " + migrations, "get " + hypervisors, "get " + migrations,
			"list " + hypervisors, "list " + migrations, "patch " + migrations, "update " + migrations,
			"update livemigrations/cancel.migration.virtferry.dev", "update livemigrations/force-complete.migration.virtferry.dev", "watch " + hypervisors, "watch " + migrations,
		},
		"virtferry-view": {
			"get " + hypervisors, "get " + migrations, "list " + hypervisors, "list " + migrations, "watch " + hypervisors, "watch " + migrations,
		},
	} {
		user := w.name + "-" + role
		w.create(&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role, Namespace: w.name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		})
		who := rest.CopyConfig(cluster.config)
		who.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
		// The API server authorises from a cache: a role that was bound just now may not count yet.
		var diff string
		if !poll(t.Context(), func() bool { diff = cmp.Diff(want, ownRights(t, who, w.name)); return diff == "" }) {
			t.Errorf("%s: the rights differ (-want +got):\n%s", role, diff)
		}
	}
}
