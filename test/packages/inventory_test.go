//go:build packages

package packages

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// inventory returns all that is in the cluster, but for events, which expire, and what
// the API server keeps for itself.
func inventory(t *testing.T) []string {
	t.Helper()
	api, err := discovery.NewDiscoveryClientForConfig(cluster.config)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := dynamic.NewForConfig(cluster.config)
	if err != nil {
		t.Fatal(err)
	}
	// Of a CRD that has just been removed, discovery still knows a little.
	lists, _ := api.ServerPreferredResources()
	var all []string
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if r.Name == "events" || !slices.Contains(r.Verbs, "list") {
				continue
			}
			found, err := reader.Resource(version.WithResource(r.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				continue
			}
			for i := range found.Items {
				o := &found.Items[i]
				if !strings.HasPrefix(o.GetNamespace(), "kube-") && o.GetName() != "kubernetes" {
					all = append(all, fmt.Sprintf("%s %s/%s", r.Name, o.GetNamespace(), o.GetName()))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// requireInventory waits until just these objects are in the cluster.
func requireInventory(t *testing.T, want []string) {
	t.Helper()
	var diff string
	defer func() {
		if diff != "" {
			t.Errorf("what is in the cluster is not what was there before (-before +now):\n%s", diff)
		}
	}()
	await(t, "the cluster is as it was", func() bool {
		diff = cmp.Diff(want, inventory(t))
		return diff == ""
	})
}

// awaitServed waits until the API server has objects of ours to list, of each kind. Of a kind
// that nobody has asked for, it makes the storage only when its CRD is deleted. The first look
// into that fails, as "storage is (re)initializing"; then its next try conflicts with its own
// note of the failure, and it leaves the CRD alone until it looks at all of them anew, which
// takes minutes.
func awaitServed(t *testing.T) {
	t.Helper()
	for _, list := range []client.ObjectList{&v1alpha1.HypervisorList{}, &v1alpha1.LiveMigrationList{}} {
		await(t, "objects can be listed", func() bool { return cluster.client.List(t.Context(), list) == nil })
	}
}

// removeNamespace does to a namespace what the controller of namespaces, of which there
// is none here, does: it removes what is in it, and then the namespace.
func removeNamespace(t *testing.T, name string) {
	t.Helper()
	api, err := kubernetes.NewForConfig(cluster.config)
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := api.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if namespace.DeletionTimestamp == nil {
		t.Fatalf("the namespace %s is not being deleted", name)
	}
	const everything = "configmaps,secrets,serviceaccounts,leases.coordination.k8s.io,roles,rolebindings,services,deployments,daemonsets,poddisruptionbudgets,networkpolicies"
	must(t, "kubectl", "delete", everything, "--all", "--namespace", name)
	namespace.Spec.Finalizers = nil
	if _, err := api.CoreV1().Namespaces().Finalize(t.Context(), namespace, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the namespace is gone", func() bool {
		err := cluster.client.Get(t.Context(), client.ObjectKey{Name: name}, &corev1.Namespace{})
		return apierrors.IsNotFound(err)
	})
}
