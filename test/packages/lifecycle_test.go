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
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

const livemigrations = "livemigrations." + v1alpha1.GroupName

// TestLifeOfTheChart installs, upgrades, removes and reinstalls it while a guest moves,
// and then removes all of it.
func TestLifeOfTheChart(t *testing.T) {
	before := inventory(t)
	helm(t, "install", "virtferry", olderChart(t), "--namespace", systemNamespace, "--create-namespace")
	if slices.Contains(shortNames(t), "lm") {
		t.Fatal("the older chart has the newer CRD")
	}
	f := newFleet(t)
	stop := f.start()
	lm := f.migrate()

	helm(t, "upgrade", "virtferry", chart, "--namespace", systemNamespace)
	if !slices.Contains(shortNames(t), "lm") {
		t.Error("the upgrade has left the CRD as it was")
	}
	f.requireUndisturbed(lm)

	stop()
	helm(t, "uninstall", "virtferry", "--namespace", systemNamespace)
	f.requireUndisturbed(lm)
	want := []string{"customresourcedefinitions /hypervisors." + v1alpha1.GroupName, "customresourcedefinitions /" + livemigrations}
	if diff := cmp.Diff(want, installed(t)); diff != "" {
		t.Errorf("what is left of the chart is not the CRDs alone (-want +got):\n%s", diff)
	}

	// The CRDs that are left are of the release that was removed.
	out, err := try(t, os.Getenv("HELM"), "install", "other", chart, "--namespace", systemNamespace)
	if err == nil || !strings.Contains(out, "invalid ownership metadata") {
		t.Errorf("installing under another name is answered with %v:\n%s", err, out)
	}
	helm(t, "install", "other", chart, "--namespace", systemNamespace, "--take-ownership", "--dry-run=server")

	helm(t, "install", "virtferry", chart, "--namespace", systemNamespace)
	stop = f.start()
	f.requireUndisturbed(lm)
	f.Host("a").SetDirtyRate(guestUUID, 0)
	await(t, "the guest arrives", func() bool { return read(t, lm).Status.Phase == v1alpha1.PhaseSucceeded })

	// As docs/install.md says.
	must(t, "kubectl", "delete", livemigrations, "--all", "--all-namespaces")
	stop()
	helm(t, "uninstall", "virtferry", "--namespace", systemNamespace)
	must(t, "kubectl", "delete", "customresourcedefinition", livemigrations, "hypervisors."+v1alpha1.GroupName)
	must(t, "kubectl", "delete", "namespace", systemNamespace, "--wait=false")
	removeNamespace(t, systemNamespace)
	requireInventory(t, before)
}

// TestLifeOfTheKustomization: after `make deploy`, as docs/install.md has it, `make
// undeploy` removes everything that was installed, but no migration that is under way,
// unless it is told to.
func TestLifeOfTheKustomization(t *testing.T) {
	before := inventory(t)
	must(t, "bash", "-euo", "pipefail", "-c", "cd "+root+"\n"+below(t, "With kustomize"))
	requireInstalled(t)
	f := newFleet(t)
	f.start()
	lm := f.migrate()

	out, err := try(t, "make", "-C", root, "undeploy")
	if err == nil || !strings.Contains(out, "default/web-to-b Migrating") {
		t.Errorf("a migration is under way, but the answer is %v:\n%s", err, out)
	}
	f.requireUndisturbed(lm)

	// There is no controller of namespaces, for which kubectl waits.
	ended := make(chan string)
	go func() {
		out, err := try(t, "make", "-C", root, "undeploy", "CANCEL=yes")
		ended <- errors.Join(err, errors.New(out)).Error()
	}()
	await(t, "the namespace is being deleted", func() bool {
		namespace := &corev1.Namespace{}
		err := cluster.client.Get(t.Context(), client.ObjectKey{Name: systemNamespace}, namespace)
		return err == nil && namespace.DeletionTimestamp != nil
	})
	if is := f.RunningOn(guestUUID); !slices.Equal(is, []string{"a"}) {
		t.Errorf("the migration was cancelled, but the guest runs on %q", is)
	}
	await(t, "all is deleted", func() bool { return len(installed(t)) == 0 })
	removeNamespace(t, systemNamespace)
	if out := <-ended; strings.Contains(out, "rror") {
		t.Error(out)
	}
	requireInventory(t, before)
}

// TestOverlaysAreAccepted: the API server takes each kustomization as it is, over what is
// there.
func TestOverlaysAreAccepted(t *testing.T) {
	before := inventory(t)
	apply := func(t *testing.T, resource string, components ...string) (path string) {
		t.Helper()
		path = filepath.Join(t.TempDir(), "all.yaml")
		if err := os.WriteFile(path, []byte(kustomize(t, []string{resource}, components)), 0o600); err != nil {
			t.Fatal(err)
		}
		must(t, "kubectl", "apply", "--server-side", "-f", path)
		return path
	}
	first := apply(t, "default")
	awaitServed(t)
	for _, component := range []string{"transport-ssh", "transport-unix", "transport-tcp", "selinux", "apparmor-unconfined", "network-policies", "without-host-certificates", "metrics-certificate", "metrics-plain"} {
		t.Run(component, func(t *testing.T) { apply(t, "default", "components/"+component) })
	}
	other := apply(t, "overlays/other-namespace")
	for _, path := range []string{first, other} {
		must(t, "kubectl", "delete", "--ignore-not-found", "--wait=false", "-f", path)
	}
	for _, namespace := range []string{systemNamespace, "virtferry"} {
		removeNamespace(t, namespace)
	}
	requireInventory(t, before)
}

// TestOneNamespace: with that component, LiveMigrations are created in one namespace and
// in no other.
func TestOneNamespace(t *testing.T) {
	before := inventory(t)
	const namespace = "virtferry-migrations"
	path := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(path, []byte(kustomize(t, []string{"default"}, []string{"components/one-namespace"})), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "kubectl", "apply", "--server-side", "-f", path)
	awaitServed(t)
	must(t, "kubectl", "create", "namespace", namespace)
	create := func(namespace string) error {
		return cluster.client.Create(t.Context(), &v1alpha1.LiveMigration{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: namespace},
			Spec:       v1alpha1.LiveMigrationSpec{Domain: "web", TargetNode: "b"},
		}, client.DryRunAll)
	}
	// A new policy takes a moment.
	var refused error
	await(t, "a LiveMigration elsewhere is refused", func() bool {
		refused = create("default")
		return apierrors.IsForbidden(refused)
	})
	if want := "LiveMigrations belong into the namespace " + namespace + ", not into default"; !strings.Contains(refused.Error(), want) {
		t.Errorf("the answer is %v", refused)
	}
	if err := create(namespace); err != nil {
		t.Error(err)
	}
	must(t, "kubectl", "delete", "namespace", namespace, "--wait=false")
	removeNamespace(t, namespace)
	must(t, "kubectl", "delete", "-f", path, "--wait=false")
	removeNamespace(t, systemNamespace)
	requireInventory(t, before)
}

// olderChart returns the chart as it may have been once, with another version of a CRD.
func olderChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "virtferry")
	if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "templates", "crd", v1alpha1.GroupName+"_livemigrations.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const line = "    - lm\n"
	if strings.Count(string(text), line) != 1 {
		t.Fatalf("%s does not have the short name once", path)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), line, "    - older\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shortNames returns those of LiveMigrations.
func shortNames(t *testing.T) []string {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := cluster.client.Get(t.Context(), client.ObjectKey{Name: livemigrations}, crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Names.ShortNames
}

// installed returns what is there of all that the chart and config/default consist of,
// but for the namespace and what goes with it.
func installed(t *testing.T) []string {
	t.Helper()
	var left []string
	for _, o := range inventory(t) {
		kind, name, _ := strings.Cut(o, " ")
		ours := strings.HasPrefix(name, "/virtferry") || strings.HasSuffix(name, "."+v1alpha1.GroupName) || strings.HasPrefix(name, systemNamespace+"/virtferry")
		if ours && !slices.Contains([]string{"namespaces", "leases", "configmaps", "apiservices"}, kind) {
			left = append(left, o)
		}
	}
	return left
}

// TestPodSecurity: the manager's pods pass where pods are restricted; the agents', which
// mount libvirt's directory, only where everything is allowed, as in the namespace that
// config/default makes.
func TestPodSecurity(t *testing.T) {
	all := parse(t, kustomize(t, []string{"default"}, nil))
	var manager appsv1.Deployment
	var agent appsv1.DaemonSet
	convert(t, all["apps/v1, Kind=Deployment virtferry-manager"], &manager)
	convert(t, all["apps/v1, Kind=DaemonSet virtferry-agent"], &agent)
	for name, c := range map[string]struct {
		level string
		pod   corev1.PodSpec
		taken bool
	}{
		"the manager, restricted": {"restricted", manager.Spec.Template.Spec, true},
		"an agent, baseline":      {"baseline", agent.Spec.Template.Spec, false},
		"an agent, privileged":    {"privileged", agent.Spec.Template.Spec, true},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
				GenerateName: "security-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": c.level},
			}}
			if err := cluster.client.Create(t.Context(), namespace); err != nil {
				t.Fatal(err)
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod", Namespace: namespace.Name}, Spec: c.pod}
			err := cluster.client.Create(t.Context(), pod, client.DryRunAll)
			if taken := err == nil; taken != c.taken {
				t.Errorf("the answer is %v", err)
			}
		})
	}
	if level := all["/v1, Kind=Namespace "+systemNamespace].GetLabels()["pod-security.kubernetes.io/enforce"]; level != "privileged" {
		t.Errorf("config/default makes a namespace for agents in which pods are %q", level)
	}
}

func convert(t *testing.T, from *unstructured.Unstructured, to any) {
	t.Helper()
	if from == nil {
		t.Fatalf("there is no %T", to)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(from.Object, to); err != nil {
		t.Fatal(err)
	}
}
