package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metaac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/applyconv"
	"github.com/virtferry/virtferry/internal/caches"
	"github.com/virtferry/virtferry/pkg/migration"
)

// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=hypervisors/status,verbs=patch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=virtferry-system,resources=leases,verbs=get;list;watch;create;update;patch

// HypervisorReconciler says whether hypervisors are ready: whether their agents
// renew their leases and talk to libvirt.
type HypervisorReconciler struct {
	Client client.Client
	Clock  clock.Clock
	// Namespace is where the agents' leases are.
	Namespace string
	// WorkersNeeded is how many workers each node's libvirt daemon needs.
	WorkersNeeded int

	mu sync.Mutex
	// renewals remembers when, by this process's clock, each lease was seen to
	// be renewed: the agents' clocks are not to be trusted.
	renewals map[string]renewal
	// began is when it looked at the first of them.
	began time.Time
	// platforms are what guests could go on on.
	platforms platforms
}

type renewal struct {
	stamp time.Time
	seen  time.Time
}

// SetupWithManager registers the reconciler.
func (r *HypervisorReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.renewals = map[string]renewal{}
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Hypervisor{}).
		Watches(&coordinationv1.Lease{}, handler.EnqueueRequestsFromMapFunc(hypervisorOfLease)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("setting up the Hypervisor controller: %w", err)
	}
	return nil
}

func hypervisorOfLease(_ context.Context, o client.Object) []reconcile.Request {
	name, ok := strings.CutPrefix(o.GetName(), v1alpha1.AgentLeaseName(""))
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

// Reconcile implements reconcile.Reconciler.
func (r *HypervisorReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hv := &v1alpha1.Hypervisor{}
	if err := r.Client.Get(ctx, req.NamespacedName, hv); err != nil {
		if apierrors.IsNotFound(err) {
			r.forget(req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	lease := &coordinationv1.Lease{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: v1alpha1.AgentLeaseName(hv.Name)}, lease)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("reading the agent's lease: %w", err)
	}
	now := r.Clock.Now()
	expires := r.expiry(hv, lease, now)
	upgradable, stranded := r.upgradable(hv, now)
	conditions := []metav1.Condition{readyCondition(hv, expires, now), workersCondition(hv, r.WorkersNeeded, now), upgradable}
	isNews := func(c metav1.Condition) bool { return isNew(hv, c) }
	if slices.ContainsFunc(conditions, isNews) || !slices.Equal(hv.Status.StrandedGuests, stranded) {
		if err := r.apply(ctx, hv, conditions, stranded); err != nil {
			return ctrl.Result{}, err
		}
	}
	if !now.Before(expires) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: expires.Sub(now) + time.Millisecond}, nil
}

// longestLease bounds how long an agent may be silent before it is lost, whatever its lease
// says.
const longestLease = 2 * time.Minute

// expiry returns when the agent is lost unless it renews its lease before. An
// agent that was lost before this process began to look stays so until it is seen
// to renew its lease.
func (r *HypervisorReconciler) expiry(hv *v1alpha1.Hypervisor, lease *coordinationv1.Lease, now time.Time) time.Time {
	var stamp time.Time
	var lasts time.Duration
	if lease.Spec.RenewTime != nil && lease.Spec.LeaseDurationSeconds != nil {
		// How long it may be silent is not for the agent to say.
		stamp, lasts = lease.Spec.RenewTime.Time, min(time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second, longestLease)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.renewals[hv.Name]
	if !known || !last.stamp.Equal(stamp) {
		last = renewal{stamp: stamp, seen: now}
		if !known && isLost(hv) {
			last.seen = time.Time{}
		}
		r.renewals[hv.Name] = last
	}
	return last.seen.Add(lasts)
}

// forget drops what is remembered of a node that has no Hypervisor any more.
func (r *HypervisorReconciler) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.renewals, name)
	r.platforms.forget(name)
}

func isLost(hv *v1alpha1.Hypervisor) bool {
	c := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionReady)
	return c != nil && c.Reason == v1alpha1.ReasonAgentLost
}

func readyCondition(hv *v1alpha1.Hypervisor, expires, now time.Time) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAvailable,
		Message: "The agent is running and connected to libvirt", LastTransitionTime: metav1.NewTime(now),
	}
	connected := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionLibvirtConnected)
	switch {
	case !now.Before(expires):
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonAgentLost
		c.Message = "The agent has stopped renewing its lease. Ask an administrator to check whether its pod is running"
	case connected == nil:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonDisconnected, "The agent has not reported yet"
	case connected.Status != metav1.ConditionTrue:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, connected.Reason, connected.Message
	case hv.Status.UnlistedDomains() > 0:
		c.Message += fmt.Sprintf("; only %d of its %d guests are listed", len(hv.Status.Domains), hv.Status.DomainCount)
	}
	return c
}

// workersCondition compares the workers that libvirt has with those that it needs.
func workersCondition(hv *v1alpha1.Hypervisor, needed int, now time.Time) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionWorkersSufficient, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonEnoughWorkers,
		Message:            fmt.Sprintf("libvirt has %d workers; %d are needed", hv.Status.MaxWorkers, needed),
		LastTransitionTime: metav1.NewTime(now),
	}
	switch has := int(hv.Status.MaxWorkers); {
	case has == 0:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonWorkersUnknown
		c.Message = fmt.Sprintf("libvirt does not report how many workers it has. Check on the host that max_workers is at least %d in libvirtd.conf, "+
			"or in virtqemud.conf with modular daemons", needed)
	case has < needed:
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonTooFewWorkers
		c.Message = fmt.Sprintf("libvirt has %d workers, but %d are needed for as many migrations as the manager allows. "+
			"Set max_workers = %d on the host in libvirtd.conf, or in virtqemud.conf with modular daemons, and restart the daemon", has, needed, needed)
	}
	return c
}

// platformsGrace is how long a process that has just begun to look keeps what was said before
// of guests and a newer QEMU: it has not seen all nodes.
const platformsGrace = time.Minute

// upgradable says whether the guests of a node could go on on a newer QEMU, and which could
// not.
func (r *HypervisorReconciler) upgradable(hv *v1alpha1.Hypervisor, now time.Time) (metav1.Condition, []v1alpha1.StrandedGuest) {
	own, newest := r.platforms.put(hv)
	r.mu.Lock()
	if r.began.IsZero() {
		r.began = now
	}
	young := now.Sub(r.began) < platformsGrace
	r.mu.Unlock()
	if was := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionGuestsUpgradable); young && was != nil && was.Status != metav1.ConditionUnknown {
		return *was, hv.Status.StrandedGuests
	}
	u := migration.JudgeUpgrade(hv.Status.Domains, own, newest)
	c := metav1.Condition{Type: v1alpha1.ConditionGuestsUpgradable, Reason: u.Reason, Message: u.Message, LastTransitionTime: metav1.NewTime(now)}
	switch u.Reason {
	case v1alpha1.ReasonMachineTypesOffered:
		c.Status = metav1.ConditionTrue
	case v1alpha1.ReasonGuestsStranded:
		c.Status = metav1.ConditionFalse
	default:
		c.Status = metav1.ConditionUnknown
	}
	return c, u.Stranded
}

// isNew reports whether a Hypervisor does not show a condition.
func isNew(hv *v1alpha1.Hypervisor, c metav1.Condition) bool {
	was := meta.FindStatusCondition(hv.Status.Conditions, c.Type)
	return was == nil || was.Status != c.Status || was.Reason != c.Reason || was.Message != c.Message
}

func (r *HypervisorReconciler) apply(ctx context.Context, hv *v1alpha1.Hypervisor, conditions []metav1.Condition, stranded []v1alpha1.StrandedGuest) error {
	status := ac.HypervisorStatus()
	for _, g := range stranded {
		guest, err := applyconv.To[ac.StrandedGuestApplyConfiguration](&g)
		if err != nil {
			return fmt.Errorf("preparing a stranded guest: %w", err)
		}
		status.WithStrandedGuests(guest)
	}
	for _, c := range conditions {
		if was := meta.FindStatusCondition(hv.Status.Conditions, c.Type); was != nil && was.Status == c.Status {
			c.LastTransitionTime = was.LastTransitionTime
		}
		condition, err := applyconv.To[metaac.ConditionApplyConfiguration](&c)
		if err != nil {
			return fmt.Errorf("preparing the condition %s: %w", c.Type, err)
		}
		status.WithConditions(condition)
	}
	config := ac.Hypervisor(hv.Name).WithUID(hv.UID).WithStatus(status)
	err := r.Client.Status().Apply(ctx, config, client.FieldOwner(v1alpha1.OwnerManager), client.ForceOwnership)
	if len(applyconv.Undeclared(err)) > 0 && len(stranded) > 0 {
		// CRDs that are older than the manager: whether the node is ready matters more.
		return r.apply(ctx, hv, conditions, nil)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("applying the conditions of the Hypervisor: %w", applyconv.Explain(err))
	}
	return nil
}

// nodeOf reduces a Hypervisor to what migrations depend on.
func nodeOf(hv *v1alpha1.Hypervisor) migration.Node {
	n := migration.Node{Name: hv.Name, Domains: hv.Status.Domains, Unlisted: hv.Status.UnlistedDomains(), StorageMappings: hv.Spec.StorageMappings, Message: "its agent has not reported yet"}
	if host := hv.Status.Host; host != nil {
		n.LinkMbps = host.MigrationLinkMbps
	}
	if c := meta.FindStatusCondition(hv.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		n.Ready, n.Message, n.Since = c.Status == metav1.ConditionTrue, c.Message, c.LastTransitionTime.Time
	}
	if why := caches.Unreadable(hv); why != "" {
		n.Ready, n.Message = false, "its Hypervisor cannot be decoded: "+why
	}
	return n
}
