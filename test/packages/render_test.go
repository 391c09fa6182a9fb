//go:build packages

package packages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// objects are those of some manifests, by what tells them from each other.
type objects map[string]*unstructured.Unstructured

func parse(t *testing.T, text string) objects {
	t.Helper()
	out := objects{}
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(text), 4096); ; {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if o.GetKind() != "" {
			out[fmt.Sprintf("%s %s", o.GroupVersionKind(), o.GetName())] = o
		}
	}
}

// comparable drops what the chart and the kustomizations do each in their own way: the
// namespace, which Helm creates by a flag, and that the CRDs are kept.
func (all objects) comparable() objects {
	for key, o := range all {
		switch o.GetKind() {
		case "Namespace":
			delete(all, key)
		case "CustomResourceDefinition":
			unstructured.RemoveNestedField(o.Object, "metadata", "annotations", "helm.sh/resource-policy")
		case "ValidatingAdmissionPolicy":
			// kustomize believes that it belongs to a namespace.
			o.SetNamespace("")
		}
	}
	return all
}

// kustomize renders a kustomization of these parts of config/.
func kustomize(t *testing.T, resources, components []string) string {
	t.Helper()
	dir := t.TempDir()
	config, err := filepath.Abs(filepath.Join(root, "config"))
	if err != nil {
		t.Fatal(err)
	}
	if config, err = filepath.Rel(dir, config); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for field, parts := range map[string][]string{"resources": resources, "components": components} {
		fmt.Fprintf(&b, "%s:\n", field)
		for _, part := range parts {
			fmt.Fprintf(&b, "- %s/%s\n", config, part)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return must(t, os.Getenv("KUSTOMIZE"), "build", dir)
}

// TestChartAndKustomizationsAreTheSame: whichever of the two somebody prefers, there are
// the same choices, and each has the same effect.
func TestChartAndKustomizationsAreTheSame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		namespace             string
		values                []string
		resources, components []string
	}{
		"as they are":            {resources: []string{"default"}},
		"another namespace":      {namespace: "virtferry", resources: []string{"overlays/other-namespace"}},
		"by SSH":                 {values: []string{"agent.transport=ssh"}, resources: []string{"default"}, components: []string{"components/transport-ssh"}},
		"by TCP":                 {values: []string{"agent.transport=tcp"}, resources: []string{"default"}, components: []string{"components/transport-tcp"}},
		"by sockets":             {values: []string{"agent.transport=unix"}, resources: []string{"default"}, components: []string{"components/transport-unix"}},
		"one namespace":          {values: []string{"oneNamespace=virtferry-migrations"}, resources: []string{"default"}, components: []string{"components/one-namespace"}},
		"SELinux":                {values: []string{"agent.seLinuxType=spc_t"}, resources: []string{"default"}, components: []string{"components/selinux"}},
		"no AppArmor":            {values: []string{"agent.appArmorProfile=Unconfined"}, resources: []string{"default"}, components: []string{"components/apparmor-unconfined"}},
		"network policy":         {values: []string{"networkPolicy.enabled=true"}, resources: []string{"default"}, components: []string{"components/network-policies"}},
		"Prometheus operator":    {values: []string{"prometheus.enabled=true"}, resources: []string{"default", "prometheus"}},
		"Grafana":                {values: []string{"grafana.dashboards=true"}, resources: []string{"default", "grafana"}},
		"no host's certificates": {values: []string{"agent.hostCertificates=false"}, resources: []string{"default"}, components: []string{"components/without-host-certificates"}},
		"metrics with a certificate": {
			values:    []string{"metrics.certSecret=virtferry-metrics-certificate", "metrics.serverName=virtferry-metrics", "prometheus.enabled=true"},
			resources: []string{"default", "prometheus"}, components: []string{"components/metrics-certificate"},
		},
		"metrics in plain": {values: []string{"metrics.secure=false"}, resources: []string{"default"}, components: []string{"components/metrics-plain"}},
		"metrics in plain, for the Prometheus operator": {
			values:    []string{"metrics.secure=false", "prometheus.enabled=true"},
			resources: []string{"default", "prometheus"}, components: []string{"components/metrics-plain"},
		},
		"all together": {
			values: []string{
				"agent.transport=ssh", "oneNamespace=virtferry-migrations", "networkPolicy.enabled=true", "prometheus.enabled=true", "grafana.dashboards=true",
				"agent.hostCertificates=false", "metrics.certSecret=virtferry-metrics-certificate", "metrics.serverName=virtferry-metrics",
			},
			resources: []string{"default", "prometheus", "grafana"},
			components: []string{
				"components/transport-ssh", "components/one-namespace", "components/network-policies", "components/without-host-certificates",
				"components/metrics-certificate",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.namespace == "" {
				c.namespace = systemNamespace
			}
			args := []string{"template", "virtferry", chart, "--namespace", c.namespace}
			for _, value := range c.values {
				args = append(args, "--set", value)
			}
			rendered := helm(t, args...)
			kustomized := kustomize(t, c.resources, c.components)
			if diff := cmp.Diff(parse(t, kustomized).comparable(), parse(t, rendered).comparable()); diff != "" {
				t.Errorf("the chart differs from the kustomization (-kustomization +chart):\n%s", diff)
			}
			if c.namespace != systemNamespace && strings.Contains(rendered+kustomized, systemNamespace) {
				t.Error("something is left of the namespace", systemNamespace)
			}
		})
	}
}

func TestTheChartPassesHelmsLinter(t *testing.T) {
	t.Parallel()
	helm(t, "lint", "--strict", chart)
}

// TestValuesAreHeeded: what the kustomizations leave to patches, the chart has values for.
func TestValuesAreHeeded(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][]string{
		"image.repository=registry.example.com/virtferry": {`image: "registry.example.com/virtferry:latest"`},
		"image.tag=v1": {`image: "virtferry:v1"`},
		"image.digest=sha256:" + strings.Repeat("0a", 32):        {`image: "virtferry@sha256:` + strings.Repeat("0a", 32) + `"`},
		"image.pullPolicy=Always":                                {"imagePullPolicy: Always"},
		"image.pullSecrets={registry}":                           {"imagePullSecrets:\n      - name: \"registry\"\n"},
		"manager.args={--max-migrations=4}":                      {"- manager\n        - \"--max-migrations=4\"\n"},
		"agent.args={--allowed-paths=/srv/images}":               {"\n        - \"--allowed-paths=/srv/images\"\n"},
		"manager.args={--metrics-bind-address=0}":                {"- \"--metrics-bind-address=0\"\n"},
		"manager.args={--leader-elect=false},manager.replicas=1": {"- \"--leader-elect=false\"\n"},
		"manager.resources.limits.example\\.com/x=1":             {"example.com/x: 1\n"},
		"agent.tolerations[0].key=a,agent.tolerations[0].operator=Exists,agent.tolerations[0].effect=NoExecute,agent.tolerations[0].tolerationSeconds=9": {
			"tolerationSeconds: 9\n",
		},
		"manager.resources.limits.memory=1Gi": {"memory: 1Gi"},
		"manager.priorityClassName=mine":      {"priorityClassName: \"mine\""},
		"manager.nodeSelector.role=system":    {"nodeSelector:\n        role: system\n"},
		"manager.tolerations[0].key=role":     {"tolerations:\n        - key: role\n"},
		"agent.maxUnavailable=1":              {"maxUnavailable: 1\n"},
		"agent.resources.limits.memory=1Ti":   {"memory: 1Ti"},
		"agent.resources.limits.memory=128e6": {"memory: \"128e6\""},
		// What a parent chart's condition for this one is commonly called.
		"enabled=true": {"kind: DaemonSet"},
		"networkPolicy.enabled=true,networkPolicy.apiServerPorts={9}":          {"- port: 9\n"},
		"networkPolicy.enabled=true,agent.serialPorts=20000-20999":             {"- --serial-ports=20000-20999\n", "- port: 20000\n      endPort: 20999\n"},
		"prometheus.enabled=true,prometheus.labels.release=monitor":            {"kind: PrometheusRule", "release: monitor"},
		"prometheus.enabled=true,metrics.certSecret=mine":                      {"secretName: \"mine\"", "insecureSkipVerify: true"},
		`prometheus.enabled=true,prometheus.labels.app\.kubernetes\.io/name=a`: {"app.kubernetes.io/component: agent\n    app.kubernetes.io/name: a\n"},
		`grafana.dashboards=true,grafana.labels.app\.kubernetes\.io/name=a`:    {"app.kubernetes.io/name: a\n    grafana_dashboard: \"1\"\n"},
	} {
		rendered := helm(t, "template", "virtferry", chart, "--set", value)
		requireNoKeyTwice(t, value, rendered)
		for _, text := range want {
			if !strings.Contains(rendered, text) {
				t.Errorf("with %s, this is missing:\n%s", value, text)
			}
		}
	}
	for value, not := range map[string]string{
		"crds.install=false":          "kind: CustomResourceDefinition",
		"manager.priorityClassName=":  "priorityClassName: system-cluster-critical",
		"agent.tolerations=null":      "tolerations:",
		"networkPolicy.enabled=false": "kind: NetworkPolicy",
	} {
		if strings.Contains(helm(t, "template", "virtferry", chart, "--set", value), not) {
			t.Errorf("with %s, this is there nevertheless: %s", value, not)
		}
	}
}

// TestASingleManagerMayBeEvicted: how many managers there are is changed by patches and by
// kubectl scale, too. With a budget that asks for one at least, the node of the only one
// could not be drained.
func TestASingleManagerMayBeEvicted(t *testing.T) {
	t.Parallel()
	var budget policyv1.PodDisruptionBudget
	convert(t, parse(t, kustomize(t, []string{"default"}, nil))["policy/v1, Kind=PodDisruptionBudget virtferry-manager"], &budget)
	if may := budget.Spec.MaxUnavailable; budget.Spec.MinAvailable != nil || may == nil || may.IntValue() != 1 {
		t.Errorf("the budget is %+v, so that drains do not take exactly one", budget.Spec)
	}
}

// TestWrongValuesAreRefused, and the field is named.
func TestWrongValuesAreRefused(t *testing.T) {
	t.Parallel()
	for value, field := range map[string]string{
		"agent.transport=quic":                                                "/agent/transport",
		"agent.maxUnavailable=0%":                                             "/agent/maxUnavailable",
		"agent.nodeSelector=null":                                             "/agent",
		"agent.libvirtURI=qemu:///system":                                     "libvirtURI",
		"manager.replicas=two":                                                "/manager/replicas",
		"manager.args={max-migrations=1}":                                     "/manager/args/0",
		"image.digest=latest":                                                 "/image/digest",
		"image.tag=a b":                                                       "/image/tag",
		"oneNamespace=Not_A_Name":                                             "/oneNamespace",
		"networkPolicy.apiServerPorts={0}":                                    "/networkPolicy/apiServerPorts/0",
		"agent.serialPorts=10000":                                             "/agent/serialPorts",
		"agent.serialPorts=20000-10999":                                       "agent.serialPorts is 20000-10999: give the first and the last port",
		"agent.serialPorts=60000-65536":                                       "agent.serialPorts is 60000-65536",
		"agent.args={--serial-ports=1-2}":                                     "agent.args has --serial-ports: set agent.serialPorts instead",
		"agent.args={--transport=ssh}":                                        "set agent.transport instead",
		"agent.args={--host-root=/x}":                                         "set agent.hostCertificates instead",
		"manager.args={--metrics-secure=false}":                               "set metrics.secure instead",
		"manager.args={--metrics-bind-address=:9}":                            "cannot be changed",
		"agent.args={--lock-dir=/srv}":                                        "cannot be changed",
		"manager.args={--leader-elect=false}":                                 "manager.replicas is 2: all of them would act at once",
		"manager.priorityClassName=a..b":                                      "/manager/priorityClassName",
		"metrics.certSecret=x,metrics.serverName=a..b":                        "/metrics/serverName",
		"image.pullSecrets={A}":                                               "/image/pullSecrets/0",
		"manager.resources.limits.memory=-1":                                  "/manager/resources/limits/memory",
		"manager.resources.limits.cpus=1":                                     "invalid propertyName 'cpus'",
		"agent.tolerations[0].operator=Exists,agent.tolerations[0].value=a":   "/agent/tolerations/0",
		"agent.tolerations[0].key=a,agent.tolerations[0].tolerationSeconds=1": "/agent/tolerations/0",
		"agent.tolerations[0].operator=Equal,agent.tolerations[0].value=a":    "/agent/tolerations/0",
		"manager.args={--metrics-bind-address=0},prometheus.enabled=true":     "there is nothing to scrape",
		"metrics.certSecret=x,metrics.secure=false":                           "metrics.certSecret needs metrics.secure",
		"metrics.serverName=x":                                                "metrics.serverName needs metrics.certSecret",
		"prometheus.labels.a=b c":                                             "/prometheus/labels/a",
		"image.pullSecrets={a,a}":                                             "/image/pullSecrets",
		"manager.resources.limits.memory=x":                                   "/manager/resources/limits/memory",
		"metrics.enabled=true":                                                "metrics",
	} {
		out, err := try(t, os.Getenv("HELM"), "template", "virtferry", chart, "--set", value)
		if err == nil || !strings.Contains(out, field) {
			t.Errorf("%s: the answer is %v, and does not name %s:\n%s", value, err, field, out)
		}
	}
}

// requireNoKeyTwice fails if a map has a key twice: the API server takes the last one, other
// readers refuse it.
func requireNoKeyTwice(t *testing.T, value, rendered string) {
	t.Helper()
	for document := range strings.SplitSeq(rendered, "\n---\n") {
		if err := yaml.UnmarshalStrict([]byte(document), new(map[string]any)); err != nil {
			t.Errorf("with %s: %v", value, err)
		}
	}
}

// TestNullsAreRefusedOrMeanNothing: Helm drops what is set to null, with all that is in it.
// What the templates need is then refused, by its name; of the rest, nothing is rendered.
func TestNullsAreRefusedOrMeanNothing(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	const all = "prometheus.enabled=true,grafana.dashboards=true,networkPolicy.enabled=true,"
	for _, path := range pathsOf("", values) {
		section, _, _ := strings.Cut(path, ".")
		others := slices.DeleteFunc(strings.Split(all, ","), func(set string) bool { return strings.HasPrefix(set, section+".") && !strings.Contains(path, ".") })
		out, err := try(t, os.Getenv("HELM"), "template", "virtferry", chart, "--set", strings.Join(others, ",")+path+"=null")
		name := path[strings.LastIndex(path, ".")+1:]
		switch {
		case err != nil && !strings.Contains(out, "missing property '"+name+"'"):
			t.Errorf("%s is null, and the answer is %v:\n%s", path, err, out)
		case err == nil:
			requireNoNulls(t, path, out)
		}
	}
}

// pathsOf returns the paths of all values, sections included, as Helm's --set takes them.
func pathsOf(prefix string, values map[string]any) []string {
	var out []string
	for key, value := range values {
		path := prefix + strings.ReplaceAll(key, ".", `\.`)
		out = append(out, path)
		if inner, is := value.(map[string]any); is && !strings.HasSuffix(path, "abels") && !strings.HasSuffix(path, "nodeSelector") {
			out = append(out, pathsOf(path+".", inner)...)
		}
	}
	slices.Sort(out)
	return out
}

// requireNoNulls fails if an object has a field without a value: of a rule of a network
// policy, that would mean everything.
func requireNoNulls(t *testing.T, path, rendered string) {
	t.Helper()
	var walk func(where string, value any)
	walk = func(where string, value any) {
		switch value := value.(type) {
		case nil:
			t.Errorf("with %s=null, this has no value: %s", path, where)
		case map[string]any:
			for key, inner := range value {
				walk(where+"."+key, inner)
			}
		case []any:
			for _, inner := range value {
				walk(where+"[]", inner)
			}
		}
	}
	for key, o := range parse(t, rendered) {
		walk(key, o.Object)
	}
}
