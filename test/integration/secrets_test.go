//go:build integration

package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
	"github.com/virtferry/virtferry/pkg/agent"
)

// mayGet returns the right to get a Secret.
func mayGet(name string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get"}}
}

// withSecret is a migration that has libvirt lent the value of a Secret.
func (w *world) withSecret(name string) *v1alpha1.LiveMigration {
	lm := w.newMigration(w.newGuest("web"), "b")
	lm.Spec.MigrateData = &v1alpha1.MigrateData{Secrets: []v1alpha1.SecretMigrateData{{
		UUID: new(v1alpha1.UUID("2a3d9f51-8c2b-4d0a-9e2e-1f4b5c6d7e8f")), SecretKeyRef: v1alpha1.SecretKeyReference{Name: name, Key: "passphrase"},
	}}}
	return lm
}

// TestOnlyThoseWhoMayGetASecretReferToIt, when they create a migration and later; others may
// still write to the rest of it.
func TestOnlyThoseWhoMayGetASecretReferToIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	edit := may("livemigrations", "create", "get", "patch", "update")
	one, both := w.user("one", edit, mayGet("mine")), w.user("none", edit)
	create := func(c client.Client, lm *v1alpha1.LiveMigration) (err error) {
		// The API server authorises from a cache: a role that was bound just now may not count yet.
		poll(t.Context(), func() bool {
			err = c.Create(t.Context(), lm)
			return err == nil || strings.Contains(err.Error(), "spec.migrateData.secrets")
		})
		return err
	}
	mine := w.withSecret("mine")
	var err error
	if !poll(t.Context(), func() bool { err = one.Create(t.Context(), mine); return err == nil }) {
		t.Fatal(err)
	}
	if err := create(one, w.withSecret("theirs")); !apierrors.IsForbidden(err) {
		t.Errorf("a Secret that they may not get: %v", err)
	}
	if err := create(both, w.withSecret("mine")); !apierrors.IsForbidden(err) {
		t.Errorf("without any right to Secrets: %v", err)
	}
	if err := annotate(t, both, mine, map[string]string{"example.com/note": "1"}); err != nil {
		t.Errorf("what has nothing to do with it: %v", err)
	}
}

// TestManySecretsAreChecked: as many as an object may name.
func TestManySecretsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var rights []rbacv1.PolicyRule
	name := func(i int) string { return fmt.Sprintf("secret-%02d", i) }
	for i := range 15 {
		rights = append(rights, mayGet(name(i)))
	}
	user := w.user("many", append(rights, may("livemigrations", "create"))...)
	with := func(names ...string) *v1alpha1.LiveMigration {
		lm := w.newMigration(w.newGuest("web"), "b")
		lm.Spec.MigrateData = &v1alpha1.MigrateData{}
		for i, name := range names {
			lm.Spec.MigrateData.Secrets = append(lm.Spec.MigrateData.Secrets, v1alpha1.SecretMigrateData{
				UUID:         new(v1alpha1.UUID(fmt.Sprintf("2a3d9f51-8c2b-4d0a-9e2e-1f4b5c6d7e%02x", i))),
				SecretKeyRef: v1alpha1.SecretKeyReference{Name: name, Key: "passphrase"},
			})
		}
		return lm
	}
	var all []string
	for i := range 15 {
		all = append(all, name(i))
	}
	var err error
	if !poll(t.Context(), func() bool { err = user.Create(t.Context(), with(append(all, name(0))...)); return err == nil }) {
		t.Fatal(err)
	}
	for i := range 16 {
		names := append(slices.Clone(all), name(0))
		names[i] = "theirs"
		if err := user.Create(t.Context(), with(names...)); !apierrors.IsForbidden(err) || strings.Contains(err.Error(), "cost") {
			t.Errorf("the entry %d is not checked: %v", i, err)
		}
	}
}

// TestAgentsGetOnlyWhatTheyAreGranted: each Secret by its name.
func TestAgentsGetOnlyWhatTheyAreGranted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "mine", Namespace: w.name}, Data: map[string][]byte{"passphrase": []byte("correct horse")},
	})
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "theirs", Namespace: w.name}, Data: map[string][]byte{"passphrase": []byte("x")}})
	who := rest.CopyConfig(cluster.config)
	who.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:virtferry-system:virtferry-agent", Groups: []string{"system:authenticated", "system:serviceaccounts"},
	}
	c, err := client.New(who, client.Options{Scheme: cluster.scheme})
	if err != nil {
		t.Fatal(err)
	}
	source := &node.SecretSource{Reader: c, Node: w.node("b")}
	value := func(name, key string) (string, error) {
		got, err := source.Value(t.Context(), w.name, v1alpha1.SecretKeyReference{Name: name, Key: key})
		return string(got), err
	}
	if _, err := value("mine", "passphrase"); !errors.Is(err, agent.ErrSecretForbidden) {
		t.Errorf("before it is granted: %v", err)
	}
	meta := metav1.ObjectMeta{Name: "virtferry-secrets", Namespace: w.name}
	w.create(&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{mayGet("mine"), mayGet("none")}})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "virtferry-agent", Namespace: "virtferry-system"}},
	})
	var got string
	if !poll(t.Context(), func() bool { got, err = value("mine", "passphrase"); return err == nil }) || got != "correct horse" {
		t.Errorf("once it is granted: %q, %v", got, err)
	}
	for name, want := range map[[2]string]error{
		{"theirs", "passphrase"}: agent.ErrSecretForbidden, {"mine", "key"}: agent.ErrNoSecret, {"none", "passphrase"}: agent.ErrNoSecret,
	} {
		if _, err := value(name[0], name[1]); !errors.Is(err, want) {
			t.Errorf("%v: %v, want %v", name, err, want)
		}
	}
}

// TestWhatBorrows: a loan lasts as long as the migration to the node.
func TestWhatBorrows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	lm.Status.TargetNode = w.node("b")
	if err := cluster.client.Status().Update(t.Context(), lm); err != nil {
		t.Fatal(err)
	}
	name := client.ObjectKeyFromObject(lm)
	for _, c := range []struct {
		what, node string
		name       types.NamespacedName
		uid        types.UID
		want       bool
	}{
		{"it goes on", w.node("b"), name, lm.UID, true},
		{"it goes to another node", w.node("a"), name, lm.UID, false},
		{"it is another of the name", w.node("b"), name, "other", false},
		{"it is gone", w.node("b"), types.NamespacedName{Namespace: w.name, Name: "gone"}, lm.UID, false},
	} {
		source := &node.SecretSource{Reader: cluster.client, Node: c.node}
		if got, err := source.Borrows(t.Context(), c.name, c.uid); err != nil || got != c.want {
			t.Errorf("%s: %t, %v", c.what, got, err)
		}
	}
}

// oneReference is the rule about what refers to a secret.
const oneReference = "exactly one of the fields in [uuid usage] must be set"

// TestReferencesNameOneThing: a secret is found by its UUID or by its use.
func TestReferencesNameOneThing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lm := w.newMigration(w.newGuest("web"), "b")
	w.create(lm)
	uuid, usage := new(v1alpha1.UUID("2a3d9f51-8c2b-4d0a-9e2e-1f4b5c6d7e8f")), &v1alpha1.SecretUsage{Type: v1alpha1.SecretUsageCeph, Name: "x"}
	for name, c := range map[string]struct {
		reference v1alpha1.SecretReference
		ok        bool
	}{
		"none": {v1alpha1.SecretReference{}, false}, "both": {v1alpha1.SecretReference{UUID: uuid, Usage: usage}, false},
		"by UUID": {v1alpha1.SecretReference{UUID: uuid}, true}, "by use": {v1alpha1.SecretReference{Usage: usage}, true},
	} {
		next := lm.DeepCopy()
		next.Status.Attempt = &v1alpha1.AttemptStatus{ID: "one", AdmittedTime: metav1.NowMicro()}
		next.Status.SourceNode, next.Status.TargetNode = w.node("a"), w.node("b")
		next.Status.Source = &v1alpha1.SourceStatus{AttemptID: "one", Guest: &v1alpha1.GuestFacts{Name: "web", Secrets: []v1alpha1.SecretReference{c.reference}}}
		err := cluster.client.Status().Update(t.Context(), next, client.DryRunAll)
		if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), oneReference) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
