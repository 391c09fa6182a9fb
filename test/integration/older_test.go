//go:build integration

package integration

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/controllers/node"
	"github.com/virtferry/virtferry/internal/applyconv"
	"github.com/virtferry/virtferry/pkg/agent"
)

// regrouped has the API server find the kinds of Virtferry's group in another one, where they
// may be older.
type regrouped struct {
	group string
	next  http.RoundTripper
}

func (r regrouped) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Path = strings.ReplaceAll(request.URL.Path, v1alpha1.GroupVersion.Group, r.group)
	if request.Body != nil {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.ReplaceAll(body, []byte(v1alpha1.GroupVersion.Group), []byte(r.group))
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	answer, err := r.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	body = bytes.ReplaceAll(body, []byte(r.group), []byte(v1alpha1.GroupVersion.Group))
	answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return answer, err
}

// olderKind installs the CRD of the first release in a group of its own.
func olderKind(t *testing.T, group, file string) *releasedKind {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(released, "*", file))
	if err != nil || len(files) == 0 {
		t.Fatal("no release's CRDs are recorded: ", err)
	}
	r := &releasedKind{t: t}
	r.apply(files[0], group, "older")
	t.Cleanup(func() {
		gone := &unstructured.Unstructured{Object: map[string]any{"apiVersion": r.crd.APIVersion, "kind": r.crd.Kind, "metadata": map[string]any{"name": r.crd.Name}}}
		if err := cluster.client.Delete(context.Background(), gone); err != nil {
			t.Error(err)
		}
	})
	return r
}

// olderClient is a client of what is in that group.
func olderClient(t *testing.T, group string) client.Client {
	t.Helper()
	config := rest.CopyConfig(cluster.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return regrouped{group, next} })
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.GroupVersion.WithKind("Hypervisor"), meta.RESTScopeRoot)
	mapper.Add(v1alpha1.GroupVersion.WithKind("LiveMigration"), meta.RESTScopeNamespace)
	c, err := client.New(config, client.Options{Scheme: cluster.scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAnAgentIsNewerThanTheCRDs: it publishes what they know, and everything when they have
// been replaced.
func TestAnAgentIsNewerThanTheCRDs(t *testing.T) {
	t.Parallel()
	const group, file = "older-hypervisor.virtferry.test", "migration.virtferry.dev_hypervisors.yaml"
	kind := olderKind(t, group, file)
	c := olderClient(t, group)
	recorder := &node.HypervisorRecorder{Client: c, Reader: c, Node: "a", Clock: clock.RealClock{}}
	report := agent.HypervisorReport{Connected: true, Status: v1alpha1.HypervisorStatus{
		HostUUID: "a", DomainCount: 1, Host: &v1alpha1.HypervisorHost{KernelVersion: "6.1"},
	}}
	for _, older := range []bool{true, false} {
		if !older {
			kind.apply(config("crd/bases/"+file), group, "now")
		}
		for range 2 { // The second says what became of the first.
			if err := recorder.RecordHypervisor(t.Context(), report); err != nil {
				t.Fatal(err)
			}
		}
		hv := &v1alpha1.Hypervisor{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: "a"}, hv); err != nil {
			t.Fatal(err)
		}
		condition := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionLibvirtConnected)
		if hv.Status.DomainCount != 1 || (hv.Status.Host == nil) != older || strings.Contains(condition.Message, "CRDs") != older {
			t.Errorf("while the CRDs are older: %v, it is stored as %+v", older, hv.Status)
		}
	}
}

// TestASessionIsNewerThanTheCRDs: what is said of a migration is written as a whole or not at
// all, for an act may depend on its record, and the error says what helps.
func TestASessionIsNewerThanTheCRDs(t *testing.T) {
	t.Parallel()
	const group, file = "older-migration.virtferry.test", "migration.virtferry.dev_livemigrations.yaml"
	kind := olderKind(t, group, file)
	c := olderClient(t, group)
	object := kind.object("", nil)
	object.SetAPIVersion(v1alpha1.GroupVersion.String())
	if err := c.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	lm := &v1alpha1.LiveMigration{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, lm); err != nil {
		t.Fatal(err)
	}
	recorder := node.NewRecorder(c, c, metav1.Now().Time)
	report := agent.SourceReport{Section: &v1alpha1.SourceStatus{AttemptID: "00000000-0000-4000-8000-000000000000", KnownFaults: []string{"It crashes"}}}
	err := recorder.RecordSource(t.Context(), lm, report, false)
	if fields := applyconv.Undeclared(err); len(fields) == 0 || !strings.Contains(err.Error(), applyconv.ErrOlderCRDs.Error()) {
		t.Errorf("the API server answers %v", err)
	}
}
