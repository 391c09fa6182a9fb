//go:build packages

package packages

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestObjectsAsMetrics: kube-state-metrics makes each of the metrics that its
// configuration names, with the right to read what the ClusterRole lets it, of objects
// that were recorded while guests moved.
func TestObjectsAsMetrics(t *testing.T) {
	before := inventory(t)
	const config = "config/kube-state-metrics"
	must(t, "kubectl", "apply", "--server-side", "-k", root+"/config/crd")
	must(t, "kubectl", "create", "namespace", systemNamespace)
	must(t, "kubectl", "apply", "--server-side", "-k", filepath.Join(root, config))
	must(t, "kubectl", "create", "clusterrolebinding", "ksm", "--clusterrole=virtferry-kube-state-metrics", "--user=ksm")
	recorded := createObserved(t)
	address := startKubeStateMetrics(t, filepath.Join(root, config, "config.yaml"))
	var families map[string]*dto.MetricFamily
	await(t, "all objects are there as metrics", func() bool {
		families = scrape(t, address)
		return len(families["virtferry_livemigration_info"].GetMetric()) == len(recorded) && len(families["virtferry_hypervisor_object_info"].GetMetric()) == 2
	})
	for _, name := range metricNames(t, filepath.Join(root, config, "config.yaml")) {
		if len(families[name].GetMetric()) == 0 {
			t.Errorf("there is no %s", name)
		}
	}
	requireNoneTwice(t, families)
	exporter{migration: "livemigration", node: "hypervisor"}.requireMetrics(t, families, recorded)

	must(t, "kubectl", "delete", "clusterrolebinding", "ksm")
	must(t, "kubectl", "delete", "-k", filepath.Join(root, config))
	must(t, "kubectl", "delete", "-k", root+"/config/crd")
	must(t, "kubectl", "delete", "namespace", systemNamespace, "--wait=false")
	removeNamespace(t, systemNamespace)
	requireInventory(t, before)
}

// TestObjectsAsMetricsOfResourceStateMetrics is the same by that program, where somebody
// has its source: nobody serves it as a Go module.
func TestObjectsAsMetricsOfResourceStateMetrics(t *testing.T) {
	source := os.Getenv("RESOURCE_STATE_METRICS")
	if source == "" {
		t.Skip("RESOURCE_STATE_METRICS is not set: name a directory with the source of resource-state-metrics")
	}
	before := inventory(t)
	const config = root + "/config/resource-state-metrics"
	program := filepath.Join(t.TempDir(), "resource-state-metrics")
	must(t, "go", "-C", source, "build", "-o", program, ".")
	manifests := filepath.Join(source, "manifests")
	for _, file := range []string{"custom-resource-definition.yaml", "cluster-role.yaml", "cluster-role-aggregated.yaml"} {
		must(t, "kubectl", "apply", "--server-side", "-f", filepath.Join(manifests, file))
	}
	must(t, "kubectl", "apply", "--server-side", "-k", root+"/config/crd")
	must(t, "kubectl", "create", "namespace", systemNamespace)
	must(t, "kubectl", "wait", "--for=condition=Established", "customresourcedefinition", "--all")
	must(t, "kubectl", "apply", "--server-side", "-k", config)
	// The controller that aggregates roles is not part of this control plane.
	for _, role := range []string{"resource-state-metrics", "virtferry-resource-state-metrics"} {
		must(t, "kubectl", "create", "clusterrolebinding", role, "--clusterrole="+role, "--user=rsm")
	}
	recorded := createObserved(t)

	port, telemetry := freePort(t), freePort(t)
	start(t, program, "--kubeconfig="+kubeconfigOfUser(t, "rsm"), "--main-host=127.0.0.1", "--main-port="+port, "--self-host=127.0.0.1", "--self-port="+telemetry)
	const prefix = "kube_customresource_"
	var families map[string]*dto.MetricFamily
	await(t, "all objects are there as metrics", func() bool {
		families = scrape(t, "http://127.0.0.1:"+port+"/metrics")
		return len(families[prefix+"virtferry_livemigration_info"].GetMetric()) == len(recorded) &&
			len(families[prefix+"virtferry_hypervisor_object_info"].GetMetric()) == 2
	})
	// Both configurations are of one list.
	for _, name := range metricNames(t, root+"/config/kube-state-metrics/config.yaml") {
		if len(families[prefix+name].GetMetric()) == 0 {
			t.Errorf("there is no %s", name)
		}
	}
	requireNoneTwice(t, families)
	exporter{prefix: prefix, migration: "name", node: "name"}.requireMetrics(t, families, recorded)

	must(t, "kubectl", "delete", "clusterrolebinding", "resource-state-metrics", "virtferry-resource-state-metrics")
	must(t, "kubectl", "delete", "-k", config)
	must(t, "kubectl", "delete", "-k", root+"/config/crd")
	for _, file := range []string{"custom-resource-definition.yaml", "cluster-role.yaml", "cluster-role-aggregated.yaml"} {
		must(t, "kubectl", "delete", "-f", filepath.Join(manifests, file))
	}
	must(t, "kubectl", "delete", "namespace", systemNamespace, "--wait=false")
	removeNamespace(t, systemNamespace)
	requireInventory(t, before)
}

// createObserved creates what metrics are made of: the objects that were recorded, which it
// returns, and two Hypervisors.
func createObserved(t *testing.T) []v1alpha1.LiveMigration {
	t.Helper()
	recorded := createRecorded(t)
	hypervisor := &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}
	if err := cluster.client.Create(t.Context(), hypervisor); err != nil {
		t.Fatal(err)
	}
	hypervisor.Status = v1alpha1.HypervisorStatus{LibvirtVersion: "9.0.0", HypervisorVersion: "7.2.22", MaxWorkers: 20, DomainCount: 12, Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAvailable, LastTransitionTime: metav1.Now(),
	}}}
	if err := cluster.client.Status().Update(t.Context(), hypervisor); err != nil {
		t.Fatal(err)
	}
	// A status leaves out what is zero.
	empty := &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: "node-empty"}}
	if err := cluster.client.Create(t.Context(), empty); err != nil {
		t.Fatal(err)
	}
	empty.Status.LibvirtVersion = "9.0.0"
	if err := cluster.client.Status().Update(t.Context(), empty); err != nil {
		t.Fatal(err)
	}
	return recorded
}

// exporter makes metrics of objects.
type exporter struct {
	// prefix is before our names of metrics; migration and node are the labels with an
	// object's name.
	prefix, migration, node string
}

// requireMetrics fails unless the metrics say what the objects do that createObserved made.
func (e exporter) requireMetrics(t *testing.T, families map[string]*dto.MetricFamily, recorded []v1alpha1.LiveMigration) {
	t.Helper()
	for node, want := range map[string]float64{"node-a": 12, "node-empty": 0} {
		if is, found := find(families[e.prefix+"virtferry_hypervisor_object_domains"], []string{e.node + "=" + node}); !found || is != want {
			t.Errorf("%s has %v guests, not %v (found: %t)", node, is, want, found)
		}
	}
	for i := range recorded {
		e.requireMigration(t, families, &recorded[i])
	}
}

// requireMigration fails unless the metrics of a migration say what its status does.
func (e exporter) requireMigration(t *testing.T, families map[string]*dto.MetricFamily, lm *v1alpha1.LiveMigration) {
	t.Helper()
	want := map[string]float64{
		`virtferry_livemigration_phase phase=` + string(lm.Status.Phase):                           1,
		`virtferry_livemigration_info guest=` + lm.Status.DomainName + ` domain=` + lm.Spec.Domain: 1,
	}
	for _, c := range lm.Status.Conditions {
		want[fmt.Sprintf("virtferry_livemigration_condition type=%s status=%s reason=%s", c.Type, c.Status, c.Reason)] = 1
	}
	if p := lm.Status.Progress; p != nil {
		want["virtferry_livemigration_progress_percent"] = float64(p.Percent)
		if p.Memory != nil {
			want["virtferry_livemigration_progress_memory_remaining_bytes"] = float64(p.Memory.RemainingBytes)
		}
	}
	if d := lm.Status.DowntimeMilliseconds; d != nil {
		want["virtferry_livemigration_downtime_milliseconds"] = float64(*d)
	}
	if c := lm.Status.CompletionTime; c != nil {
		want["virtferry_livemigration_completed_timestamp_seconds"] = float64(c.Unix())
	}
	for key, value := range want {
		name, rest, _ := strings.Cut(key, " ")
		is, found := find(families[e.prefix+name], append(strings.Fields(rest), e.migration+"="+lm.Name))
		if (lm.Status.Phase != "" || name == "virtferry_livemigration_info") && (!found || is != value) {
			t.Errorf("%s: %s is %v, not %v (found: %t)", lm.Name, key, is, value, found)
		}
	}
}

// requireNoneTwice fails if two series have the same labels: Prometheus keeps either of them,
// and complains of the scrape.
func requireNoneTwice(t *testing.T, families map[string]*dto.MetricFamily) {
	t.Helper()
	seen := map[string]float64{}
	for name, family := range families {
		if !strings.Contains(name, "virtferry_") {
			continue
		}
		for _, m := range family.GetMetric() {
			key := fmt.Sprint(name, m.GetLabel())
			value := m.GetGauge().GetValue() + m.GetUntyped().GetValue()
			if before, twice := seen[key]; twice {
				t.Errorf("%s is there twice, as %v and %v", key, before, value)
			}
			seen[key] = value
		}
	}
}

// find returns the value of the series that has all of these labels; one that is empty is
// as good as none.
func find(family *dto.MetricFamily, labels []string) (float64, bool) {
	for _, m := range family.GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		all := true
		for _, l := range labels {
			name, value, _ := strings.Cut(l, "=")
			all = all && has[name] == value
		}
		if all {
			return m.GetGauge().GetValue() + m.GetUntyped().GetValue(), true
		}
	}
	return 0, false
}

// createRecorded creates the objects that were recorded of each phase.
func createRecorded(t *testing.T) []v1alpha1.LiveMigration {
	t.Helper()
	paths, err := filepath.Glob(root + "/test/gitops/testdata/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal("there are no recorded objects", err)
	}
	var out []v1alpha1.LiveMigration
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var lm v1alpha1.LiveMigration
		if err := yaml.Unmarshal(text, &lm); err != nil {
			t.Fatal(err)
		}
		status := lm.Status
		if status.Progress != nil {
			status.Progress.ThrottlePercent = 30 // None of them was slowed down.
		}
		lm.ObjectMeta = metav1.ObjectMeta{Name: strings.ToLower(strings.TrimSuffix(filepath.Base(path), ".yaml")), Namespace: "default"}
		if err := cluster.client.Create(t.Context(), &lm); err != nil {
			t.Fatal(err)
		}
		if lm.Status = status; status.Phase != "" {
			if err := cluster.client.Status().Update(t.Context(), &lm, client.FieldOwner("test")); err != nil {
				t.Fatal(path, err)
			}
		}
		out = append(out, lm)
	}
	return out
}

// startKubeStateMetrics runs it with a configuration, and returns where it serves.
func startKubeStateMetrics(t *testing.T, config string) string {
	t.Helper()
	port, telemetry := freePort(t), freePort(t)
	start(t, os.Getenv("KUBE_STATE_METRICS"), "--kubeconfig="+kubeconfigOfUser(t, "ksm"), "--host=127.0.0.1", "--port="+port,
		"--telemetry-host=127.0.0.1", "--telemetry-port="+telemetry, "--custom-resource-state-only", "--custom-resource-state-config-file="+config)
	return "http://127.0.0.1:" + port + "/metrics"
}

// kubeconfigOfUser writes a kubeconfig of a user, and returns its path.
func kubeconfigOfUser(t *testing.T, user string) string {
	t.Helper()
	kubeconfig, err := clientcmd.LoadFromFile(cluster.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig.AuthInfos[kubeconfig.Contexts[kubeconfig.CurrentContext].AuthInfo].Impersonate = user
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*kubeconfig, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// start runs a program until the test ends.
func start(t *testing.T, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// scrape returns the metrics that are served, none while nothing is.
func scrape(t *testing.T, address string) map[string]*dto.MetricFamily {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	// As Prometheus does, it takes kinds of OpenMetrics for gauges.
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(" stateset\n"), []byte(" gauge\n")), []byte(" info\n"), []byte(" gauge\n"))
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return families
}

// metricNames returns the names of the metrics that a configuration declares.
func metricNames(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Spec struct {
			Resources []struct {
				Prefix  string `json:"metricNamePrefix"`
				Metrics []struct {
					Name string `json:"name"`
				} `json:"metrics"`
			} `json:"resources"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range config.Spec.Resources {
		for _, m := range r.Metrics {
			out = append(out, r.Prefix+"_"+m.Name)
		}
	}
	return out
}
