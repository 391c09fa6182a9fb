//go:build packages

package packages

import (
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/documented"
)

// TestRunbooks types what the runbooks have somebody type who is woken by an alert, in a
// cluster with migrations of every phase. kubectl takes each command, and fields by which
// one selects are there.
func TestRunbooks(t *testing.T) {
	before := inventory(t)
	must(t, "kubectl", "apply", "--server-side", "-k", root+"/config/crd")
	must(t, "kubectl", "create", "namespace", systemNamespace)
	must(t, "kubectl", "wait", "--for=condition=Established", "customresourcedefinition", livemigrations, "hypervisors."+v1alpha1.GroupName)
	must(t, "bash", "-c", `kubectl create -f - <<END
{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: virtferry-manager, namespace: `+systemNamespace+`}}
END`)
	recorded := createRecorded(t)
	if err := cluster.client.Create(t.Context(), &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("<node>", "node-a", "<namespace>", recorded[0].Namespace, "<name>", recorded[0].Name)
	pages, err := filepath.Glob(root + "/docs/runbooks/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("there are no runbooks", err)
	}
	for _, page := range pages {
		all, err := documented.Commands(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if c.AsRoot {
				continue // There are no hosts here.
			}
			// That grep finds nothing is no mistake; nor has the cluster pods with logs.
			command, _, _ := strings.Cut(c.Text, " | grep")
			if out, err := try(t, "bash", "-euo", "pipefail", "-c", fill.Replace(command)); err != nil {
				t.Errorf("%s: %s: %v\n%s", filepath.Base(page), c.Text, err, out)
			}
		}
	}
	must(t, "kubectl", "delete", "-k", root+"/config/crd")
	must(t, "kubectl", "delete", "namespace", systemNamespace, "--wait=false")
	removeNamespace(t, systemNamespace)
	requireInventory(t, before)
}
