package node

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	"github.com/virtferry/virtferry/pkg/agent"
)

// olderServer is an API server whose schema may lack fields of a Hypervisor. As a real one
// does, it refuses those of the status, and leaves out those of status.host, which is atomic.
type olderServer struct {
	client.SubResourceWriter
	lacks, lacksOfHost []string
	stored             map[string]any
	writes, refused    int
	// keeps is what others have written to the status.
	keeps map[string]any
}

func (s *olderServer) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return nil
}

// olderClient is a client of it.
type olderClient struct {
	client.Client
	to *olderServer
}

func (c olderClient) Status() client.SubResourceWriter { return c.to }

func (s *olderServer) Apply(_ context.Context, config runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption) error {
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	object := map[string]any{}
	if err := json.Unmarshal(text, &object); err != nil {
		return err
	}
	status, _ := object["status"].(map[string]any)
	for _, field := range s.lacks {
		if status[field] != nil {
			s.refused++
			return &apierrors.StatusError{ErrStatus: metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
				Message: "failed to create typed patch object (/a; migration.virtferry.dev/v1alpha1, Kind=Hypervisor): .status." + field + ": field not declared in schema",
			}}
		}
	}
	for _, field := range s.lacksOfHost {
		if host, ok := status["host"].(map[string]any); ok {
			delete(host, field)
		}
	}
	maps.Copy(status, s.keeps)
	s.writes++
	s.stored = object
	answer, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, config)
}

func (s *olderServer) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	text, err := json.Marshal(s.stored)
	if err != nil {
		return err
	}
	return o.(*unstructured.Unstructured).UnmarshalJSON(text)
}

// TestOlderCRDs: an agent that is updated before the CRDs publishes what they know, says so,
// and writes no more often for that.
func TestOlderCRDs(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*olderServer{
		"that know everything":   {},
		"that lack the host":     {lacks: []string{"host"}},
		"that lack several":      {lacks: []string{"maxWorkers", "host"}},
		"that lack a part of it": {lacksOfHost: []string{"tls"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			older := len(s.lacks)+len(s.lacksOfHost) > 0
			clock := clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))
			r := &HypervisorRecorder{Client: olderClient{to: s}, Node: "a", Clock: clock, watched: s}
			report := agent.HypervisorReport{Connected: true, Status: v1alpha1.HypervisorStatus{
				HostUUID: "u", MaxWorkers: 20, DomainCount: 1, Host: &v1alpha1.HypervisorHost{KernelVersion: "6.1", TLS: &v1alpha1.HostTLS{}},
			}}
			// publish does what the Publisher does each time that it looks.
			publish := func() {
				t.Helper()
				if s.writes > 0 && r.Shows(t.Context(), report) {
					return
				}
				if err := r.RecordHypervisor(t.Context(), report); err != nil {
					t.Fatal(err)
				}
			}
			message := func() string {
				status, err := read(t.Context(), s, "a")
				if err != nil || status.DomainCount != 1 {
					t.Fatalf("the node is stored as %+v, %v", status, err)
				}
				return meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionLibvirtConnected).Message
			}
			for range 50 {
				publish()
				clock.SetTime(clock.Now().Add(10 * time.Second))
			}
			if says := strings.Contains(message(), "CRDs"); says != older || s.writes > 2 {
				t.Errorf("after %d writes, the condition says %q", s.writes, message())
			}
			s.lacks, s.lacksOfHost = nil, nil
			for range 50 {
				publish()
				clock.SetTime(clock.Now().Add(10 * time.Second))
			}
			if host, _, _ := unstructured.NestedMap(s.stored, "status", "host"); host["kernelVersion"] != "6.1" || host["tls"] == nil {
				t.Errorf("when the CRDs have been replaced, the host is stored as %v", host)
			}
			if strings.Contains(message(), "CRDs") || s.writes > 4 {
				t.Errorf("after %d writes, the condition says %q", s.writes, message())
			}
		})
	}
	t.Run("that lack what cannot be left out", func(t *testing.T) {
		t.Parallel()
		r := &HypervisorRecorder{Client: olderClient{to: &olderServer{lacks: []string{"conditions"}}}, Node: "a", Clock: clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))}
		if err := r.RecordHypervisor(t.Context(), agent.HypervisorReport{}); err == nil || !strings.Contains(err.Error(), "apply those of its version") {
			t.Errorf("got %v", err)
		}
	})
}

// TestWhatTheManagerWritesIsNotTheAgents: it neither is news to the agent, nor repeated by it.
func TestWhatTheManagerWritesIsNotTheAgents(t *testing.T) {
	t.Parallel()
	s := &olderServer{}
	r := &HypervisorRecorder{
		Client: olderClient{to: s}, Reader: storedReader{olderServer: s}, Node: "a", watched: s, Clock: clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)),
	}
	report := agent.HypervisorReport{Connected: true, Status: v1alpha1.HypervisorStatus{HostUUID: "u", DomainCount: 1}}
	if err := r.RecordHypervisor(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	managers := map[string]any{"uuid": "x", "machineType": "pc-1"}
	if err := unstructured.SetNestedSlice(s.stored, []any{managers}, "status", "strandedGuests"); err != nil {
		t.Fatal(err)
	}
	if !r.Shows(t.Context(), report) {
		t.Error("the Hypervisor does not show what the agent said")
	}
	if status, err := r.LastRecorded(t.Context()); err != nil || len(status.StrandedGuests) > 0 || status.HostUUID != "u" {
		t.Errorf("the agent would repeat %+v, %v", status, err)
	}
	s.keeps = map[string]any{"strandedGuests": []any{managers}}
	if err := r.RecordHypervisor(t.Context(), report); err != nil || r.taken != nil {
		t.Errorf("it takes the CRDs for older: %v", err)
	}
}

// storedReader reads what a server stores.
type storedReader struct{ *olderServer }
