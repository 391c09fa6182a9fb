package node

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationac "k8s.io/client-go/applyconfigurations/coordination/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/applyconv"
	"github.com/virtferry/virtferry/pkg/agent"
)

// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=hypervisors,verbs=create;patch
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=hypervisors/status,verbs=patch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=virtferry-system,resources=leases,verbs=create;patch

// HypervisorRecorder publishes a node by server-side apply.
type HypervisorRecorder struct {
	Client client.Client
	// Node is the node's name, and that of its Hypervisor.
	Node string
	// Namespace is where the agent's lease is kept.
	Namespace string
	Clock     clock.PassiveClock

	// conditions are those written last, for their transition times.
	conditions []metav1.Condition
}

var _ agent.HypervisorRecorder = (*HypervisorRecorder)(nil)

// RecordHypervisor implements agent.HypervisorRecorder.
func (r *HypervisorRecorder) RecordHypervisor(ctx context.Context, report agent.HypervisorReport) error {
	meta.SetStatusCondition(&r.conditions, connectedCondition(report, r.Clock.Now()))
	content := report.Status
	content.Conditions = r.conditions
	status, err := applyconv.To[ac.HypervisorStatusApplyConfiguration](&content)
	if err != nil {
		return fmt.Errorf("preparing the Hypervisor's status: %w", err)
	}
	config := ac.Hypervisor(r.Node).WithStatus(status)
	owner := []client.SubResourceApplyOption{client.FieldOwner(v1alpha1.OwnerHypervisorAgent), client.ForceOwnership}
	err = r.Client.Status().Apply(ctx, config, owner...)
	if apierrors.IsNotFound(err) {
		if err := r.Client.Apply(ctx, ac.Hypervisor(r.Node), client.FieldOwner(v1alpha1.OwnerHypervisorAgent)); err != nil {
			return fmt.Errorf("creating the Hypervisor: %w", err)
		}
		err = r.Client.Status().Apply(ctx, config, owner...)
	}
	if err != nil {
		return fmt.Errorf("applying the Hypervisor's status: %w", err)
	}
	return nil
}

func connectedCondition(report agent.HypervisorReport, now time.Time) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionLibvirtConnected, Status: metav1.ConditionTrue,
		Reason: v1alpha1.ReasonConnected, Message: "The agent talks to libvirt",
		LastTransitionTime: metav1.NewTime(now),
	}
	if !report.Connected {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonDisconnected, report.Message
	}
	return c
}

// Heartbeat implements agent.HypervisorRecorder.
func (r *HypervisorRecorder) Heartbeat(ctx context.Context) error {
	lease := coordinationac.Lease(v1alpha1.AgentLeaseName(r.Node), r.Namespace).
		WithSpec(coordinationac.LeaseSpec().
			WithHolderIdentity(r.Node).
			WithLeaseDurationSeconds(int32(agent.HeartbeatTimeout / time.Second)).
			WithRenewTime(metav1.NewMicroTime(r.Clock.Now())))
	if err := r.Client.Apply(ctx, lease, client.FieldOwner(v1alpha1.OwnerHypervisorAgent), client.ForceOwnership); err != nil {
		return fmt.Errorf("applying the lease %s/%s: %w", r.Namespace, v1alpha1.AgentLeaseName(r.Node), err)
	}
	return nil
}
