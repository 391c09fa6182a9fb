package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	coordinationac "k8s.io/client-go/applyconfigurations/coordination/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtferry/virtferry/api/v1alpha1"
	ac "github.com/virtferry/virtferry/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/virtferry/virtferry/internal/applyconv"
	"github.com/virtferry/virtferry/pkg/agent"
	"github.com/virtferry/virtferry/pkg/migration"
)

// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=hypervisors,verbs=create;get;list;patch;watch
// +kubebuilder:rbac:groups=migration.virtferry.dev,resources=hypervisors/status,verbs=patch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=virtferry-system,resources=leases,verbs=create;patch

// HypervisorRecorder publishes a node by server-side apply.
type HypervisorRecorder struct {
	// Client writes.
	Client client.Client
	// Reader reads past all caches.
	Reader client.Reader
	// Node is the node's name, and that of its Hypervisor.
	Node string
	// Namespace is where the agent's lease is kept.
	Namespace string
	Clock     clock.PassiveClock

	// watched holds the node's own Hypervisor, and changes tells of it; both are nil
	// where it is not watched.
	watched client.Reader
	changes chan struct{}
	// conditions are those written last, for their transition times.
	conditions []metav1.Condition
	// said is the status that was written last, taken what is stored of it, and takenTime when
	// that was; all are unset where all of it is stored.
	said, taken *v1alpha1.HypervisorStatus
	takenTime   time.Time
}

var _ agent.HypervisorRecorder = (*HypervisorRecorder)(nil)

// Watch makes mgr keep the node's own Hypervisor, and nobody else's, for Shows and
// Changes. It is kept as it comes: what cannot be decoded is to be written over, not
// to keep the agent from its work.
func (r *HypervisorRecorder) Watch(ctx context.Context, mgr ctrl.Manager) error {
	objects, err := cache.New(mgr.GetConfig(), cache.Options{
		HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			emptyHypervisor(): {Field: fields.OneTermEqualSelector("metadata.name", r.Node)},
		},
	})
	if err != nil {
		return fmt.Errorf("creating the cache of the node's Hypervisor: %w", err)
	}
	informer, err := objects.GetInformer(ctx, emptyHypervisor(), cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching the node's Hypervisor: %w", err)
	}
	changes := make(chan struct{}, 1)
	tell := func() {
		select {
		case changes <- struct{}{}:
		default:
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { tell() }, UpdateFunc: func(_, _ any) { tell() }, DeleteFunc: func(any) { tell() },
	})
	if err != nil {
		return fmt.Errorf("watching the node's Hypervisor: %w", err)
	}
	if err := mgr.Add(objects); err != nil {
		return fmt.Errorf("adding the cache of the node's Hypervisor: %w", err)
	}
	r.watched, r.changes = objects, changes
	return nil
}

func emptyHypervisor() *unstructured.Unstructured {
	hv := &unstructured.Unstructured{}
	hv.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Hypervisor"))
	return hv
}

// Changes implements agent.HypervisorRecorder.
func (r *HypervisorRecorder) Changes() <-chan struct{} { return r.changes }

// Shows implements agent.HypervisorRecorder.
func (r *HypervisorRecorder) Shows(ctx context.Context, report agent.HypervisorReport) bool {
	if r.watched == nil {
		return true
	}
	shown, err := read(ctx, r.watched, r.Node)
	if errors.Is(err, errUnreadable) {
		return false
	}
	if err != nil {
		return true
	}
	for _, want := range r.conditionsOf(report) {
		is := meta.FindStatusCondition(shown.Conditions, want.Type)
		if is == nil || is.Status != want.Status || is.Reason != want.Reason || is.Message != want.Message {
			return false
		}
	}
	shown = ofAgent(shown)
	if r.taken != nil && equality.Semantic.DeepEqual(*r.said, report.Status) && r.Clock.Since(r.takenTime) < olderInterval {
		return equality.Semantic.DeepEqual(shown, *r.taken)
	}
	return equality.Semantic.DeepEqual(shown, report.Status)
}

// Settings returns the spec of the node's Hypervisor, as last heard of it: empty where there is
// none. What the status says does not matter, decodable or not.
func (r *HypervisorRecorder) Settings(ctx context.Context) (v1alpha1.HypervisorSpec, error) {
	from := r.watched
	if from == nil {
		from = r.Reader
	}
	raw, out := emptyHypervisor(), v1alpha1.HypervisorSpec{}
	if err := from.Get(ctx, client.ObjectKey{Name: r.Node}, raw); err != nil {
		if apierrors.IsNotFound(err) {
			return out, nil
		}
		return out, fmt.Errorf("reading the Hypervisor: %w", err)
	}
	spec, _, err := unstructured.NestedMap(raw.Object, "spec")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(spec, &out)
	}
	if err != nil {
		return out, fmt.Errorf("reading the spec of the Hypervisor: %w", err)
	}
	return out, nil
}

// LastRecorded implements agent.HypervisorRecorder. What cannot be decoded counts as
// nothing.
func (r *HypervisorRecorder) LastRecorded(ctx context.Context) (v1alpha1.HypervisorStatus, error) {
	status, err := read(ctx, r.Reader, r.Node)
	if errors.Is(err, errUnreadable) {
		return v1alpha1.HypervisorStatus{}, nil
	}
	return ofAgent(status), err
}

// ofAgent returns what of a status is the agent's, without conditions.
func ofAgent(status v1alpha1.HypervisorStatus) v1alpha1.HypervisorStatus {
	status.Conditions, status.StrandedGuests = nil, nil
	return status
}

// errUnreadable: the Hypervisor does not decode.
var errUnreadable = errors.New("the Hypervisor cannot be decoded")

// read returns the status of a Hypervisor, which is empty where there is none.
func read(ctx context.Context, reader client.Reader, name string) (v1alpha1.HypervisorStatus, error) {
	raw := emptyHypervisor()
	if err := reader.Get(ctx, client.ObjectKey{Name: name}, raw); err != nil {
		if apierrors.IsNotFound(err) {
			return v1alpha1.HypervisorStatus{}, nil
		}
		return v1alpha1.HypervisorStatus{}, fmt.Errorf("reading the Hypervisor: %w", err)
	}
	hv := &v1alpha1.Hypervisor{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, hv); err != nil {
		return v1alpha1.HypervisorStatus{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return hv.Status, nil
}

// RecordHypervisor implements agent.HypervisorRecorder. What the cluster's CRDs do not know is
// left out: they may be older than the agent, and a node that is shown without its newest
// fields is worth more than one that is shown as it was before the update.
func (r *HypervisorRecorder) RecordHypervisor(ctx context.Context, report agent.HypervisorReport) error {
	known := report.Status
	err := r.apply(ctx, report, known)
	for ok := true; ok && len(applyconv.Undeclared(err)) > 0; { // Each time, there is less of it.
		if known, ok = without(known, applyconv.Undeclared(err)); ok {
			err = r.apply(ctx, report, known)
		}
	}
	if err != nil {
		return fmt.Errorf("applying the Hypervisor's status: %w", applyconv.Explain(err))
	}
	return nil
}

// without returns a status without fields that are named as in ".status.host"; false if one of
// them is not of that kind.
func without(status v1alpha1.HypervisorStatus, left []string) (v1alpha1.HypervisorStatus, bool) {
	all, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return status, false
	}
	for _, field := range left {
		name, ok := strings.CutPrefix(field, ".status.")
		if _, there := all[name]; !ok || !there {
			return status, false
		}
		delete(all, name)
	}
	out := v1alpha1.HypervisorStatus{}
	return out, runtime.DefaultUnstructuredConverter.FromUnstructured(all, &out) == nil
}

// apply writes a part of a report, and remembers what became of it.
func (r *HypervisorRecorder) apply(ctx context.Context, report agent.HypervisorReport, content v1alpha1.HypervisorStatus) error {
	for _, c := range r.conditionsOf(report) {
		meta.SetStatusCondition(&r.conditions, c)
	}
	content.Conditions = r.conditions
	status, err := applyconv.To[ac.HypervisorStatusApplyConfiguration](&content)
	if err != nil {
		return fmt.Errorf("preparing it: %w", err)
	}
	write := &hypervisorWrite{HypervisorApplyConfiguration: ac.Hypervisor(r.Node).WithStatus(status)}
	owner := []client.SubResourceApplyOption{client.FieldOwner(v1alpha1.OwnerHypervisorAgent), client.ForceOwnership}
	err = r.Client.Status().Apply(ctx, write, owner...)
	if apierrors.IsNotFound(err) {
		if err := r.Client.Apply(ctx, ac.Hypervisor(r.Node), client.FieldOwner(v1alpha1.OwnerHypervisorAgent)); err != nil {
			return fmt.Errorf("creating it: %w", err)
		}
		err = r.Client.Status().Apply(ctx, write, owner...)
	}
	if err != nil {
		return err
	}
	r.noteTaken(report.Status, write.taken)
	return nil
}

// noteTaken remembers what the API server has made of a status, where that is something else.
func (r *HypervisorRecorder) noteTaken(said v1alpha1.HypervisorStatus, taken *v1alpha1.HypervisorStatus) {
	r.said, r.taken, r.takenTime = nil, nil, time.Time{}
	if taken == nil {
		return
	}
	if stored := ofAgent(*taken); !equality.Semantic.DeepEqual(stored, said) {
		r.said, r.taken, r.takenTime = &said, &stored, r.Clock.Now()
	}
}

// hypervisorWrite is a Hypervisor that is applied, and what the API server answers.
type hypervisorWrite struct {
	*ac.HypervisorApplyConfiguration
	// taken is the status as it is stored; nil before, and if it does not decode.
	taken *v1alpha1.HypervisorStatus
}

// MarshalJSON implements json.Marshaler.
func (w *hypervisorWrite) MarshalJSON() ([]byte, error) {
	return json.Marshal(w.HypervisorApplyConfiguration)
}

// UnmarshalJSON implements json.Unmarshaler. Read into what was applied, an answer would leave
// there what the API server has left out.
func (w *hypervisorWrite) UnmarshalJSON(answer []byte) error {
	hv := &v1alpha1.Hypervisor{}
	if json.Unmarshal(answer, hv) == nil {
		w.taken = &hv.Status
	}
	return nil
}

// olderInterval is the time between two tries to write what the cluster's CRDs have not taken:
// nothing tells the agent that they have been replaced.
const olderInterval = 10 * time.Minute

// olderCRDs is what the condition says where not all that the agent says is stored.
const olderCRDs = "the cluster's CRDs are older than the agent and lack a part of what it says. Apply the CRDs of the agent's version"

// conditionsOf are the agent's conditions.
func (r *HypervisorRecorder) conditionsOf(report agent.HypervisorReport) []metav1.Condition {
	return []metav1.Condition{r.connectedCondition(report), certificatesCondition(report.Status.Host, r.Clock.Now())}
}

// connectedCondition is the condition LibvirtConnected.
func (r *HypervisorRecorder) connectedCondition(report agent.HypervisorReport) metav1.Condition {
	c := connectedCondition(report, r.Clock.Now())
	if r.taken != nil {
		c.Message = migration.Shorten(c.Message+"; "+olderCRDs, migration.MaxConditionMessage)
	}
	return c
}

func connectedCondition(report agent.HypervisorReport, now time.Time) metav1.Condition {
	c := metav1.Condition{
		Type: v1alpha1.ConditionLibvirtConnected, Status: metav1.ConditionTrue,
		Reason: v1alpha1.ReasonConnected, Message: "The agent is connected to libvirt",
		LastTransitionTime: metav1.NewTime(now),
	}
	switch unlisted := report.Status.UnlistedDomains(); {
	case !report.Connected:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, cmp.Or(report.Reason, v1alpha1.ReasonDisconnected), report.Message
	case report.Message != "":
		c.Message += "; " + report.Message
	case unlisted > 0:
		c.Message += fmt.Sprintf("; only %d of its %d guests are listed, which is as many as fit in",
			len(report.Status.Domains), report.Status.DomainCount)
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
