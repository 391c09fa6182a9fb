//go:build packages

package packages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// command is one that docs/install.md has its reader type.
type command struct {
	heading, text string
	asRoot        bool
}

// inTests are the headings of docs/install.md below which tests type what is not untyped.
func inTests() []string {
	return []string{
		"Certificates", "Cluster", "With Helm", "With kustomize", "The first migration", "Metrics and alerts", "Dashboards",
		"Objects as metrics", "Removing",
	}
}

// untyped has the commands that no test of this package types, by how they begin, and why.
func untyped() map[string]string {
	return map[string]string{
		"systemctl ":                         "the services are the reader's own; the lab starts libvirtd without systemd",
		"virsh -c qemu+tls:":                 "there is no libvirt here; the lab's hosts reach each other by TLS",
		"make docker-build ":                 "there is no Docker; make image builds the same Dockerfile",
		"docker push ":                       "there is no registry",
		"make image":                         "make test-image does",
		"skopeo copy ":                       "there is no registry",
		"kubectl get hypervisors":            "no agents run here",
		"kubectl wait ":                      "no guest moves here",
		"kubectl apply -k config/prometheus": "there is no Prometheus operator, whose kinds these are",
	}
}

// whyUntyped returns why no test types a command, nothing if one should.
func (c command) whyUntyped() string {
	for beginning, why := range untyped() {
		if strings.HasPrefix(c.text, beginning) {
			return why
		}
	}
	return ""
}

// documented returns the commands of docs/install.md in their order.
func documented(t *testing.T) []command {
	t.Helper()
	page, err := os.ReadFile(root + "/docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []command
	var heading string
	inBlock, goesOn, inDocument := false, false, false
	for line := range strings.Lines(string(page)) {
		switch prompt, text, _ := strings.Cut(line, " "); {
		case strings.HasPrefix(line, "```"):
			inBlock = line == "```console\n"
		case !inBlock && strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(text)
		case inBlock && goesOn:
			all[len(all)-1].text += line
		case inBlock && (prompt == "$" || prompt == "#"):
			all = append(all, command{heading: heading, text: text, asRoot: prompt == "#"})
		}
		inDocument = inBlock && (strings.HasSuffix(line, "<<END\n") || inDocument && line != "END\n")
		goesOn = inDocument || inBlock && strings.HasSuffix(line, "\\\n")
	}
	return all
}

// below returns what a user types below a heading, or what root does, as a script.
func below(t *testing.T, heading string, asRoot bool) string {
	t.Helper()
	var b strings.Builder
	for _, c := range documented(t) {
		if c.heading == heading && c.asRoot == asRoot && c.whyUntyped() == "" {
			b.WriteString(c.text)
		}
	}
	if b.Len() == 0 {
		t.Fatalf("docs/install.md has no commands below %q", heading)
	}
	return b.String()
}

// TestEachCommandIsTyped: no command of docs/install.md is left out but for a reason.
func TestEachCommandIsTyped(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, heading := range inTests() {
		tested[heading] = true
	}
	beginnings := untyped()
	for _, c := range documented(t) {
		if c.whyUntyped() == "" && !tested[c.heading] {
			t.Errorf("no test types this, below %q: %s", c.heading, c.text)
		}
		for beginning := range beginnings {
			if strings.HasPrefix(c.text, beginning) {
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
	for _, heading := range []string{"Cluster", "With Helm", "The first migration", "Metrics and alerts", "Dashboards", "Objects as metrics"} {
		must(t, "bash", "-euo", "pipefail", "-c", "cd "+root+"\n"+below(t, heading, false))
		if heading == "With Helm" {
			requireInstalled(t)
			// A reader is not as quick as a test.
			must(t, "kubectl", "wait", "--for=condition=Established", "customresourcedefinition", livemigrations, "hypervisors."+v1alpha1.GroupName)
		}
	}
	requireLabelled(t, nodes)
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
	script := below(t, "Removing", false)
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
