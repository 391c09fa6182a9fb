//go:build packages

package packages

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/test/documented"
)

// inTests are the headings of docs/install.md below which tests type what is not untyped:
// those of test/e2e, for the hosts, and of this package.
func inTests() []string {
	return []string{
		"Hosts", "Certificates", "Encryption of the guests' memory", "SSH", "Ports between the hosts", "Cluster", "With Helm",
		"With kustomize", "Another namespace", "The first migration", "Metrics and alerts", "Dashboards",
		"Objects as metrics", "Updating", "Removing",
	}
}

// untyped has the commands that no test of this package types, by how they begin, and why.
func untyped() map[string]string {
	return map[string]string{
		"systemctl ":              "the services are the reader's own; the lab starts libvirtd without systemd",
		"virsh -c qemu+ssh:":      "there is no libvirt here; test/e2e does",
		"virsh -c 'qemu+unix:":    "there is no libvirt here; test/e2e does",
		"firewall-cmd ":           "there is no firewalld; test/e2e has the same ports let in by nft",
		"virsh -c qemu+tls:":      "there is no libvirt here; test/e2e does",
		"make docker-build ":      "there is no Docker; make image builds the same Dockerfile",
		"docker push ":            "there is no registry",
		"make image":              "make test-image does",
		"skopeo copy ":            "there is no registry",
		"kubectl get hypervisors": "no agents run here",
		"kubectl wait ":           "no guest moves here",
		"kubectl apply --server-side -k config/resource-state-metrics": "there is no resource-state-metrics, whose kind this is; make test-resource-state-metrics does",
		"kubectl apply -k config/prometheus":                           "there is no Prometheus operator, whose kinds these are",
	}
}

// whyUntyped returns why no test types a command, nothing if one should.
func whyUntyped(c documented.Command) string {
	for beginning, why := range untyped() {
		if strings.HasPrefix(c.Text, beginning) {
			return why
		}
	}
	return ""
}

// commands returns those of docs/install.md.
func commands(t *testing.T) []documented.Command {
	t.Helper()
	all, err := documented.Commands(root + "/docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// below returns what a user types below a heading, as a script.
func below(t *testing.T, heading string) string {
	t.Helper()
	script := documented.Script(slices.DeleteFunc(commands(t), func(c documented.Command) bool {
		return c.Heading != heading || c.AsRoot || whyUntyped(c) != ""
	}))
	if script == "" {
		t.Fatalf("docs/install.md has no commands below %q", heading)
	}
	return script
}

// TestEachCommandIsTyped: no command of docs/install.md is left out but for a reason.
func TestEachCommandIsTyped(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, heading := range inTests() {
		tested[heading] = true
	}
	beginnings := untyped()
	for _, c := range commands(t) {
		if whyUntyped(c) == "" && !tested[c.Heading] {
			t.Errorf("no test types this, below %q: %s", c.Heading, c.Text)
		}
		for beginning := range beginnings {
			if strings.HasPrefix(c.Text, beginning) {
				delete(beginnings, beginning)
			}
		}
	}
	for beginning := range beginnings {
		t.Errorf("docs/install.md has no command any more that begins with %q", beginning)
	}
}

// TestDocumentedInstallation does what docs/install.md has its reader do, from the labels
// of the nodes and the installation by Helm to the removal.
func TestDocumentedInstallation(t *testing.T) {
	before := inventory(t)
	t.Setenv("PATH", filepath.Dir(os.Getenv("HELM"))+":"+os.Getenv("PATH"))
	nodes := []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "node-b"}}}
	for _, node := range nodes {
		if err := cluster.client.Create(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}
	for _, heading := range []string{"Cluster", "With Helm", "The first migration", "Metrics and alerts", "Dashboards", "Objects as metrics", "Updating"} {
		must(t, "bash", "-euo", "pipefail", "-c", "cd "+root+"\n"+below(t, heading))
		if heading == "With Helm" {
			requireInstalled(t)
			// A reader is not as quick as a test.
			must(t, "kubectl", "wait", "--for=condition=Established", "customresourcedefinition", livemigrations, "hypervisors."+v1alpha1.GroupName)
		}
	}
	requireLabelled(t, nodes)
	requireKept(t)
	lm := &v1alpha1.LiveMigration{}
	if err := cluster.client.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "web-1-to-node-b"}, lm); err != nil {
		t.Error(err)
	}

	must(t, "kubectl", "delete", "nodes", "node-a", "node-b")
	must(t, "kubectl", "delete", "clusterrolebinding", "virtferry-kube-state-metrics", "prometheus-virtferry")
	for _, applied := range []string{"grafana", "kube-state-metrics"} {
		must(t, "kubectl", "delete", "-k", root+"/config/"+applied)
	}
	removeAsDocumented(t)
	requireInventory(t, before)
}

// requireLabelled fails unless agents run on these nodes.
func requireLabelled(t *testing.T, nodes []*corev1.Node) {
	t.Helper()
	agents := &appsv1.DaemonSet{}
	if err := cluster.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "virtferry-agent"}, agents); err != nil {
		t.Fatal(err)
	}
	labelled := &corev1.NodeList{}
	if err := cluster.client.List(t.Context(), labelled, client.MatchingLabels(agents.Spec.Template.Spec.NodeSelector)); err != nil {
		t.Fatal(err)
	}
	if n := len(labelled.Items); n != len(nodes) {
		t.Errorf("agents would run on %d nodes, not on %d", n, len(nodes))
	}
}

// requireKept fails unless an update has kept what was set before it, and only brought
// another image.
func requireKept(t *testing.T) {
	t.Helper()
	agents := &appsv1.DaemonSet{}
	if err := cluster.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "virtferry-agent"}, agents); err != nil {
		t.Fatal(err)
	}
	c := &agents.Spec.Template.Spec.Containers[0]
	if c.Image != "registry.example.com/virtferry:newer" || !slices.Contains(c.Args, "--transport=ssh") {
		t.Errorf("after the update, agents have the image %s and the flags %q", c.Image, c.Args)
	}
}

// requireInstalled fails unless manager and agents are there with the page's image.
func requireInstalled(t *testing.T) {
	t.Helper()
	manager, agents := &appsv1.Deployment{}, &appsv1.DaemonSet{}
	for name, object := range map[string]client.Object{"virtferry-manager": manager, "virtferry-agent": agents} {
		if err := cluster.client.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: name}, object); err != nil {
			t.Fatal(err)
		}
	}
	for _, pod := range []corev1.PodSpec{manager.Spec.Template.Spec, agents.Spec.Template.Spec} {
		if image := pod.Containers[0].Image; image != "registry.example.com/virtferry:dev" {
			t.Errorf("an image is %s", image)
		}
	}
}

// removeAsDocumented types what docs/install.md says of the removal.
func removeAsDocumented(t *testing.T) {
	t.Helper()
	// There is no controller of namespaces, for which kubectl waits.
	ended := make(chan error)
	script := below(t, "Removing")
	go func() {
		out, err := try(t, "bash", "-euo", "pipefail", "-c", script)
		if err != nil {
			err = errors.Join(err, errors.New(out))
		}
		ended <- err
	}()
	await(t, "the namespace is being deleted", func() bool {
		namespace := &corev1.Namespace{}
		err := cluster.client.Get(t.Context(), client.ObjectKey{Name: systemNamespace}, namespace)
		return err == nil && namespace.DeletionTimestamp != nil
	})
	removeNamespace(t, systemNamespace)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestDocumentedKustomization: the one that docs/install.md has its reader write does what it
// says.
func TestDocumentedKustomization(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(root + "/docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	var written strings.Builder
	for block := range strings.SplitSeq(string(page), "```yaml\n") {
		block, _, _ = strings.Cut(block, "```")
		if strings.Contains(block, "\nkind: Kustomization\n") {
			written.WriteString(block)
		}
	}
	config, err := filepath.Abs(root + "/config")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if config, err = filepath.Rel(dir, config); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(strings.ReplaceAll(written.String(), "https://github.com/virtferry/virtferry//config", config), "?ref=main", "")
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	all := parse(t, must(t, os.Getenv("KUSTOMIZE"), "build", dir))
	rendered := parse(t, helm(t, "template", "virtferry", chart, "--namespace", systemNamespace, "--set", "manager.replicas=1", "--set", "agent.transport=ssh",
		"--set", "networkPolicy.enabled=true", "--set", "networkPolicy.apiServerPorts={443,6443,16443}"))
	if diff := cmp.Diff(all.comparable(), rendered.comparable()); diff != "" {
		t.Errorf("it differs from the chart with the values that are named (-kustomization +chart):\n%s", diff)
	}
}

// TestDocumentedNamespace installs into another namespace as docs/install.md says.
func TestDocumentedNamespace(t *testing.T) {
	before := inventory(t)
	dir := t.TempDir()
	must(t, "cp", "-r", root+"/config", root+"/Makefile", root+"/hack", root+"/go.mod", dir)
	must(t, "bash", "-euo", "pipefail", "-c", "cd "+dir+"\n"+below(t, "Another namespace"))
	agents := &appsv1.DaemonSet{}
	if err := cluster.client.Get(t.Context(), client.ObjectKey{Namespace: "moving", Name: "virtferry-agent"}, agents); err != nil {
		t.Fatal(err)
	}
	policy := must(t, "kubectl", "get", "validatingadmissionpolicy", "virtferry-agent-leases", "-o", "jsonpath={.spec.matchConditions[*].expression}")
	if !strings.Contains(policy, "system:serviceaccount:moving:virtferry-agent") {
		t.Errorf("the policy is for %s", policy)
	}
	must(t, "kubectl", "delete", "--wait=false", "-k", dir+"/config/overlays/mine")
	removeNamespace(t, "moving")
	requireInventory(t, before)
}
