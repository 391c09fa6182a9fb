//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
)

// largest returns the largest value that a schema takes, of letters of one byte; n tells one
// entry of a list from the next.
func largest(t *testing.T, schema *apiextensionsv1.JSONSchemaProps, path string, n int) any {
	t.Helper()
	switch {
	case len(schema.Enum) > 0:
		var longest string
		for _, raw := range schema.Enum {
			var word string
			if err := json.Unmarshal(raw.Raw, &word); err != nil {
				t.Fatal(err)
			}
			if len(word) > len(longest) {
				longest = word
			}
		}
		return longest
	case schema.Format == "date-time":
		return "2027-01-01T00:00:00Z"
	case schema.Type == "string":
		if schema.MaxLength == nil {
			t.Fatalf("%s has no greatest length", path)
		}
		return fmt.Sprintf("%0*d", int(*schema.MaxLength), n)
	case schema.Type == "integer":
		return int64(*schema.Maximum)
	case schema.Type == "array":
		if schema.MaxItems == nil {
			t.Fatalf("%s has no greatest length", path)
		}
		var items []any
		for n := range int(*schema.MaxItems) {
			items = append(items, largest(t, schema.Items.Schema, path+"[]", n))
		}
		return items
	case schema.Type == "object" && len(schema.Properties) > 0:
		fields := map[string]any{}
		for name, field := range schema.Properties {
			fields[name] = largest(t, &field, path+"."+name, n)
		}
		return fields
	}
	t.Fatalf("%s is of an unknown type", path)
	return nil
}

// largestHost returns the largest description of a host.
func largestHost(t *testing.T) *v1alpha1.HypervisorHost {
	t.Helper()
	status := schemaOf(t, "hypervisors").Properties["status"]
	schema := status.Properties["host"]
	text, err := json.Marshal(largest(t, &schema, "host", 0))
	if err != nil {
		t.Fatal(err)
	}
	host := &v1alpha1.HypervisorHost{}
	if err := json.Unmarshal(text, host); err != nil {
		t.Fatal(err)
	}
	t.Logf("the largest host takes %d bytes", len(text))
	return host
}

// TestTheLargestHypervisorIsStored: everything at once that the schema takes of a host, and
// as many guests as an agent lists, written by the agent with its own rights.
func TestTheLargestHypervisorIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	report := agent.HypervisorReport{
		Connected: true,
		Status: v1alpha1.HypervisorStatus{
			HostUUID: a.hostUUID, LibvirtVersion: "9.0.0", HypervisorVersion: "7.2.0", MigrationAddress: "192.0.2.1", MaxWorkers: 20,
			Host: largestHost(t),
		},
	}
	for n := range 1480 { // With names of the greatest length, that is 512 KiB.
		report.Status.Domains = append(report.Status.Domains, v1alpha1.HypervisorDomain{
			UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", n), Name: fmt.Sprintf("%0256d", n), State: "Running", Reason: "Unpaused",
		})
	}
	report.Status.DomainCount = int32(len(report.Status.Domains))
	if text, err := json.Marshal(report.Status.Domains); err != nil || len(text) < 500<<10 {
		t.Fatalf("the guests take %d bytes, %v", len(text), err)
	}
	if err := a.publisher.RecordHypervisor(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	hv := w.hypervisor("a")
	status := hv.Status
	status.Conditions = nil
	if diff := cmp.Diff(report.Status, status); diff != "" {
		t.Errorf("it is stored as something else (-want +got):\n%.2000s", diff)
	}
	text, err := json.Marshal(hv)
	t.Logf("the largest Hypervisor takes %d bytes, %v", len(text), err)
	// Who owns which of its fields is kept once, not for each entry.
	owned := 0
	for _, entry := range hv.ManagedFields {
		owned += len(entry.FieldsV1.GetRawBytes())
	}
	if owned > 4096 {
		t.Errorf("%d bytes tell who owns it", owned)
	}
}

// TestWhatAHostHasIsReplaced as a whole: what an agent leaves out is gone, and that there is
// none of something is stored.
func TestWhatAHostHasIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.newAgent("a")
	end := metav1.NewTime(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	first := &v1alpha1.HypervisorHost{
		KernelVersion: "6.1", Networks: &v1alpha1.HostNetworks{Count: 1, Items: []v1alpha1.HostNetwork{{Name: "default", State: "Active"}}},
		TLS: &v1alpha1.HostTLS{Control: &v1alpha1.HostCredentials{
			Authority: v1alpha1.HostCertificate{State: v1alpha1.CertificateReady, NotAfter: &end},
			Server:    v1alpha1.HostCertificate{State: v1alpha1.CertificateReady, NotAfter: &end}, Client: v1alpha1.HostCertificate{State: v1alpha1.CertificateMissing},
		}},
	}
	second := &v1alpha1.HypervisorHost{
		Networks: &v1alpha1.HostNetworks{}, StoragePools: &v1alpha1.HostStoragePools{},
		NUMA: &v1alpha1.HostNUMA{Count: 1, Cells: []v1alpha1.HostNUMACell{{HugePages: []v1alpha1.HostHugePages{{SizeBytes: 2 << 20}}}}},
	}
	for _, host := range []*v1alpha1.HypervisorHost{first, second, nil} {
		report := agent.HypervisorReport{Connected: true, Status: v1alpha1.HypervisorStatus{HostUUID: a.hostUUID, Host: host}}
		if err := a.publisher.RecordHypervisor(t.Context(), report); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(host, w.hypervisor("a").Status.Host); diff != "" {
			t.Errorf("it is stored as something else (-want +got):\n%s", diff)
		}
		last, err := a.publisher.LastRecorded(t.Context())
		if diff := cmp.Diff(host, last.Host); diff != "" || err != nil {
			t.Errorf("the next agent reads something else, %v (-want +got):\n%s", err, diff)
		}
	}
	report := agent.HypervisorReport{Status: v1alpha1.HypervisorStatus{Host: &v1alpha1.HypervisorHost{KernelVersion: strings.Repeat("x", 129)}}}
	if err := a.publisher.RecordHypervisor(t.Context(), report); !apierrors.IsInvalid(err) {
		t.Errorf("a text that is too long: %v", err)
	}
}
