package controllers

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// nodeStore is an API server that has a node's Hypervisor and its agent's lease.
type nodeStore struct {
	client.Client
	hv     *v1alpha1.Hypervisor
	lease  *coordinationv1.Lease
	writes int
	// applied are the conditions that were written last.
	applied []metav1.Condition
	// older is whether its CRDs know no guests that are stranded.
	older bool
}

func (s *nodeStore) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch o := o.(type) {
	case *v1alpha1.Hypervisor:
		if s.hv != nil {
			s.hv.DeepCopyInto(o)
			return nil
		}
	case *coordinationv1.Lease:
		if s.lease != nil && key.Name == v1alpha1.AgentLeaseName("node-a") {
			s.lease.DeepCopyInto(o)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (s *nodeStore) Status() client.SubResourceWriter { return nodeStatus{store: s} }

// nodeStatus takes the conditions over that are applied.
type nodeStatus struct {
	client.SubResourceWriter
	store *nodeStore
}

func (s nodeStatus) Apply(_ context.Context, config runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption) error {
	s.store.writes++
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	applied := &v1alpha1.Hypervisor{}
	if err := json.Unmarshal(text, applied); err != nil {
		return err
	}
	if s.store.older && len(applied.Status.StrandedGuests) > 0 {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
			Message: "failed to create typed patch object (/a; migration.virtferry.dev/v1alpha1, Kind=Hypervisor): .status.strandedGuests: field not declared in schema",
		}}
	}
	s.store.hv.Status.StrandedGuests = applied.Status.StrandedGuests
	s.store.applied = applied.Status.Conditions
	for _, c := range applied.Status.Conditions {
		meta.SetStatusCondition(&s.store.hv.Status.Conditions, c)
	}
	return nil
}

// TestAnAgentIsLost when its lease has not been renewed for as long as it says, by the
// manager's clock, whatever the agent's shows.
func TestAnAgentIsLost(t *testing.T) {
	t.Parallel()
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	agents := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	renew := func(s *nodeStore) {
		agents = agents.Add(time.Second)
		s.lease = &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
			LeaseDurationSeconds: new(int32(40)), RenewTime: &metav1.MicroTime{Time: agents},
		}}
	}
	s := &nodeStore{hv: &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}}
	s.hv.Status.MaxWorkers = 20
	s.hv.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionLibvirtConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConnected}}
	r := &HypervisorReconciler{Client: s, Clock: clock, WorkersNeeded: 10, renewals: map[string]renewal{}}
	look := func(name string, want metav1.ConditionStatus, reason string, writes int, again time.Duration) {
		t.Helper()
		before := s.writes
		result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "node-a"}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := meta.FindStatusCondition(s.hv.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.Status != want || c.Reason != reason {
			t.Errorf("%s: Ready is %+v", name, c)
		}
		if s.writes-before != writes || result.RequeueAfter != again {
			t.Errorf("%s: %d writes, and another look after %s", name, s.writes-before, result.RequeueAfter)
		}
	}
	const lost, fine = v1alpha1.ReasonAgentLost, v1alpha1.ReasonAvailable
	look("no lease yet", metav1.ConditionUnknown, lost, 1, 0)
	s.lease = &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: agents}}}
	look("a lease that does not say for how long", metav1.ConditionUnknown, lost, 0, 0)
	s.lease = &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(40))}}
	look("a lease that does not say from when on", metav1.ConditionUnknown, lost, 0, 0)
	renew(s)
	look("the first lease", metav1.ConditionTrue, fine, 1, 40*time.Second+time.Millisecond)
	clock.Step(30 * time.Second)
	look("nothing new", metav1.ConditionTrue, fine, 0, 10*time.Second+time.Millisecond)
	renew(s)
	look("renewed", metav1.ConditionTrue, fine, 0, 40*time.Second+time.Millisecond)
	clock.Step(40 * time.Second)
	look("not renewed", metav1.ConditionUnknown, lost, 1, 0)

	// The next manager has seen nothing: one that was lost has to give a sign of life.
	r.renewals = map[string]renewal{}
	look("still lost", metav1.ConditionUnknown, lost, 0, 0)
	renew(s)
	look("back", metav1.ConditionTrue, fine, 1, 40*time.Second+time.Millisecond)
	r.renewals = map[string]renewal{}
	clock.Step(time.Hour)
	look("another manager, which cannot tell for how long", metav1.ConditionTrue, fine, 0, 40*time.Second+time.Millisecond)

	s.hv.Status.Conditions[0].Status, s.hv.Status.Conditions[0].Reason = metav1.ConditionFalse, v1alpha1.ReasonDisconnected
	look("without libvirt", metav1.ConditionFalse, v1alpha1.ReasonDisconnected, 1, 40*time.Second+time.Millisecond)

	s.hv = nil
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "node-a"}}); err != nil || len(r.renewals) > 0 {
		t.Errorf("a node that is gone is remembered: %v, %v", r.renewals, err)
	}
}

// TestLeasesOfAgents wake the Hypervisor of their node, and no other leases do.
func TestLeasesOfAgents(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{v1alpha1.AgentLeaseName("node-a"): "node-a", "virtferry-manager": ""} {
		requests := hypervisorOfLease(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}})
		if len(requests) > 1 || (len(requests) == 1) != (want != "") || want != "" && requests[0].Name != want {
			t.Errorf("the lease %s wakes %v", name, requests)
		}
	}
}

// TestGuestsThatAreNotListed are told of. That does not change since when the node is ready.
func TestGuestsThatAreNotListed(t *testing.T) {
	t.Parallel()
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	s := &nodeStore{
		hv: &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}},
		lease: &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
			LeaseDurationSeconds: new(int32(40)), RenewTime: &metav1.MicroTime{Time: clock.Now()},
		}},
	}
	s.hv.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionLibvirtConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConnected}}
	r := &HypervisorReconciler{Client: s, Clock: clock, renewals: map[string]renewal{}}
	began := clock.Now()
	for _, c := range []struct {
		listed, all int
		want        string
	}{
		{2, 2, "The agent is running and connected to libvirt"},
		{2, 3, "The agent is running and connected to libvirt; only 2 of its 3 guests are listed"},
		{3, 3, "The agent is running and connected to libvirt"},
	} {
		s.hv.Status.Domains, s.hv.Status.DomainCount = make([]v1alpha1.HypervisorDomain, c.listed), int32(c.all)
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "node-a"}}); err != nil {
			t.Fatal(err)
		}
		ready := meta.FindStatusCondition(s.applied, v1alpha1.ConditionReady)
		if ready == nil || ready.Message != c.want || !ready.LastTransitionTime.Time.Equal(began) {
			t.Errorf("with %d of %d guests, Ready is written as %+v", c.listed, c.all, ready)
		}
		clock.Step(time.Second)
	}
	clock.Step(time.Minute)
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "node-a"}}); err != nil {
		t.Fatal(err)
	}
	if ready := meta.FindStatusCondition(s.applied, v1alpha1.ConditionReady); !ready.LastTransitionTime.Time.Equal(clock.Now()) {
		t.Errorf("when its agent is lost, Ready is written as %+v", ready)
	}
}

// TestStrandedGuestsAndOlderCRDs: whether a node is ready is told all the same.
func TestStrandedGuestsAndOlderCRDs(t *testing.T) {
	t.Parallel()
	for older, listed := range map[bool]int{false: 1, true: 0} {
		hv := emulating("node-a", "7.2.9", "pc-1")
		hv.Status.Domains = []v1alpha1.HypervisorDomain{{UUID: webUUID, Name: "web", State: "Running", MachineType: "pc-1"}}
		s := &nodeStore{hv: hv, older: older}
		r := &HypervisorReconciler{Client: s, Clock: clocktesting.NewFakeClock(time.Unix(1e9, 0)), renewals: map[string]renewal{}}
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: "node-a"}}); err != nil {
			t.Fatal(err)
		}
		if len(s.applied) != 3 || len(s.hv.Status.StrandedGuests) != listed {
			t.Errorf("with older CRDs %t: %d conditions are written, and %v", older, len(s.applied), s.hv.Status.StrandedGuests)
		}
	}
}
