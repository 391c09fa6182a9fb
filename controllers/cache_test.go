package controllers

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtferry/virtferry/api/v1alpha1"
)

// TestTrimKeepsWhatADowntimeIsJudgedBy: of a migration that has ended, the downtime may
// come to be known afterwards.
func TestTrimKeepsWhatADowntimeIsJudgedBy(t *testing.T) {
	t.Parallel()
	lm := &v1alpha1.LiveMigration{
		Spec: v1alpha1.LiveMigrationSpec{Options: &v1alpha1.MigrationOptions{
			MaxDowntimeMilliseconds: new(int64(1500)), AllowPause: new(true),
		}},
		Status: v1alpha1.LiveMigrationStatus{
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSucceeded, Status: metav1.ConditionTrue}},
			Source:     &v1alpha1.SourceStatus{AttemptID: "1", GuestPaused: true, GuestPersistent: true},
			Progress:   &v1alpha1.ProgressStatus{Percent: 100, Switchover: v1alpha1.SwitchoverPaused},
			Target:     &v1alpha1.TargetStatus{AttemptID: "1", ReadyTime: new(metav1.NowMicro()), DowntimeMilliseconds: new(int64(20))},
		},
	}
	if _, err := trim(lm); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&v1alpha1.MigrationOptions{MaxDowntimeMilliseconds: new(int64(1500))}, lm.Spec.Options); diff != "" {
		t.Errorf("the options differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&v1alpha1.SourceStatus{AttemptID: "1", GuestPaused: true}, lm.Status.Source); diff != "" {
		t.Errorf("the source differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&v1alpha1.ProgressStatus{Switchover: v1alpha1.SwitchoverPaused}, lm.Status.Progress); diff != "" {
		t.Errorf("the progress differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&v1alpha1.TargetStatus{AttemptID: "1", DowntimeMilliseconds: new(int64(20))}, lm.Status.Target); diff != "" {
		t.Errorf("the target differs (-want +got):\n%s", diff)
	}
}

// TestTrimDropsWhatAHostHas and keeps what migrations depend on.
func TestTrimDropsWhatAHostHas(t *testing.T) {
	t.Parallel()
	hv := &v1alpha1.Hypervisor{
		ObjectMeta: metav1.ObjectMeta{Name: "node-a", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}}},
		Status:     v1alpha1.HypervisorStatus{HostUUID: "u", MaxWorkers: 20, Host: &v1alpha1.HypervisorHost{KernelVersion: "6.1"}},
	}
	want := &v1alpha1.Hypervisor{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}, Status: v1alpha1.HypervisorStatus{HostUUID: "u", MaxWorkers: 20}}
	if _, err := trimHypervisor(hv); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, hv); diff != "" {
		t.Errorf("it differs (-want +got):\n%s", diff)
	}
	mapping := v1alpha1.StorageMapping{Kind: v1alpha1.StorageKindPool, From: "a", To: "b"}
	hv.Spec = v1alpha1.HypervisorSpec{
		NetworkMappings: []v1alpha1.NetworkMapping{{Kind: v1alpha1.NetworkKindBridge, From: "a", To: "b"}}, StorageMappings: []v1alpha1.StorageMapping{mapping},
	}
	want.Spec.StorageMappings = []v1alpha1.StorageMapping{mapping}
	if _, err := trimHypervisor(hv); err != nil || !cmp.Equal(want, hv) || !slices.Equal(nodeOf(hv).StorageMappings, want.Spec.StorageMappings) {
		t.Errorf("of the spec is left %+v, %v", hv.Spec, err)
	}
	hv.Status.Host = &v1alpha1.HypervisorHost{KernelVersion: "6.1", MigrationLinkMbps: 1000}
	want.Status.Host = &v1alpha1.HypervisorHost{MigrationLinkMbps: 1000}
	if _, err := trimHypervisor(hv); err != nil || !cmp.Equal(want, hv) || nodeOf(hv).LinkMbps != 1000 {
		t.Errorf("the link's speed is lost: %v, %v", hv.Status.Host, err)
	}
	hv.Status.Host = &v1alpha1.HypervisorHost{KernelVersion: "6.1", Architectures: &v1alpha1.HostArchitectures{Count: 2, Items: []v1alpha1.HostArchitecture{
		{Name: "x86_64", DomainTypes: []string{"kvm"}, MachineTypeCount: 3, MachineTypes: []string{"pc", "q35"}, Deprecated: []string{"pc"}},
	}}}
	platform := platformOf(hv)
	if _, err := trimHypervisor(hv); err != nil || !cmp.Equal(platform, platformOf(hv)) || hv.Status.Host.KernelVersion != "" || hv.Status.Host.Architectures.Items[0].DomainTypes != nil {
		t.Errorf("of the machine types is left %+v, %v", hv.Status.Host, err)
	}
	if o, err := trimHypervisor("a stranger"); o != "a stranger" || err != nil {
		t.Errorf("got %v, %v", o, err)
	}
}

// TestTrimKeepsWhoElseOwnsWhatIsTheManagers: an apply would leave that there.
func TestTrimKeepsWhoElseOwnsWhatIsTheManagers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, manager string
		operation     metav1.ManagedFieldsOperationType
		fields        string
		kept          bool
	}{
		{"the manager applies", v1alpha1.OwnerManager, metav1.ManagedFieldsOperationApply, `{"f:status":{"f:phase":{}}}`, false},
		{"the manager has replaced", v1alpha1.OwnerManager, metav1.ManagedFieldsOperationUpdate, `{"f:status":{"f:phase":{}}}`, true},
		{"the manager has removed its finalizer", v1alpha1.OwnerManager, metav1.ManagedFieldsOperationUpdate, `{"f:metadata":{"f:finalizers":{}}}`, false},
		{"an agent", v1alpha1.OwnerSourceAgent, metav1.ManagedFieldsOperationApply, `{"f:status":{"f:source":{},"f:progress":{}}}`, false},
		{"whoever has created it", "kubectl-create", metav1.ManagedFieldsOperationUpdate, `{"f:spec":{"f:domain":{}}}`, false},
		{"whoever owns an agent's section", "stranger", metav1.ManagedFieldsOperationApply, `{"f:status":{".":{},"f:target":{}}}`, false},
		{"whoever has restored it", "backup", metav1.ManagedFieldsOperationUpdate, `{"f:status":{"f:target":{},"f:conditions":{}}}`, true},
		{"what makes no sense", "stranger", metav1.ManagedFieldsOperationUpdate, `{"f:status":1}`, true},
	} {
		lm := &v1alpha1.LiveMigration{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "nobody"}, {Manager: c.manager, Operation: c.operation, FieldsV1: metav1.NewFieldsV1(c.fields)},
		}}}
		for range 2 {
			if _, err := trim(lm); err != nil {
				t.Fatal(err)
			}
			if kept := len(lm.ManagedFields) == 1; kept != c.kept {
				t.Errorf("%s: what is kept is %+v", c.name, lm.ManagedFields)
			}
		}
	}
}
